"""Facts of one machine → findings; each check is a function. Pure."""

from collections.abc import Callable, Iterator

from extip.doctor.policy.facts import ClusterFacts, NodeFacts
from extip.doctor.policy.finding import Finding, Severity

Check = Callable[[NodeFacts, ClusterFacts], Iterator[Finding]]

_V4 = 4
_NET_ADMIN, _NET_RAW = 12, 13
"""Bits of capabilities (linux/capability.h)."""

_OLDEST, _MARKS = (4, 18), (5, 18)
"""Linux versions: the oldest that is supported, and the first with ``IFA_PROTO``."""

_STRICT = 1
"""``rp_filter`` as in RFC 3704, strict: packets from where they would not be sent are dropped."""
_NOT_FOR_ALL = 8
"""``arp_ignore``: no ARP request for a local address is answered."""


def interface(node: NodeFacts, _: ClusterFacts) -> Iterator[Finding]:
    """Check that the interface is there, up, and leads to a segment."""
    link = node.link
    if link is None:
        yield _error(
            "interface",
            f"there is no interface {node.iface}",
            "the controller waits for it, and holds no IP meanwhile",
            f"give --iface one of {', '.join(node.links)}; `ip route get CLIENT` says which",
        )
    elif not link.carrier:
        yield _error(
            "interface",
            f"interface {link.name} is {'without carrier' if link.up else 'down'}",
            "the scheduler gives this node no IP",
            "look at the cable and the switch port" if link.up else f"`ip link set {link.name} up`",
        )
    elif not link.announces:
        yield Finding(
            check="interface",
            severity=Severity.NOTE,
            what=f"no ARP or NDP is spoken on {link.name}",
            why="nothing is probed, announced or watched there",
            do="have a routing daemon export the addresses, or choose another --iface",
        )


def subnet(node: NodeFacts, _: ClusterFacts) -> Iterator[Finding]:
    """Check that the IPs that are up belong to a network of the interface."""
    networks = {one.network for one in node.own}
    foreign = [str(ip) for ip in node.held if not any(ip in network for network in networks)]
    if foreign and networks and node.link is not None and node.link.announces:
        yield Finding(
            check="subnet",
            severity=Severity.NOTE,
            what=f"{', '.join(foreign[:3])} and the own addresses of {node.iface} are in different "
            "networks",
            why="clients reach them only when their router looks for them on this segment",
            do="see that the router has a route to this segment for them, or change the pool",
        )


def neighbours(node: NodeFacts, _: ClusterFacts) -> Iterator[Finding]:
    """Check that some station answers on the segment, where the node speaks IPv4 there."""
    speaks = node.link is not None and node.link.carrier and node.link.announces
    if speaks and not node.neighbours and any(one.version == _V4 for one in node.own):
        yield Finding(
            check="neighbours",
            severity=Severity.WARNING,
            what=f"the kernel knows no other station on {node.iface}",
            why="the port may be in a wrong VLAN: clients would not reach IPs here",
            do="ping another node over this interface, and look again",
        )


def capabilities(node: NodeFacts, _: ClusterFacts) -> Iterator[Finding]:
    """Check that this process may change addresses, and send frames."""
    names = {_NET_ADMIN: "CAP_NET_ADMIN", _NET_RAW: "CAP_NET_RAW"}
    missing = [name for bit, name in names.items() if not node.capabilities >> bit & 1]
    if missing:
        yield _error(
            "capabilities",
            f"this process lacks {' and '.join(missing)}",
            "a controller that is run so ends at once with exit code 4",
            "run it as root, or give the container these capabilities",
        )


def kernel(node: NodeFacts, _: ClusterFacts) -> Iterator[Finding]:
    """Check that the kernel has what extip needs."""
    version = ".".join(map(str, node.kernel))
    if node.kernel < _OLDEST:
        yield _error("kernel", f"Linux {version} is too old", "nobody has tried it", "use 4.18")
    elif node.kernel < _MARKS:
        yield Finding(
            check="kernel",
            severity=Severity.NOTE,
            what=f"Linux {version} marks addresses by their metric, not by IFA_PROTO",
            why="the mark is less certain (docs/guarantees.md)",
            do="nothing, or use Linux 5.18",
        )


def arp_settings(node: NodeFacts, _: ClusterFacts) -> Iterator[Finding]:
    """Check that the kernel answers ARP for IPs on this interface, and on this alone."""
    ignore = node.settings.get("arp_ignore", 0)
    if ignore >= _NOT_FOR_ALL:
        yield _error(
            "arp_ignore",
            f"arp_ignore is {ignore} on {node.iface}",
            "the kernel answers no ARP request: nobody finds an IP here",
            f"sysctl net.ipv4.conf.{node.iface}.arp_ignore=1 (and `all` no greater)",
        )
    if node.ipvs and ignore == 0:
        yield _error(
            "arp_ignore",
            "kube-proxy runs in ipvs mode here, and arp_ignore is 0",
            "the kernel answers ARP for every external IP, on every node",
            "have kube-proxy set it: strictARP: true, or --ipvs-strict-arp",
        )
    twins = _same_network(node)
    if twins and ignore == 0:
        yield Finding(
            check="arp_ignore",
            severity=Severity.WARNING,
            what=f"{node.iface} and {', '.join(twins)} are in one network, and arp_ignore is 0",
            why="each of them answers ARP for all addresses: an IP has several MACs",
            do=f"sysctl net.ipv4.conf.{node.iface}.arp_ignore=1, and that of the others",
        )
    if twins and node.settings.get("arp_announce", 0) == 0:
        yield Finding(
            check="arp_announce",
            severity=Severity.WARNING,
            what=f"{node.iface} and {', '.join(twins)} are in one network, and arp_announce is 0",
            why="ARP requests of one may have the address of the other as their source",
            do=f"sysctl net.ipv4.conf.{node.iface}.arp_announce=2, and that of the others",
        )


def return_path(node: NodeFacts, _: ClusterFacts) -> Iterator[Finding]:
    """Check that requests are not dropped because their answers leave by another interface."""
    away = sorted(node.way_out - {node.iface})
    if node.settings.get("rp_filter", 0) == _STRICT and away and node.iface not in node.way_out:
        yield Finding(
            check="rp_filter",
            severity=Severity.WARNING,
            what=f"rp_filter is strict on {node.iface}, and the default route is by {away[0]}",
            why="requests from other networks that come in here are dropped",
            do=f"sysctl net.ipv4.conf.{node.iface}.rp_filter=2, or a rule and table for its way "
            "back",
        )


def source_address(node: NodeFacts, _: ClusterFacts) -> Iterator[Finding]:
    """Check that the node itself does not send from an external IP."""
    wrong = [(to, source) for to, source in node.sources.items() if source in node.held]
    for to, source in wrong[:1]:
        more = f", and to {len(wrong) - 1} more," if wrong[1:] else ""
        yield Finding(
            check="source address",
            severity=Severity.WARNING,
            what=f"this node sends to {to}{more} from {source}, an external IP",
            why="answers go where the IP is: connections of the node break when it moves",
            do=f"see `ip route get {to}`: give the route a `src`, or the interface an address of "
            "the node's own in that network",
        )


def hostname(node: NodeFacts, cluster: ClusterFacts) -> Iterator[Finding]:
    """Check that a controller here would have the name of a Kubernetes node."""
    if cluster.nodes and node.hostname not in cluster.nodes:
        yield Finding(
            check="hostname",
            severity=Severity.WARNING,
            what=f"{node.hostname} is no Kubernetes node",
            why="cordons, readiness and labels of the node do not count for its IPs",
            do="give the controller --hostname with the name in `kubectl get nodes`",
        )


def owners(node: NodeFacts, cluster: ClusterFacts) -> Iterator[Finding]:
    """Check that no other station answers for IPs that are up here."""
    names = {
        link.mac: one.metadata.name for one in cluster.ip_nodes for link in one.status.links or ()
    }
    for ip, macs in node.owners.items():
        who = " and ".join(f"node {names[mac]}" if mac in names else mac for mac in macs)
        yield _error(
            "owners",
            f"{ip} is up here, and {who} answers for it, too",
            "clients reach one or the other",
            "`extip status IP` says who should have it; take it from the other station",
        )
    if node.unasked and node.held:
        yield Finding(
            check="owners",
            severity=Severity.NOTE,
            what=f"nobody was asked who else has the IPs of this node: {node.unasked}",
            why="an IP with two owners would not be found",
            do="run it with CAP_NET_RAW",
        )


CHECKS: tuple[Check, ...] = (
    interface,
    subnet,
    neighbours,
    capabilities,
    kernel,
    arp_settings,
    return_path,
    source_address,
    hostname,
    owners,
)


def _same_network(node: NodeFacts) -> list[str]:
    """Return other interfaces with an IPv4 address in a network of this one."""
    own = {one.network for one in node.own if one.version == _V4}
    return [
        name
        for name, addresses in sorted(node.elsewhere.items())
        if any(one.network in own for one in addresses)
    ]


def _error(check: str, what: str, why: str, do: str) -> Finding:
    return Finding(check=check, severity=Severity.ERROR, what=what, why=why, do=do)
