"""Everything that services ask for is collected; malformed entries hide nothing."""

from ipaddress import ip_interface, ip_network

from hypothesis import given
from hypothesis import strategies as st

from extip.api.core_v1 import Service, ServiceMeta, ServiceSpec
from extip.guard.policy.admission import admit
from extip.guard.policy.rules import Guard, Reason, Surroundings, Verdicts
from extip.services.policy.requests import (
    Masks,
    Owner,
    collect,
    cut,
    parse_ip,
    service_owner,
)

MASKS = Masks(v4=24, v6=64)


def owner(name):
    return Owner(kind="Service", namespace="default", name=name, uid=f"uid-{name}")


def test_a_shared_ip_has_all_its_owners_in_order():
    requests = collect(
        [(owner("b"), ("10.0.0.1",)), (owner("a"), ("10.0.0.1", "10.0.0.2"))], MASKS.parse
    )
    assert requests.wanted == {
        ip_interface("10.0.0.1/24"): (owner("a"), owner("b")),
        ip_interface("10.0.0.2/24"): (owner("a"),),
    }


def test_spellings_of_one_address_are_one_address():
    requests = collect([(owner("a"), ("fd00::1", "fd00:0:0::1"))], MASKS.parse)
    assert list(requests.wanted) == [ip_interface("fd00::1/64")]


def test_malformed_entries_are_kept_as_written_beside_the_others():
    texts = ("10.0.0.1", "010.0.0.2", "10.0.0.3/24", "fe80::1%eth0", "", "host", "1.2.3.4 ")
    requests = collect([(owner("a"), texts)], MASKS.parse)
    assert list(requests.wanted) == [ip_interface("10.0.0.1/24")]
    assert set(requests.malformed) == set(texts[1:])


def test_a_service_is_an_owner():
    service = Service(
        metadata=ServiceMeta(name="web", namespace="shop", uid="u1"),
        spec=ServiceSpec(external_ips=("10.0.0.1",)),
    )
    assert str(service_owner(service)) == "shop/web"
    assert service_owner(service).kind == "Service"


@given(st.lists(st.text(max_size=20)))
def test_any_text_is_either_an_address_or_malformed(texts):
    requests = collect([(owner("a"), tuple(texts))], MASKS.parse)
    assert set(requests.malformed) == {t for t in texts if parse_ip(t) is None}


def test_every_request_is_decided():
    requests = collect(
        [(owner("a"), ("10.0.0.1", "127.0.0.1", "x", "fd00::1", "10.1.0.1"))], MASKS.parse
    )
    admission = admit(
        requests,
        Verdicts(
            Guard(allowed=(ip_network("10.0.0.0/24"), ip_network("fd00::/64"))), Surroundings()
        ),
    )
    assert admission.wanted == {ip_interface("10.0.0.1/24"), ip_interface("fd00::1/64")}
    assert {(r.text, r.refusal.reason) for r in admission.rejected} == {
        ("127.0.0.1", Reason.LOOPBACK),
        ("x", Reason.MALFORMED),
        ("10.1.0.1", Reason.NOT_ALLOWED),
    }
    assert {r.owner for r in admission.rejected} == {owner("a")}


def test_text_of_others_is_shown_on_one_line_and_as_it_is():
    assert cut("web") == "web"
    assert cut("Küche 7") == "Küche 7"
    assert cut("\x1b[2Ja\nb\u202e") == "\\x1b[2Ja\\nb\\u202e"
