"""Simple mode tells of a service with local traffic that has no endpoint on its node, once."""

from ipaddress import ip_address, ip_interface

import pytest

from extip.api.core_v1 import Node, NodeAddress, NodeMeta, NodeStatus
from extip.endpoints.policy.unserved import own_node, unserved, without_endpoint
from extip.endpoints.unserved_report import LocalTraffic
from extip.guard.policy.admission import Admission
from extip.services.policy.requests import Owner, Requests

LOCAL, OTHER = (
    Owner(kind="Service", namespace="shop", name=name, uid=name) for name in ("local", "other")
)
A, B, C = (ip_interface(f"10.0.0.{n}/32") for n in (1, 2, 3))
WANTED = {A: (LOCAL, OTHER), B: (LOCAL,), C: (OTHER,)}


def node(name, *ips):
    addresses = tuple(NodeAddress(type="InternalIP", address=ip) for ip in ips)
    return Node(metadata=NodeMeta(name=name), status=NodeStatus(addresses=addresses))


@pytest.mark.parametrize(
    ("own", "hostname", "expected"),
    [
        ({"192.168.0.1"}, "other", "n1"),
        ({"192.168.0.2", "10.9.9.9"}, "n1", "n2"),
        ({"192.168.0.1", "192.168.0.2"}, "n2", "n2"),
        (set(), "n1", "n1"),
        (set(), "n1.example.org", ""),
    ],
)
def test_the_node_is_the_one_that_lists_an_address_of_this_machine(own, hostname, expected):
    nodes = [node("n1", "192.168.0.1"), node("n2", "192.168.0.2", "fd00::2")]
    assert own_node(nodes, {ip_address(ip) for ip in own}, hostname) == expected


def test_thousands_of_nodes_are_not_parsed_anew_at_each_pass(monkeypatch):
    nodes = [node(f"n{n}", f"10.1.{n >> 8}.{n & 255}", f"fd00::{n:x}") for n in range(2000)]
    own = {ip_address("fd00::7")}
    parsed: list[object] = []
    monkeypatch.setattr("extip.services.policy.requests.ip_address_of", parsed.append)
    assert own_node(nodes, own, "other") == "n7"
    assert parsed == []


def test_only_what_is_up_and_wants_local_traffic_lacks_an_endpoint():
    endpoints = {"shop/local": frozenset({"n2"})}
    assert without_endpoint("n2", endpoints, WANTED, {A, B, C}) == {}
    assert without_endpoint("n1", endpoints, WANTED, {A, C}) == {LOCAL: (A.ip,)}
    assert without_endpoint("n1", endpoints, WANTED, {A, B, C}) == {LOCAL: (A.ip, B.ip)}
    assert without_endpoint("n1", {}, WANTED, {A, B, C}) == {}


def test_an_ip_is_unserved_when_none_of_its_services_can_be_served():
    endpoints = {"shop/local": frozenset({"n2"})}
    assert unserved("n1", endpoints, WANTED) == {B}
    assert unserved("n2", endpoints, WANTED) == frozenset()
    assert unserved("n1", endpoints | {"shop/other": frozenset()}, WANTED) == {A, B, C}
    assert unserved("n1", {}, WANTED) == frozenset()


class Bench:
    def __init__(self):
        self.endpoints = {"shop/local": frozenset[str]()}
        self.events = []
        self.now = 0.0
        self.nodes = [node("n1")]
        self.traffic = LocalTraffic(
            self,  # type: ignore[arg-type]
            endpoints=lambda: self.endpoints,
            wanted=lambda: WANTED,
            nodes=lambda: self.nodes,
            own=frozenset,
            hostname="n1",
            clock=self,  # type: ignore[arg-type]
        )

    def monotonic(self):
        return self.now

    def record(self, reference, *, type, reason, message):  # noqa: A002 - the API's word
        self.events.append((reference.name, type, reason, message))

    def look(self, at):
        self.now = at
        self.traffic.on_admission(Admission(wanted=frozenset({A, B, C}), rejected=frozenset()))


def test_it_is_told_once_when_it_lasts():
    bench = Bench()
    for at in (0.0, 4.0, 6.0, 30.0):
        bench.look(at)
    ((name, kind, reason, message),) = bench.events
    assert (name, kind, reason) == ("local", "Warning", "NoLocalEndpoint")
    assert message.startswith("10.0.0.1, 10.0.0.2: no answer, since node n1 ")
    bench.endpoints = {"shop/local": frozenset({"n1"})}
    bench.look(31.0)
    bench.endpoints = {"shop/local": frozenset()}
    bench.look(32.0)
    assert len(bench.events) == 1
    bench.look(38.0)
    assert len(bench.events) == 2


def test_nothing_is_said_where_the_node_or_the_endpoints_are_not_known():
    bench = Bench()
    bench.nodes = []
    for at in (0.0, 10.0):
        bench.look(at)
    bench.endpoints = {}
    for at in (20.0, 30.0):
        bench.look(at)
    assert bench.events == []


def test_what_cannot_be_served_is_withheld_and_comes_back_at_once():
    bench = Bench()
    requests = Requests(wanted=WANTED)
    bench.endpoints = {"shop/local": frozenset({"n1"})}
    assert bench.traffic.serve(requests) is requests
    bench.endpoints = {"shop/local": frozenset()}
    bench.now = 4.9  # a pod is replaced: it does not blink
    assert bench.traffic.serve(requests) is requests
    bench.now = 5.0
    served = bench.traffic.serve(requests)
    assert served.wanted.keys() == {A, C}
    assert bench.traffic.serve(requests) is served
    bench.endpoints = {"shop/local": frozenset({"n1"})}
    assert bench.traffic.serve(requests) is requests


def test_what_never_had_an_endpoint_never_comes_up_and_its_owner_is_told():
    bench = Bench()
    requests = Requests(wanted={B: (LOCAL,), C: (OTHER,)})
    for at in (0.0, 6.0):
        bench.now = at
        assert bench.traffic.serve(requests).wanted == {C: (OTHER,)}
        bench.traffic.on_admission(Admission(wanted=frozenset({C}), rejected=frozenset()))
    ((_, _, reason, message),) = bench.events
    assert reason == "NoLocalEndpoint"
    assert message.startswith("10.0.0.2: not up, since node n1 has no ready endpoint")


def test_nothing_is_withheld_where_the_node_or_the_endpoints_are_not_known():
    bench = Bench()
    requests = Requests(wanted=WANTED)
    bench.nodes = []
    assert bench.traffic.serve(requests) is requests
    bench.nodes, bench.endpoints = [node("n1")], {}
    assert bench.traffic.serve(requests) is requests
