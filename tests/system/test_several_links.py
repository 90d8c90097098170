"""Nodes with several interfaces: each IP is on the right one, and moves when that one dies."""

import time
from functools import partial

import pytest

from tests.lab.api import GROUP, MERGE_PATCH
from tests.lab.extip import MARK, Extip
from tests.lab.second_lan import INTERFACE, SecondLan, second_v4, second_v6
from tests.lab.wait import wait_until
from tests.system.claims import Claims
from tests.system.claims_cluster import MONITOR_S, ClaimsCluster
from tests.system.pooled_cluster import LOAD_BALANCER, PooledCluster, pool

FIRST = ("10.88.3.1", "fd00:88::3:1")
SECOND = (second_v4(1), second_v6(1))
EVERY = (*FIRST, *SECOND)
LONG_S = 1.5 * MONITOR_S
"""Longer than it takes to find a node dead and to move what it had."""


@pytest.fixture
def two_lans(private_lab):
    """Start a lab whose nodes and client are on two LANs."""
    lab = private_lab(nodes=3)
    lab.second = SecondLan(lab)
    lab.create_namespace("web")
    lab.add_backends("web")
    return lab


@pytest.fixture
def started(two_lans):
    """Prepare claims mode on it; the test starts the programs."""
    cluster = ClaimsCluster(two_lans, "web")
    cluster.install()
    yield cluster
    cluster.end()
    cluster.clean_up()


def places(lab):
    """Return the nodes and interfaces that each of extip's addresses is on."""
    found: dict[str, set[tuple[str, str]]] = {}
    for name, node in lab.nodes.items():
        for link in ("eth0", INTERFACE, "mgmt0", "pods0"):
            for address in node.addresses(link):
                if address.proto == MARK:
                    found.setdefault(address.ip, set()).add((name, link))
    return found


def is_right(cluster):
    """Whether each IP is on one node, that of its claim, on the interface of its LAN."""
    placed = cluster.placed()
    return places(cluster.lab) == {
        ip: {(placed.get(ip), "eth0" if ip in FIRST else INTERFACE)} for ip in EVERY
    }


def wait_right(cluster):
    try:
        wait_until(partial(is_right, cluster), "each IP on its LAN")
    except Exception as error:
        raise AssertionError(f"{error}; up {places(cluster.lab)}\n{cluster.logs()}") from error
    for ip in EVERY:
        assert cluster.lab.wait_for_http(ip) in cluster.lab.nodes


def is_on(lab, ip, node, link):
    return places(lab) == {ip: {(node, link)}}


def is_said(claims, name, link):
    return claims.status(name).get("link") == link


def links_of(lab, node):
    status = lab.api.get(f"{GROUP}/ipnodes/{node}")["status"]
    return {link["name"]: (link.get("takes"), link.get("up", False)) for link in status["links"]}


@pytest.mark.parametrize("iface", ["--iface=auto", "--iface=eth[01],mgmt0"])
def test_an_interface_dies_and_its_ips_alone_move(started, two_lans, iface):
    """Both families. The IPs of the other interface stay where they are."""
    lab = two_lans
    started.controller_flags += (iface,)
    started.start()
    lab.add_service("web", EVERY, namespace="web")
    wait_right(started)
    holder = started.placed()[SECOND[0]]
    stay = {ip: started.placed()[ip] for ip in FIRST}
    assert {"eth0", INTERFACE} <= links_of(lab, holder).keys()
    assert links_of(lab, holder)[INTERFACE][0] == ("Subnets" if "auto" in iface else "Any")

    lab.second.set_carrier(holder, up=False)
    wait_until(
        lambda: holder not in {started.placed()[ip] for ip in SECOND}, "the IPs to leave the link"
    )
    wait_right(started)
    assert {ip: started.placed()[ip] for ip in FIRST} == stay
    assert links_of(lab, holder)[INTERFACE][1] is False
    shown = lab.api.get(f"{GROUP}/ipclaims")["items"]
    assert {claim["status"]["link"] for claim in shown} == {"eth0", INTERFACE}


def test_the_first_interface_dies_and_the_ips_of_the_other_one_stay(started, two_lans):
    """Neighbours ask on the first one, and hear nothing from a node that lives."""
    lab = two_lans
    started.controller_flags += ("--iface=eth0,eth1",)
    started.start()
    started.wait_neighbours()
    lab.add_service("web", EVERY, namespace="web")
    wait_right(started)
    holder = started.placed()[FIRST[0]]
    lab.switch.set_carrier(lab.nodes[holder].ports["lan"], up=False)
    wait_until(
        lambda: holder not in {started.placed()[ip] for ip in FIRST}, "the IPs to leave the link"
    )
    wait_right(started)
    moved = {
        claim["spec"]["cidr"].split("/")[0]
        for claim in started.claims()
        if "ip-previous-node" in claim["metadata"]["labels"]
    }
    assert moved <= {*FIRST}


LINK_READY = "LinkReady"


def said_of_links(lab, node):
    """Return what a controller says of its interfaces: status and message of LinkReady."""
    conditions = lab.api.get(f"{GROUP}/ipnodes/{node}")["status"].get("conditions", [])
    (found,) = [c for c in conditions if c["type"] == LINK_READY]
    return found["status"], found["message"]


def cut(lab, link, *nodes):
    """Have the switch of one LAN drop the frames of these nodes; carrier stays."""
    if link == INTERFACE:
        lab.second.cut(*nodes)
        return
    for node in nodes:
        lab.nodes[node].cut("lan")


def heal(lab, link, *nodes):
    if link == INTERFACE:
        lab.second.heal(*nodes)
        return
    for node in nodes:
        lab.nodes[node].heal("lan")


@pytest.mark.parametrize(
    ("iface", "link"),
    [("auto", INTERFACE), ("auto", "eth0"), ("eth0,eth1", INTERFACE)],
)
def test_a_lan_is_dead_for_one_node_and_its_ips_there_alone_move(started, two_lans, iface, link):
    """The cable is in and heartbeats go on, but no station answers there. Both families."""
    lab = two_lans
    started.controller_flags += (f"--iface={iface}",)
    started.start()
    lab.add_service("web", EVERY, namespace="web")
    wait_right(started)
    there, elsewhere = (FIRST, SECOND) if link == "eth0" else (SECOND, FIRST)
    other = INTERFACE if link == "eth0" else "eth0"
    for one in ("eth0", INTERFACE):
        started.wait_neighbours(link=one)
    holder = started.placed()[there[0]]
    stay = {ip: started.placed()[ip] for ip in elsewhere}

    cut(lab, link, holder)
    wait_until(
        lambda: holder not in {started.placed()[ip] for ip in there}, "the IPs to leave the LAN"
    )
    wait_right(started)
    assert {ip: started.placed()[ip] for ip in elsewhere} == stay
    controller = started.controllers[holder]
    assert controller.metric("extip_link_isolated", link=link) == 1
    assert controller.metric("extip_link_isolated", link=other) == 0
    assert links_of(lab, holder)[link][1] is True, "it has carrier"
    nowhere = f"; no other station answers on {link}"
    wait_until(lambda: said_of_links(lab, holder)[1].endswith(nowhere), "the node to say so")
    status, message = said_of_links(lab, holder)
    assert (status, other in message.partition(";")[0]) == ("True", True)

    moved = started.placed()
    heal(lab, link, holder)
    controller.wait_for_event("link_reached", link=link)
    wait_until(lambda: nowhere not in said_of_links(lab, holder)[1], "it to be well")
    wait_right(started)
    assert started.placed() == moved, "nothing comes back at once"


def test_a_lan_that_is_dead_for_all_moves_nothing(started, two_lans):
    """Nor does it when one of its nodes is the first to find out."""
    lab = two_lans
    started.controller_flags += ("--iface=auto",)
    started.start()
    lab.add_service("web", EVERY, namespace="web")
    wait_right(started)
    started.wait_neighbours(link=INTERFACE)
    before = started.placed()
    cut(lab, INTERFACE, *lab.nodes)
    for controller in started.controllers.values():
        controller.wait_for_event("link_isolated", link=INTERFACE)
    time.sleep(LONG_S)
    assert started.placed() == before
    for ip in FIRST:
        assert lab.wait_for_http(ip) in lab.nodes
    heal(lab, INTERFACE, *lab.nodes)
    for controller in started.controllers.values():
        controller.wait_for_event("link_reached", link=INTERFACE)
    wait_right(started)
    time.sleep(LONG_S)
    assert started.placed() == before


def test_no_node_has_a_subnet_for_it(started, two_lans):
    lab = two_lans
    started.controller_flags += ("--iface=auto",)
    started.start()
    lab.add_service("web", ["10.91.0.1"], namespace="web")

    def why():
        claims = started.claims()
        conditions = [c for claim in claims for c in claim.get("status", {}).get("conditions", [])]
        return next((c["message"] for c in conditions if c["type"] == "Assigned"), "")

    wait_until(lambda: "no interface of it has a subnet" in why(), "the claim to say so")
    assert places(lab) == {}


def test_an_ip_moves_between_interfaces_of_a_node_and_follows_hotplug(started, two_lans):
    lab = two_lans
    node, ip = lab.nodes["n1"], "10.88.3.9"
    started.controller_flags += ("--iface=eth*",)
    started.start_controller("n1").wait_for_event("heartbeat_started")
    claims = Claims(lab)
    name = claims.create(ip, "n1", link="eth0")
    wait_until(partial(is_on, lab, ip, "n1", "eth0"), "it to be up")
    for link in (INTERFACE, "eth0"):
        claims.merge(name, {"spec": {"link": link}})
        wait_until(partial(is_on, lab, ip, "n1", link), f"it to be on {link}")
        wait_until(partial(is_said, claims, name, link), "the claim to say so")
    claims.merge(name, {"spec": {"link": "eth7"}})
    wait_until(lambda: places(lab) == {}, "it to leave an interface that it may not be on")
    claims.wait_for(name, "Up", "False", "LinkMismatch")
    node.run(["ip", "link", "add", "eth7", "type", "veth", "peer", "name", "far7"])
    for end in ("far7", "eth7"):
        node.run(["ip", "link", "set", end, "up"])

    def on(link):
        return {one.ip for one in node.addresses(link) if one.proto == MARK}

    wait_until(lambda: on("eth7") == {ip}, "it to be on the new interface")
    for command in ("down", "name other7", "up"):
        target = "other7" if command == "up" else "eth7"
        node.run(["ip", "link", "set", target, *command.split()])
    wait_until(lambda: on("other7") == set(), "an interface that fits no more to be left")
    node.run(["ip", "link", "del", "other7"])


def test_a_service_chooses_the_interface_in_simple_mode(two_lans):
    """It is reached there, on the LAN of that interface."""
    lab, (ip, *_) = two_lans, SECOND
    link = {"annotations": {"ipcontroller.ext/link": "eth0"}}
    lab.add_service("web", [ip], namespace="web", metadata=link)
    extip = Extip(lab.nodes["n1"], "simple", "--iface=eth0,eth1", kubeconfig=lab.kubeconfig)
    try:
        wait_until(partial(is_on, lab, ip, "n1", "eth0"), "it to be on the interface named")
        patch = {"metadata": {"annotations": {"ipcontroller.ext/link": INTERFACE}}}
        path = "/api/v1/namespaces/web/services/web"
        lab.api.request("PATCH", path, patch, content_type=MERGE_PATCH)
        wait_until(partial(is_on, lab, ip, "n1", INTERFACE), "it to be on the other one")
        assert lab.wait_for_http(ip) in lab.nodes
    finally:
        extip.process.terminate()


def test_pool_and_service_choose_the_interface(two_lans):
    """Addresses of no node's subnet: their interface says where clients look for them."""
    lab = two_lans
    cluster = PooledCluster(lab, "web")
    cluster.install()
    cluster.controller_flags += ("--iface=eth0,eth1",)
    try:
        cluster.start()
        lab.apply(pool("dmz", "10.92.0.0/28", link=INTERFACE))
        lab.apply(pool("lan", "10.93.0.0/28", autoAssign=False))
        cluster.add("one", **LOAD_BALANCER)
        other = {"ipcontroller.ext/pool": "lan", "ipcontroller.ext/link": INTERFACE}
        cluster.add("two", **LOAD_BALANCER, metadata={"annotations": other}, port=81)
        wait_until(lambda: set(places(lab)) == {"10.92.0.1", "10.93.0.1"}, "both to be up")
        assert {link for on in places(lab).values() for _, link in on} == {INTERFACE}
        cluster.merge("two", {"metadata": {"annotations": {"ipcontroller.ext/link": None}}})
        wait_until(
            lambda: {link for _, link in places(lab).get("10.93.0.1", ())} == {"eth0"},
            "it to change",
        )
        assert {link for _, link in places(lab)["10.92.0.1"]} == {INTERFACE}
    finally:
        cluster.end()
        cluster.clean_up()
