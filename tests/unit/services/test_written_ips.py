"""Services that kube-proxy does not serve get no external IP, with one reason for all of theirs."""

from dataclasses import replace
from ipaddress import ip_address, ip_interface

import msgspec
import pytest

from extip.api.core_v1 import DetailedService, Service
from extip.guard.policy.admission import Admission, admit
from extip.guard.policy.rules import Guard, Surroundings, Verdicts
from extip.guard.refusals import RefusalLedger
from extip.metrics import Metrics
from extip.services.policy.refusal import Reason
from extip.services.policy.requests import Masks
from extip.services.policy.written_ips import WrittenIPs, collect_written, unproxied, written_ips
from tests.fakes.recorder import RecordedEvents
from tests.unit.pools.allocation_world import World, pool, service_json

MASKS = Masks(v4=32, v6=128)
HEADLESS = {"clusterIP": "None", "clusterIPs": ["None"]}
MARK = {"service.kubernetes.io/headless": ""}
UNPROXIED = [
    (HEADLESS, {}, "it is headless (clusterIP None)"),
    ({"type": "ExternalName", "externalName": "db.example.org"}, {}, "it is an alias"),
    ({"clusterIPs": ["10.96.0.7"]}, MARK, "it is labelled service.kubernetes.io/headless"),
]
PROXIED = [
    ({"clusterIPs": ["10.96.0.7"]}, {}),
    (
        {
            "clusterIPs": ["10.96.0.7"],
            "type": "LoadBalancer",
            "allocateLoadBalancerNodePorts": False,
        },
        {},
    ),
    ({"clusterIPs": ["10.96.0.7"]}, {"service.kubernetes.io/service-proxy-name": "other"}),
    ({"clusterIPs": ["10.96.0.7"], "selector": None}, {}),
    ({}, {}),
]


def one_of(service: Service | DetailedService) -> WrittenIPs:
    found = written_ips(service)
    assert found is not None
    return found


@pytest.fixture(params=[Service, DetailedService])
def decoded(request):
    def decode(spec, labels):
        service = service_json("web", **spec)
        service["metadata"]["labels"] = labels
        return msgspec.json.decode(msgspec.json.encode(service), type=request.param)

    return decode


@pytest.mark.parametrize(("spec", "labels", "why"), UNPROXIED)
def test_a_service_that_kube_proxy_never_serves_gets_no_address(decoded, spec, labels, why):
    one = one_of(decoded({**spec, "externalIPs": ["10.0.0.1", "10.0.0.2"]}, labels))
    requests = collect_written([one], MASKS.parse, lambda _namespace, _ip: None)
    assert requests.wanted == {}
    assert {r.text for r in requests.denied} == {"10.0.0.1", "10.0.0.2"}
    (refusal,) = {r.refusal for r in requests.denied}
    assert refusal.reason is Reason.NOT_PROXIED
    assert why in refusal.message


@pytest.mark.parametrize(("spec", "labels"), PROXIED)
def test_other_services_are_served(decoded, spec, labels):
    service = decoded({**spec, "externalIPs": ["10.0.0.1"]}, labels)
    assert unproxied(service) is None
    requests = collect_written([one_of(service)], MASKS.parse, lambda _namespace, _ip: None)
    assert list(requests.wanted) == [ip_interface("10.0.0.1/32")]


def test_an_ip_that_others_serve_too_stays_theirs(decoded):
    good = one_of(decoded({"externalIPs": ["10.0.0.1"]}, {}))
    bad = one_of(decoded({**HEADLESS, "externalIPs": ["10.0.0.1"]}, {}))
    bad = bad._replace(owner=replace(bad.owner, name="headless"))
    requests = collect_written([good, bad], MASKS.parse, lambda _namespace, _ip: None)
    assert requests.wanted == {ip_interface("10.0.0.1/32"): (good.owner,)}


BALANCED = {"type": "LoadBalancer", "clusterIPs": ["10.96.0.7"]}
WAYS_IN = [
    {"ip": "10.0.0.1"},
    {"hostname": "lb.example.org"},
    {"ip": "10.0.0.2", "ipMode": "VIP"},
    {"ip": "10.0.0.3", "ipMode": "Proxy"},
    {"ip": "10.0.0.4"},
]


@pytest.mark.parametrize(
    ("spec", "chosen", "texts"),
    [
        (BALANCED, "", ("10.0.0.4", "10.0.0.1", "10.0.0.2")),
        (BALANCED, None, ("10.0.0.4",)),
        (BALANCED, "lab/edge", ("10.0.0.4",)),
        ({**BALANCED, "loadBalancerClass": "lab/edge"}, "", ("10.0.0.4",)),
        (
            {**BALANCED, "loadBalancerClass": "lab/edge"},
            "lab/edge",
            ("10.0.0.4", "10.0.0.1", "10.0.0.2"),
        ),
        ({**BALANCED, "type": "ClusterIP"}, "", ("10.0.0.4",)),
    ],
)
def test_ips_of_load_balancers_of_the_chosen_class_count_too(spec, chosen, texts):
    """Those of a load balancer that is a host of its own (``ipMode: Proxy``) never do."""
    service = service_json("web", externalIPs=["10.0.0.4"], **spec)
    service["status"] = {"loadBalancer": {"ingress": WAYS_IN}}
    found = written_ips(
        msgspec.json.decode(msgspec.json.encode(service), type=Service), balanced_class=chosen
    )
    assert found is not None
    assert found.texts == texts


def test_one_event_for_all_of_its_ips():
    events = RecordedEvents()
    ledger = RefusalLedger(events, Metrics("test"))
    for ips in (["10.0.0.1", "10.0.0.2"], ["10.0.0.1", "10.0.0.2", "10.0.0.3"]):
        json = service_json("web", **HEADLESS, externalIPs=ips)
        service = msgspec.json.decode(msgspec.json.encode(json), type=Service)
        requests = collect_written([one_of(service)], MASKS.parse, lambda _namespace, _ip: None)
        admission = admit(requests, Verdicts(Guard(), Surroundings()))
        assert isinstance(admission, Admission)
        assert len(admission.rejected) == len(ips)
        ledger.record(admission)
    assert events.recorded == [("web", Reason.NOT_PROXIED)]


@pytest.mark.parametrize(("spec", "labels", "why"), UNPROXIED)
def test_none_is_given_from_a_pool_either_and_one_that_was_is_taken_back(spec, labels, why):
    world = World(pool("p", "10.0.0.0/29"))
    world.add("web", annotations={"external-ip": "auto"}, clusterIPs=["10.96.0.7"])
    world.settle()
    assert world.shown("web") == ["10.0.0.1"]
    world.change("web", {"metadata": {"labels": labels}, "spec": spec})
    world.settle()
    assert world.shown("web") == []
    assert world.claimed() == {}
    allocation, _ = world.plan()
    (said,) = allocation.waiting.values()
    assert why in said
    assert ip_address("10.0.0.1") not in allocation.users
