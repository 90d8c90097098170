"""An isolated interface loses its own IPs alone, to nodes that are reached on the same LAN."""

from dataclasses import replace
from ipaddress import ip_address, ip_network

from extip.scheduling.policy.filters import KubernetesNode, Needs, NodeFacts, NodeLinkFacts
from extip.scheduling.policy.node_filters import NodeFilters
from extip.scheduling.policy.snapshot import Snapshot
from extip.uplink.policy.reachability import LinkId

LAN = NodeLinkFacts(up=True, subnets=(ip_network("10.0.0.0/24"),))
DMZ = NodeLinkFacts(up=True, subnets=(ip_network("10.1.0.0/24"),))
ON_LAN, ON_DMZ, ROUTED = (Needs(ip=ip_address(ip)) for ip in ("10.0.0.9", "10.1.0.9", "10.2.0.9"))


def node(name, **links):
    return NodeFacts(
        name=name, alive=True, link=next(iter(links)), links=links, kubernetes=KubernetesNode()
    )


N1 = node("n1", lan=LAN, dmz=DMZ)
N2 = node("n2", eth0=LAN, eth1=DMZ)
N3 = node("n3", lan=LAN)
ALL = frozenset({"n1", "n2", "n3"})
EVERYWHERE = {LinkId(one.name, link) for one in (N1, N2, N3) for link in one.links}


def eligible(needs, link, *, reached=EVERYWHERE, nodes=(N1, N2, N3), holder="n1"):
    """Return the nodes that may have an IP of n1, of which this interface is isolated."""
    isolated = replace(nodes[0], isolated=frozenset({link}))
    successors = {LinkId("n1", link): frozenset(reached)}
    cluster = Snapshot(nodes=(isolated, *nodes[1:]), successors=successors)
    return NodeFilters(cluster).eligible(needs, holder)


def test_the_ips_of_the_other_interface_stay():
    """And more of them may come."""
    assert eligible(ON_LAN, "dmz") == ALL
    assert eligible(ON_DMZ, "lan") == {"n1", "n2"}, "n3 is on no DMZ"
    assert eligible(ROUTED, "dmz") == ALL, "it is on the first one"


def test_its_own_ips_go_to_whom_is_reached_on_that_lan_whatever_the_interface_is_called():
    assert eligible(ON_DMZ, "dmz") == {"n2"}
    assert eligible(ON_LAN, "lan") == {"n2", "n3"}
    assert eligible(ROUTED, "lan") == {"n2", "n3"}


def test_to_be_reached_on_another_lan_proves_nothing():
    """The only other station of the DMZ has died: n1 goes on to serve it."""
    dead = replace(N2, alive=False)
    assert eligible(ON_DMZ, "dmz", nodes=(N1, dead, N3)) == {"n1"}
    others = EVERYWHERE - {LinkId("n2", "eth1")}
    assert eligible(ON_DMZ, "dmz", reached=others) == {"n1"}
    assert eligible(ON_LAN, "lan", reached={LinkId("n2", "eth1")}) == {"n1"}


def test_what_one_ip_may_do_says_nothing_of_an_ip_of_another_lan():
    """Filter results are kept, by the needs that make a difference."""
    both = replace(N1, isolated=frozenset({"lan", "dmz"}))
    successors = {LinkId("n1", "dmz"): frozenset(EVERYWHERE)}
    filters = NodeFilters(Snapshot(nodes=(both, N2), successors=successors))
    for _ in range(2):
        assert filters.eligible(ON_LAN, "n1") == {"n1"}
        assert filters.eligible(ON_DMZ, "n1") == {"n2"}


def test_where_no_subnets_are_known_the_first_interfaces_are_one_lan():
    """So it is with one interface by its name, and with older controllers."""
    plain = [node(name, eth0=NodeLinkFacts(up=True)) for name in ("n1", "n2", "n3")]
    reached = {LinkId("n2", "eth0")}
    assert eligible(ON_LAN, "eth0", reached=reached, nodes=plain) == {"n2"}


def test_a_node_without_the_lan_of_an_ip_does_not_rest_with_it():
    """It took the IP while no node of that LAN could; now one can."""
    filters = NodeFilters(Snapshot(nodes=(N1, N2, N3)))
    assert not filters.is_plain(ON_DMZ, "n3")
    assert filters.eligible(ON_DMZ, "n3") == {"n1", "n2"}
    for needs, holder in ((ON_DMZ, "n1"), (ON_LAN, "n3"), (ROUTED, "n3")):
        assert filters.is_plain(needs, holder)
