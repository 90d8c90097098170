"""The nodes that an IP may go to from an interface that is isolated. Pure."""

from collections.abc import Iterable, Mapping

from extip.net.interfaces import IPAddress
from extip.scheduling.policy.filters import Needs, NodeFacts, link_for
from extip.uplink.policy.reachability import LinkId


def reached_nodes(
    nodes: Iterable[str],
    needs: Needs,
    holder: NodeFacts,
    facts: Mapping[str, NodeFacts],
    successors: Mapping[LinkId, frozenset[LinkId]],
) -> frozenset[str]:
    """Return those of the nodes that are reached where the holder is not.

    Of each node the interface counts that the IP would be on. Where the holder has the IP's subnet,
    it has to have it, too. Else it may be on another LAN. To be reached there says nothing of this
    one, whose only other station may have died.
    """
    link = link_for(holder, needs)
    reached = successors.get(LinkId(holder.name, link), frozenset())
    local = _has_subnet(holder, link, needs.ip)
    found = ((facts[name], link_for(facts[name], needs)) for name in nodes)
    return frozenset(
        node.name
        for node, on in found
        if LinkId(node.name, on) in reached and (not local or _has_subnet(node, on, needs.ip))
    )


def _has_subnet(node: NodeFacts, link: str, ip: IPAddress) -> bool:
    facts = node.links.get(link)
    return facts is not None and any(ip in subnet for subnet in facts.subnets)
