"""The report of a controller: the interfaces of its node, and whether it can hold claims. Pure."""

import re
from collections.abc import Iterable, Mapping, Sequence

from extip.api.conditions import with_condition
from extip.api.ipcontroller_v1 import (
    LINK_READY,
    MAX_GATEWAYS,
    MAX_HELD,
    MAX_REFUSED,
    MAX_SILENT,
    IpNode,
    IpNodeStatus,
)
from extip.api.meta_v1 import Condition
from extip.api.node_link import TAKES_ANY, TAKES_SUBNETS, NodeLink
from extip.net.interfaces import IPVS_LINK, Gateways, IPAddress, IPInterface, Link, ObservedAddress
from extip.net.link_selection import LinkSelection

_MAC = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2})+")

MAX_LINKS = 16
"""Interfaces in a report. A node that runs pods has hundreds, and they come and go."""


def node_links(
    links: Iterable[Link], observed: Sequence[ObservedAddress], *, selection: LinkSelection
) -> tuple[NodeLink, ...]:
    """Return the interfaces to report: the selected ones first, then others.

    The only one is reported also when it is missing. Where none of several is there, one stands for
    them that is down. The addresses are the node's own: no external IPs, and no link-local ones.
    """
    known = {link.name: link for link in links}
    takes = _takes(known, observed, selection)
    others = (
        link.name
        for link in sorted(known.values(), key=_index)
        if link.name not in (*takes, IPVS_LINK)
        and link.name.isprintable()  # the kernel takes any bytes; an object has only UTF-8
        and link.announces
        and _addresses(link, observed)
    )
    names = [*takes, *others]
    found = ((name, known.get(name)) for name in names[:MAX_LINKS])
    return tuple(
        NodeLink(name=name, takes=takes.get(name, ""))
        if link is None
        else NodeLink(
            name=name,
            mac=link.mac.hex(":") if any(link.mac) else "",
            addresses=_addresses(link, observed),
            up=link.carrier,
            takes=takes.get(name, ""),
        )
        for name, link in found
    )


def node_gateways(found: Gateways, *, nodes: frozenset[IPAddress]) -> tuple[str, ...] | None:
    """Return the gateways to report, in order.

    Link-local gateways are left out, since the guard refuses them anyway. Nodes with a controller
    are left out, too: a pod network may have a route by way of each node. Nodes without one cannot
    be told from routers, so those of default routes come first: a node that asks a few gateways
    whether it is isolated asks those.
    """
    foreign = (ip for ip in found.every if ip not in nodes and not ip.is_link_local)
    told = sorted(foreign, key=_numeric)
    told.sort(key=found.of_default_routes.__contains__, reverse=True)  # stable
    return tuple(str(ip) for ip in told[:MAX_GATEWAYS]) or None


def macs(nodes: Iterable[IpNode]) -> frozenset[bytes]:
    """Return the MACs of all reported interfaces."""
    told = (link.mac for node in nodes for link in node.status.links or ())
    return frozenset(bytes.fromhex(mac.replace(":", "")) for mac in told if _MAC.fullmatch(mac))


def node_status(  # noqa: PLR0913 - all that a status says
    before: IpNodeStatus,
    links: tuple[NodeLink, ...],
    *,
    gateways: tuple[str, ...] | None = None,
    isolated: frozenset[str] = frozenset(),
    held: tuple[str, ...] = (),
    silent: tuple[str, ...] = (),
    refused: tuple[str, ...] = (),
    version: str,
    claims: int,
    now: str,
) -> IpNodeStatus:
    """Return the status that the node should get; equal to `before` when it has it already.

    `isolated` are the interfaces on which no other station answers. `now` is RFC 3339 in UTC.
    """
    selected = [link for link in links if link.takes] or links[:1]
    usable = [link for link in selected if link.up and link.name not in isolated]
    names = ", ".join(link.name for link in usable or selected)
    nowhere = ", ".join(link.name for link in selected if link.up and link.name in isolated)
    unheard = f"no other station answers on {nowhere}"
    status, reason, message = "False", "Isolated", unheard
    if usable:
        status, reason, message = "True", "LinkUp", f"on {names}"
        message += f"; {unheard}" if nowhere else ""
    elif not any(link.up for link in selected):
        reason, message = "LinkMissing", f"interface {names} does not exist, or is down"
        if any(link.mac or link.addresses for link in selected):
            reason, message = "NoCarrier", f"interface {names} has no carrier"
    ready = Condition(type=LINK_READY, status=status, reason=reason, message=message)
    return IpNodeStatus(
        links=links,
        version=version,
        claims=claims,
        gateways=gateways,
        held=held[:MAX_HELD] or None,
        silent=silent[:MAX_SILENT] or None,
        refused=refused[:MAX_REFUSED] or None,
        failed_over=before.failed_over,  # it is the scheduler's
        conditions=with_condition(before.conditions, ready, now=now),
    )


def _takes(
    known: Mapping[str, Link], observed: Sequence[ObservedAddress], selection: LinkSelection
) -> dict[str, str]:
    """Return what each selected interface takes; nothing of the only one, which takes any."""
    if selection.only:
        return {selection.only: ""}
    fitting = selection.fitting(known.values(), observed)
    takes = {one.name: TAKES_SUBNETS if one.by_subnet else TAKES_ANY for one in fitting}
    return takes or {selection.primary: TAKES_ANY}


def _index(link: Link) -> int:
    return link.index


def _order(interface: IPInterface) -> tuple[int, int]:
    return _numeric(interface.ip)


def _numeric(ip: IPAddress) -> tuple[int, int]:
    return ip.version, int(ip)


def _addresses(link: Link, observed: Sequence[ObservedAddress]) -> tuple[str, ...] | None:
    own = (
        address.interface
        for address in observed
        if address.link_index == link.index
        and not address.ours
        and not address.interface.ip.is_link_local
    )
    in_order = sorted(own, key=_order)
    return tuple(str(interface) for interface in in_order) or None
