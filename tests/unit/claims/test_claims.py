"""One claim for each wanted IP; nothing of anybody else's is touched; nothing is forgotten."""

from collections.abc import Iterable
from ipaddress import IPv4Interface, IPv6Interface, ip_interface

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from extip.api.ipcontroller_v1 import MAX_SERVICES, IpClaim, IpClaimSpec, ServiceReference
from extip.api.meta_v1 import NO_FIELD_OWNERS, FullObjectMeta
from extip.api.names import (
    MANAGED_BY_LABEL,
    NODE_LABEL,
    POOL_LABEL,
    PORTS_ANNOTATION,
    PREVIOUS_NODE_LABEL,
    is_service_label,
    service_label,
)
from extip.claims.policy.assignment import assignment_patch, needs_label
from extip.claims.policy.claims import (
    Action,
    Create,
    Delete,
    SetServices,
    current_owners,
    index_claims,
    is_pinned,
    new_claim,
    parse_cidr,
    plan_claims,
    pool_of,
    service_labels,
    services_patch,
)
from extip.claims.policy.names import claim_name
from extip.claims.policy.ports import recorded_ports
from extip.services.policy.requests import Owner

interfaces = st.one_of(
    st.builds(
        lambda value, prefix: IPv4Interface((value, prefix)),
        st.integers(0, 2**32 - 1),
        st.integers(0, 32),
    ),
    st.builds(
        lambda value, prefix: IPv6Interface((value, prefix)),
        st.integers(0, 2**128 - 1),
        st.integers(0, 128),
    ),
)
few_interfaces = st.sampled_from(
    [ip_interface(f"10.0.0.{host}/{prefix}") for host in range(1, 4) for prefix in (24, 32)]
    + [ip_interface("fd00::1/64"), ip_interface("fd00::1/128")]
)


def owner(name, namespace="default"):
    return Owner(kind="Service", namespace=namespace, name=name, uid=f"uid-{name}")


def reference(name, namespace="default"):
    return ServiceReference(namespace=namespace, name=name, uid=f"uid-{name}")


owner_sets = st.lists(st.sampled_from("abc").map(owner), min_size=1, unique=True).map(
    lambda owners: tuple(sorted(owners))
)
wishes = st.dictionaries(few_interfaces, owner_sets).map(
    lambda d: {i: d[i] for i in {interface.ip: interface for interface in d}.values()}
)


def by_hand(name, cidr, node="", **labels):
    return IpClaim(
        metadata=FullObjectMeta(name=name, resource_version="7", labels=labels or None),
        spec=IpClaimSpec(cidr=cidr, node_name=node),
    )


def move(claim, node):
    """Return the patch as it goes on the wire."""
    return msgspec.json.decode(msgspec.json.encode(assignment_patch(claim, node)))


def made(cidr, *services, node="n1", **metadata):
    create = Create(interface=ip_interface(cidr), services=tuple(map(reference, services)))
    claim = new_claim(create, node=node)
    meta = msgspec.structs.replace(claim.metadata, resource_version="7", **metadata)
    return msgspec.structs.replace(claim, metadata=meta)


@pytest.mark.parametrize(
    ("interface", "name"),
    [
        ("10.10.0.2/24", "10-10-0-2-24"),
        ("0.0.0.0/0", "0-0-0-0-0"),
        ("fd00::1/128", "fd00-0-0-0-0-0-0-1-128"),
        ("2001:db8:1:2:3:4:5:6/64", "2001-db8-1-2-3-4-5-6-64"),
    ],
)
def test_a_claim_is_named_after_its_ip_and_mask(interface, name):
    assert claim_name(ip_interface(interface)) == name


@given(interfaces | few_interfaces, interfaces | few_interfaces)
def test_no_two_ips_have_claims_of_one_name(one, other):
    assert (claim_name(one) == claim_name(other)) == (one == other)
    assert len(claim_name(one)) <= 63
    assert set(claim_name(one)) <= set("0123456789abcdef-")


@given(interfaces)
def test_what_a_claim_writes_can_be_read(interface):
    claim = new_claim(Create(interface=interface, services=()))
    assert parse_cidr(claim.spec.cidr) == interface


@pytest.mark.parametrize(
    "text", ["", "10.0.0.1", "10.0.0.1/33", "10.0.0.1/255.255.255.0", "x/24", "fe80::1%e/64", "/"]
)
def test_a_claim_without_address_and_prefix_is_malformed_and_left_alone(text):
    claim = by_hand("bad", text)
    managed = msgspec.structs.replace(made("10.0.0.9/24"), spec=IpClaimSpec(cidr=text))
    assert plan_claims({}, index_claims([claim, managed])) == ()


def test_a_wanted_ip_gets_a_claim_that_names_who_wants_it():
    wanted = {ip_interface("10.0.0.1/24"): (owner("b"), owner("a", "zoo"), owner("c", "app"))}
    (action,) = plan_claims(wanted, index_claims([]))
    assert action == Create(
        interface=ip_interface("10.0.0.1/24"),
        services=(reference("c", "app"), reference("b"), reference("a", "zoo")),
    )


def test_creating_and_assigning_is_one_object():
    claim = new_claim(
        Create(interface=ip_interface("10.0.0.1/24"), services=(reference("a"),), pool="blue"),
        node="n1",
    )
    assert claim.spec.node_name == "n1"
    assert claim.metadata.labels == {
        "ipnode": "n1",
        "ip-pool-name": "blue",
        "app.kubernetes.io/managed-by": "extip",
        "default.service.ipcontroller.ext/a": "",
    }
    assert claim.managed
    assert not is_pinned(claim)
    assert not needs_label(claim)


def test_a_shared_ip_stays_until_the_last_service_drops_it():
    shared = made("10.0.0.1/24", "a", "b")
    index = index_claims([shared])
    interface = ip_interface("10.0.0.1/24")
    assert plan_claims({interface: (owner("a"), owner("b"))}, index) == ()
    assert plan_claims({interface: (owner("b"),)}, index) == (
        SetServices(shared, (reference("b"),)),
    )
    assert plan_claims({}, index) == (Delete(shared),)


def test_a_service_made_again_under_its_old_name_is_another_one():
    again = Owner(kind="Service", namespace="default", name="a", uid="other")
    actions = plan_claims(
        {ip_interface("10.0.0.1/24"): (again,)}, index_claims([made("10.0.0.1/24", "a")])
    )
    assert [type(action) for action in actions] == [SetServices]


def test_what_was_made_by_hand_is_left_alone_and_takes_the_place_of_ours():
    hand = by_hand("mine", "10.0.0.1/24")
    ours = made("10.0.0.1/32", "a")
    wanted = {ip_interface("10.0.0.1/32"): (owner("a"),)}
    assert plan_claims({}, index_claims([hand])) == ()
    assert plan_claims(wanted, index_claims([hand])) == ()
    assert plan_claims(wanted, index_claims([hand, ours])) == (Delete(ours),)


def test_another_mask_takes_over_before_the_old_claim_goes():
    old = made("10.0.0.1/32", "a")
    wanted = {ip_interface("10.0.0.1/24"): (owner("a"),)}
    (create,) = plan_claims(wanted, index_claims([old]))
    assert create == Create(
        interface=ip_interface("10.0.0.1/24"),
        services=(reference("a"),),
        replaces="10-0-0-1-32",
    )
    assert plan_claims(wanted, index_claims([old, new_claim(create)])) == (Delete(old),)


def test_a_move_remembers_where_the_claim_was():
    patch = move(made("10.0.0.1/24", "a", node="n1"), "n2")
    assert patch == {
        "metadata": {
            "resourceVersion": "7",
            "managedFields": [{}],
            "labels": {NODE_LABEL: "n2", PREVIOUS_NODE_LABEL: "n1"},
        },
        "spec": {"nodeName": "n2"},
    }


def test_who_owns_which_field_of_a_claim_made_by_hand_stays_booked():
    assert "managedFields" not in move(by_hand("mine", "10.0.0.1/24"), "n1")["metadata"]


def test_unassigning_removes_the_label_and_keeps_the_past():
    patch = move(made("10.0.0.1/24", "a", node="n1"), "")
    assert patch["metadata"]["labels"] == {NODE_LABEL: None, PREVIOUS_NODE_LABEL: "n1"}
    assert patch["spec"] == {"nodeName": None}


def test_a_first_assignment_has_no_past():
    patch = move(made("10.0.0.1/24", "a", node=""), "n1")
    assert patch["metadata"]["labels"] == {NODE_LABEL: "n1"}


def test_a_node_chosen_by_hand_pins_the_claim_and_one_chosen_by_us_does_not():
    assert is_pinned(by_hand("mine", "10.0.0.1/24", node="n1"))
    free = by_hand("mine", "10.0.0.1/24")
    assert not is_pinned(free)
    annotations = move(free, "n1")["metadata"]["annotations"]
    placed = by_hand("mine", "10.0.0.1/24", node="n1")
    meta = msgspec.structs.replace(placed.metadata, annotations=annotations)
    assert not is_pinned(msgspec.structs.replace(placed, metadata=meta))


def test_a_label_for_the_node_that_a_person_chose_leaves_the_claim_pinned():
    pinned = by_hand("mine", "10.0.0.1/24", node="n1")
    assert needs_label(pinned)
    patch = move(pinned, "n1")
    assert patch["metadata"] == {"resourceVersion": "7", "labels": {NODE_LABEL: "n1"}}


def test_the_label_of_a_pool_holds_any_name():
    interface = ip_interface("10.0.0.1/24")
    wanted = {interface: (owner("a"),)}

    def plan(pool, *claims):
        return plan_claims(wanted, index_claims(claims), {interface: pool} if pool else {})

    def labels(action):
        body = msgspec.json.decode(msgspec.json.encode(services_patch(action)))
        return body["metadata"]["labels"]

    long = "a" * 100 + ".example"
    claim = new_claim(Create(interface=interface, services=(reference("a"),), pool=long))
    assert len(pool_of(claim)) == 63
    assert plan(long, claim) == ()
    (change,) = plan(long + "x", claim)
    assert len(labels(change)[POOL_LABEL]) == 63
    assert labels(change)[POOL_LABEL] != pool_of(claim)
    (change,) = plan("", claim)
    assert labels(change) == {POOL_LABEL: None}


def test_a_claim_whose_label_does_not_name_its_node_needs_one():
    assert needs_label(by_hand("mine", "10.0.0.1/24", node="n1"))
    assert needs_label(by_hand("mine", "10.0.0.1/24", node="n1", ipnode="n2"))
    assert not needs_label(by_hand("mine", "10.0.0.1/24", node="n1", ipnode="n1"))
    assert not needs_label(by_hand("mine", "10.0.0.1/24"))


def test_changing_who_wants_an_ip_touches_nothing_else():
    action = SetServices(made("10.0.0.1/24", "a"), (reference("b"),))
    body = msgspec.json.decode(msgspec.json.encode(services_patch(action)))
    assert body == {
        "metadata": {
            "resourceVersion": "7",
            "managedFields": [{}],
            "labels": {
                "default.service.ipcontroller.ext/a": None,
                "default.service.ipcontroller.ext/b": "",
            },
        },
        "spec": {"services": [{"namespace": "default", "name": "b", "uid": "uid-b"}]},
    }


def test_the_labels_of_a_claim_are_those_of_its_services():
    interface = ip_interface("10.0.0.1/24")
    claim = new_claim(Create(interface=interface, services=(reference("a"), reference("b"))))
    claim = with_labels(claim, team="x")
    assert service_labels(claim, (reference("a"), reference("b"))) == {}
    assert service_labels(claim, (reference("b"), reference("c"))) == {
        "default.service.ipcontroller.ext/a": None,
        "default.service.ipcontroller.ext/c": "",
    }
    assert services_patch(SetServices(claim, (reference("a"),)))["metadata"] == {
        "resourceVersion": "",
        "managedFields": NO_FIELD_OWNERS,
        "labels": {"default.service.ipcontroller.ext/b": None},
    }


@pytest.mark.parametrize("length", [1, 63])
def test_the_label_of_a_service_is_valid_for_every_name(length):
    """A prefix has at most 253 characters, a name 63 (RFC 1123 subdomain and label)."""
    prefix, name = service_label("n" * length, "s" * length).split("/")
    assert len(prefix) <= 253
    assert all(len(part) <= 63 for part in prefix.split("."))
    assert name == "s" * length
    assert is_service_label(f"{prefix}/{name}")
    assert not is_service_label("ipnode")


def with_labels(claim, **labels):
    metadata = msgspec.structs.replace(
        claim.metadata, labels={**(claim.metadata.labels or {}), **labels}
    )
    return msgspec.structs.replace(claim, metadata=metadata)


def make(actions: Iterable[Action], claims: dict[str, IpClaim]) -> None:
    """Take actions, as the API server would."""
    for action in actions:
        match action:
            case Create():
                claim = new_claim(action)
                assert claim.metadata.name not in claims
                claims[claim.metadata.name] = claim
            case SetServices():
                spec = msgspec.structs.replace(action.claim.spec, services=action.services)
                claims[action.claim.metadata.name] = msgspec.structs.replace(
                    action.claim, spec=spec
                )
            case Delete():
                del claims[action.claim.metadata.name]


@given(
    wishes,
    st.lists(st.tuples(few_interfaces, st.booleans(), st.sets(st.sampled_from("abc"))), max_size=8),
    st.randoms(),
)
def test_applying_a_plan_gives_what_is_wanted_and_planning_again_gives_nothing(
    wanted, present, rng
):
    claims = {}
    for number, (interface, ours, services) in enumerate(present):
        if ours:
            claim = made(interface.with_prefixlen, *sorted(services))
        else:
            claim = by_hand(f"hand-{number}", interface.with_prefixlen)
        claims[claim.metadata.name] = claim
    hands = {name: claim for name, claim in claims.items() if not claim.managed}
    shuffled = list(claims.values())
    actions = plan_claims(wanted, index_claims(claims.values()))
    rng.shuffle(shuffled)
    assert plan_claims(wanted, index_claims(shuffled)) == actions
    make(actions, claims)
    make(plan_claims(wanted, index_claims(claims.values())), claims)  # what was replaced goes
    assert hands.items() <= claims.items()
    held_by_hand = {ip_interface(claim.spec.cidr).ip for claim in hands.values()}
    ours = {c.spec.cidr: c.spec.services for c in claims.values() if c.metadata.name not in hands}
    assert ours == {
        interface.with_prefixlen: tuple(reference(o.name) for o in owners)
        for interface, owners in wanted.items()
        if interface.ip not in held_by_hand
    }
    assert plan_claims(wanted, index_claims(claims.values())) == ()


def test_the_managed_label_alone_makes_a_claim_ours():
    assert not by_hand("x", "10.0.0.1/24", **{MANAGED_BY_LABEL: "helm"}).managed


def test_who_has_an_ip_is_what_the_claims_say_that_were_made_for_services():
    made = [
        new_claim(Create(interface=ip_interface(f"10.0.0.1/{prefix}"), services=services))
        for prefix, services in ((24, (reference("a", "x"), reference("b", "x"))), (32, ()))
    ]
    by_hand = IpClaim(
        metadata=FullObjectMeta(name="by-hand"),
        spec=IpClaimSpec(cidr="10.0.0.2/32", services=(reference("a", "y"),)),
    )
    assert current_owners(made) == {"x"}
    assert current_owners([by_hand]) == current_owners([]) == frozenset()


def test_a_claim_names_no_more_services_than_the_server_takes():
    interface = ip_interface("10.0.0.1/32")
    owners = tuple(owner(f"s{n:05}") for n in range(MAX_SERVICES + 10))
    (create,) = plan_claims({interface: owners}, index_claims([]))
    assert isinstance(create, Create)
    assert len(create.services) == MAX_SERVICES
    claim = new_claim(create)
    assert plan_claims({interface: owners}, index_claims([claim])) == ()


def test_a_recorded_port_that_is_no_port_is_left_out():
    metadata = FullObjectMeta(
        name="c", annotations={PORTS_ANNOTATION: f"{'9' * 5000}/TCP=web 80/TCP=web"}
    )
    spec = IpClaimSpec(services=(ServiceReference(namespace="shop", name="web"),))
    claim = IpClaim(metadata=metadata, spec=spec)
    assert recorded_ports(claim) == {("TCP", 80): ("shop/web",)}


def test_the_interface_is_written_only_when_it_differs():
    interface = ip_interface("10.0.0.1/24")
    wanted = {interface: (owner("a"),)}
    claim = new_claim(Create(interface=interface, services=(reference("a"),), link="dmz"))
    assert claim.spec.link == "dmz"
    index = index_claims([claim])
    assert plan_claims(wanted, index, {}, {interface: "dmz"}) == ()
    (change,) = plan_claims(wanted, index)
    assert isinstance(change, SetServices)
    assert services_patch(change)["spec"] == {"services": (reference("a"),), "link": None}
    (change,) = plan_claims({interface: (owner("b"),)}, index, {}, {interface: "dmz"})
    assert isinstance(change, SetServices)
    assert services_patch(change)["spec"] == {"services": (reference("b"),)}
