"""What may not come up does not, in both modes; whoever asked for it is told why, once."""

import json
from collections.abc import Callable, Iterator
from functools import partial

import pytest

from tests.lab.api import GROUP
from tests.lab.cluster import Lab
from tests.lab.extip import Extip
from tests.lab.network import (
    API_SERVER_IP,
    ROUTER,
    external_v4,
    external_v6,
    lan_v4,
    lan_v6,
)
from tests.lab.wait import wait_until
from tests.system.guard_world import MODES, World

FREE = (external_v4(0), external_v6(0))
IPVS = external_v4(1)
"""An external IP that kube-proxy has bound to `kube-ipvs0`, as it does in ipvs mode."""
NODES_OWN = {
    "10.77.0.1": "AddressInUseLocally",  # on an interface beside --iface
    "10.77.1.1": "GatewayAddress",  # in a routing table beside main
    "fd00:77::1": "GatewayAddress",
}
"""What only n1 knows."""
PODS_OF_N1 = dict.fromkeys(("10.201.0.5", "fd00:201::5"), "AddressOnOtherLink")
CLUSTERS_OWN = {
    lan_v4(12): "NodeAddress",
    lan_v6(12): "NodeAddress",
    lan_v4(ROUTER): "GatewayAddress",
    API_SERVER_IP: "ApiServerAddress",
    "10.96.0.1": "ClusterIPAddress",  # of the service `kubernetes`
    "10.96.77.77": "ClusterIPAddress",
    "10.96.100.100": "ServiceNetworkAddress",  # nobody's yet, and between two that are
    "10.200.3.4": "PodAddress",
    "10.244.99.9": "PodNetworkAddress",
    "fd00:244:99::9": "PodNetworkAddress",
}


@pytest.fixture(params=MODES)
def world(request: pytest.FixtureRequest, lab: Lab, namespace: str) -> Iterator[World]:
    made = World(lab, request.param, namespace)
    yield made
    made.end()


@pytest.fixture
def other(world: World) -> str:
    """Make a second namespace."""
    world.lab.create_namespace(f"{world.namespace}-other")
    return f"{world.namespace}-other"


def test_what_the_node_or_the_cluster_uses_is_refused(private_lab: Callable[..., Lab]) -> None:
    lab = private_lab(nodes=2)
    lab.nodes["n1"].run(["ip", "-batch", "-"], stdin=_OWN_OF_N1)
    elsewhere = {"podCIDRs": ["10.244.99.0/24", "fd00:244:99::/64"], "podCIDR": "10.244.99.0/24"}
    lab.apply({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "gone"}, "spec": elsewhere})
    lab.add_service("inside", spec={"clusterIP": "10.96.77.77"})
    lab.api.request("POST", f"{_SLICES}/namespaces/default/endpointslices", _SLICE)
    for mode in MODES:
        lab.nodes["n1"].run(["ip", "route", "replace", *_ROUTE_OF_N1])
        _refuses_what_is_in_use(World(lab, mode, "default"), mode)
        for name in ("web", "more"):
            lab.delete_service(f"{name}-{mode}")


def _refuses_what_is_in_use(world: World, mode: str) -> None:
    lab = world.lab
    web = f"web-{mode}"
    reader = world.start()
    reader.wait_for_event("external_ips_unrestricted")
    reason = str(reader.wait_for_event("guard_knows_less")["reason"])
    assert "no podCIDR" in reason
    assert "networks of cluster IPs" in reason
    # Other nodes hear of n1's gateways from its IpNode; in claims mode give it time to tell.
    if mode == "claims":
        wait_until(lambda: "10.77.1.1" in _told_gateways(lab, "n1"), "n1 to tell of its gateways")
        wait_until(lambda: "10.77.0.1" in _told_addresses(lab, "n1"), "n1 to tell of its addresses")
    # In claims mode whoever knows it from the IpNode says so.
    known = {"10.77.0.1": "NodeAddress"} if mode == "claims" else PODS_OF_N1
    told = NODES_OWN | CLUSTERS_OWN | known
    world.add(web, *FREE, IPVS, *told)
    world.wait_up(*FREE, IPVS)
    world.wait_refused(web, told)
    assert world.claimed() <= {*FREE, IPVS}
    for ip, reason in told.items():
        (said,) = reader.events("address_refused", address=ip)
        assert (said["reason"], said["service"]) == (reason, f"default/{web}")
    world.add(f"more-{mode}", external_v4(2))  # a reason to look at everything again
    world.wait_up(*FREE, IPVS, external_v4(2))
    assert len(reader.events("address_refused")) == len(told)
    assert world.refused(web) == {ip: (reason, 1) for ip, reason in told.items()}
    if mode == "simple":
        count = sum(reason == "GatewayAddress" for reason in told.values())
        assert reader.metric("extip_addresses_refused", reason="GatewayAddress") == count
    lab.nodes["n1"].run(["ip", "route", "del", *_ROUTE_OF_N1])
    world.wait_up(*FREE, IPVS, external_v4(2), "10.77.1.1")
    reader.wait_for_event("address_refusal_ended", address="10.77.1.1")
    assert len(reader.events("address_refusal_ended")) == 1
    _keeps_what_is_up_and_a_node_lists(world, web, reader)
    if mode == "claims":
        _refuses_a_pod_of_n1(lab)
    world.end()


def _refuses_a_pod_of_n1(lab: Lab) -> None:
    """See that a claim of a pod's IP, made by hand, stays where it is and says why.

    Only for such claims a controller reads Nodes, which tell of the networks of pods elsewhere.
    """
    told_by_nodes = {"10.244.99.9": "PodNetworkAddress"}
    for n, (ip, reason) in enumerate((PODS_OF_N1 | told_by_nodes).items()):
        cidr = f"{ip}/{128 if ':' in ip else 32}"
        made = {"metadata": {"name": f"pod-{n}"}, "spec": {"cidr": cidr, "nodeName": "n1"}}
        lab.apply({"apiVersion": "ipcontroller.ext/v1", "kind": "IpClaim", **made})
        wait_until(partial(_refusals, lab, f"pod-{n}"), f"{ip} to be refused")
        ((said, message),) = _refusals(lab, f"pod-{n}")
        assert said == reason
        assert ("behind beside" in message) == (ip in PODS_OF_N1)


def _refusals(lab: Lab, claim: str) -> list[tuple[str, str]]:
    status = lab.api.get(f"{GROUP}/ipclaims/{claim}").get("status", {})
    return [
        (condition["reason"], condition["message"])
        for condition in status.get("conditions", [])
        if (condition["type"], condition["status"]) == ("Accepted", "False")
    ]


def _keeps_what_is_up_and_a_node_lists(world: World, web: str, reader: Extip) -> None:
    """See that a Node object takes nothing down: a kubelet lists what it finds on an interface.

    An IP that was not up when it was listed is that node's.
    """
    lab, ip, nodes_own = world.lab, FREE[0], external_v4(9)
    up = world.up()
    _list_addresses(lab, [ip, nodes_own])
    wait_until(
        lambda: world.refused(web).get(ip) == ("NodeListsAddress", 1), "the Event on the service"
    )
    lab.add_service("late", [nodes_own])
    world.wait_refused("late", {nodes_own: "NodeAddress"})
    assert world.up() == up
    holder = world.move(ip)
    assert reader.metric("extip_addresses_listed_by_nodes") == 1
    assert not holder.events("address_refused", address=ip)
    assert not reader.events("address_refused", address=ip)
    world.wait_up(*up)
    _list_addresses(lab, [])
    reader.wait_for_event("address_doubt_ended", address=ip)
    lab.delete_service("late")


def _list_addresses(lab: Lab, ips: list[str]) -> None:
    listed = [{"type": "InternalIP", "address": ip} for ip in ips]
    lab.api.request(
        "PATCH",
        "/api/v1/nodes/gone/status",
        {"status": {"addresses": listed}},
        content_type="application/merge-patch+json",
    )


_SLICES = "/apis/discovery.k8s.io/v1beta1"
_SLICE = {
    "metadata": {"name": "pods-x"},
    "addressType": "IPv4",
    "endpoints": [
        {"addresses": ["10.200.3.4"], "targetRef": {"kind": "Pod", "name": "pod"}},
        {"addresses": [FREE[0]]},  # as a person writes it
    ],
    "ports": [],
}
_ROUTE_OF_N1 = ["10.78.0.0/16", "via", "10.77.1.1", "dev", "beside", "onlink", "table", "77"]
_OWN_OF_N1 = f"""
link add beside type veth peer name beside1
addr add 10.77.0.1/24 dev beside
link set beside up
link set beside1 up
route add 10.201.0.5 dev beside scope link
route add fd00:201::5 dev beside
route add fd00:78::/64 via fd00:77::1 dev beside onlink table 77
link add kube-ipvs0 type bridge
addr add {IPVS}/32 dev kube-ipvs0
"""


def _told(lab: Lab, node: str) -> dict[str, list[object]]:
    items = lab.api.get(f"{GROUP}/ipnodes")["items"]
    by_name = {item["metadata"]["name"]: item.get("status", {}) for item in items}
    status: dict[str, list[object]] = by_name.get(node, {})
    return status


def _told_gateways(lab: Lab, node: str) -> list[object]:
    return _told(lab, node).get("gateways", [])


def _told_addresses(lab: Lab, node: str) -> list[str]:
    return [
        address.split("/")[0]
        for link in _told(lab, node).get("links", [])
        if isinstance(link, dict)
        for address in link.get("addresses", [])
    ]


def test_an_ip_belongs_to_one_namespace_and_is_never_stolen(world: World, other: str) -> None:
    ip = FREE[0]
    lab = world.lab
    world.add("oldest", namespace=other)
    world.add("first", ip)
    reader = world.start()
    world.wait_up(ip)
    world.edit("oldest", ip, namespace=other)  # older, but the IP is another's by now
    world.add("same", ip, external_v4(1))
    world.wait_up(ip, external_v4(1))
    world.wait_refused("oldest", {ip: "AddressOfOtherNamespace"}, other)
    assert world.refused("first") == world.refused("same") == {}
    assert len(reader.events("address_refused")) == 1
    lab.delete_service("first", namespace=world.namespace)
    lab.delete_service("same", namespace=world.namespace)
    reader.wait_for_event("address_refusal_ended", address=ip, service=f"{other}/oldest")
    world.wait_up(ip)
    assert world.refused("oldest", other) == {ip: ("AddressOfOtherNamespace", 1)}


def test_a_service_that_kube_proxy_never_serves_gets_no_address(world: World) -> None:
    ips = [external_v4(n) for n in range(4)]
    world.add("headless", ips[0], ips[1], clusterIP="None")
    alias = {"type": "ExternalName", "externalName": "db.example.org", "clusterIP": ""}
    world.add("alias", ips[2], **alias, ports=None, ipFamilies=None, ipFamilyPolicy=None)
    reader = world.start()
    world.add("web", ips[3])
    world.wait_up(ips[3])
    for name in ("headless", "alias"):
        reader.wait_for_event("address_refused", service=f"{world.namespace}/{name}")
        wait_until(partial(world.told, name), f"an Event on {name}")
        ((reason, message, count),) = world.told(name)
        assert (reason, count) == ("ServiceNotProxied", 1)
        assert "kube-proxy does not serve" in message
    assert world.claimed() <= {ips[3]}
    type_changed = json.dumps({"spec": {**alias, "externalName": "www.example.org"}})
    kubectl = ("-n", world.namespace, "patch", "service", "web", "--type=merge", "-p", type_changed)
    world.lab.kubectl(*kubectl)
    world.wait_up()


def test_of_two_that_ask_before_anybody_has_it_the_first_gets_it(world: World, other: str) -> None:
    ip = FREE[0]
    world.add("first", ip, namespace=other)
    wait_until(lambda: _created(world, other, "first") < _now(world), "the next second")
    world.add("second", ip)
    world.start()
    world.wait_up(ip)
    world.wait_refused("second", {ip: "AddressOfOtherNamespace"})
    assert world.refused("first", other) == {}


def _created(world: World, namespace: str, name: str) -> str:
    found = world.lab.api.get(f"/api/v1/namespaces/{namespace}/services/{name}")
    created: str = found["metadata"]["creationTimestamp"]
    return created


def _now(world: World) -> str:
    """Return the API server's time as it stamps objects, to the second."""
    return _created(world, world.namespace, "clock") if _tick(world) else ""


def _tick(world: World) -> bool:
    path = f"/api/v1/namespaces/{world.namespace}/services/clock"
    world.lab.api.discard(path)
    world.add("clock")
    return True


def test_a_namespace_may_have_what_it_is_allowed_and_no_other_may(world: World, other: str) -> None:
    mine, theirs, everyones, nobodys = (f"10.88.{n}.9" for n in (11, 12, 13, 14))
    reader = world.start(
        f"--allow=ns/{world.namespace}=10.88.11.0/24",
        f"--allow=ns/{other}=10.88.12.0/24",
        "--allow-cidr=10.88.13.0/24",
    )
    world.add("web", mine, theirs, everyones, nobodys)
    world.add("web", mine, namespace=other)
    world.wait_up(mine, everyones)
    world.wait_refused("web", dict.fromkeys((theirs, nobodys), "AddressNotAllowed"))
    world.wait_refused("web", {mine: "AddressNotAllowed"}, other)
    assert world.claimed() <= {mine, everyones}
    assert reader.events("external_ips_unrestricted") == []
