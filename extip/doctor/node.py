"""Gathers the facts of this machine; needs no capability, and tells where one would help."""

import asyncio
import os
from collections.abc import Iterable, Sequence
from functools import partial
from ipaddress import ip_address
from pathlib import Path

from extip.clock import Clock
from extip.doctor.policy.facts import NodeFacts
from extip.errors import PermissionDeniedError
from extip.net.interfaces import IPVS_LINK, IPAddress, IPInterface, Link, ObservedAddress
from extip.net.link_selection import LinkSelection
from extip.net.neighbour_events import FrameKind
from extip.net.probe_socket import ProbeSocket
from extip.net.routes import RouteTable
from extip.net.rtnetlink import AddressSocket
from extip.net.source_address import source_of

_SETTINGS = ("arp_ignore", "arp_announce", "rp_filter")
_FAR_AWAY = (ip_address("192.0.2.1"), ip_address("2001:db8::1"))
"""Addresses for documentation (RFC 5737, RFC 3849): packets there take the default route."""
_ANSWER_S = 1.0
"""Stations answer within milliseconds; a busy one may take longer."""
_PACE_S = 0.002
"""Between two questions: what asks for thousands of IPs is no storm."""
_COMPLETE = 0x2
"""``ATF_COM`` of /proc/net/arp: the MAC is known."""


async def read_node(
    selection: LinkSelection, hostname: str, *, peers: Iterable[IPAddress] = (), clock: Clock
) -> list[NodeFacts]:
    """Read all that node checks look at, for each selected interface. Raises LinkError.

    Asks on the segment who else has the IPs: once for each, by ARP or NDP. Changes nothing. Where
    no interface is selected, the facts say that there is none. `peers` are other nodes.
    """
    async with AddressSocket(clock=clock) as table, RouteTable(clock=clock) as routes:
        links = await routes.links()
        addresses = await table.dump()
        gateways = (await routes.gateways()).every
    names = selected_names(selection, links, addresses)
    read = partial(_read_link, hostname=hostname, links=links, addresses=addresses, clock=clock)
    others = [*sorted(gateways, key=str), *peers, *_FAR_AWAY]
    return [await read(name, destinations=others) for name in names]


def selected_names(
    selection: LinkSelection, links: Sequence[Link], addresses: Sequence[ObservedAddress]
) -> list[str]:
    """Return the selected interfaces; those of `auto` only when they have external IPs.

    Where there is none, it is the selection itself, as a name that no interface has. Many networks
    of a node are nobody's to reach: those of its pods, for one.
    """
    in_use = {one.link_index for one in addresses if one.ours}
    holding = {link.name for link in links if link.index in in_use}
    fitting = selection.fitting(links, addresses)
    names = [one.name for one in fitting if not one.by_subnet or one.name in holding]
    return names or [one.name for one in fitting] or [str(selection)]


async def _read_link(
    iface: str,
    *,
    hostname: str,
    links: Sequence[Link],
    addresses: Sequence[ObservedAddress],
    destinations: Sequence[IPAddress],
    clock: Clock,
) -> NodeFacts:
    link = next((one for one in links if one.name == iface), None)
    here = [one for one in addresses if link is not None and one.link_index == link.index]
    held = tuple(one.interface.ip for one in here if one.ours)
    owners: dict[IPAddress, tuple[str, ...]] = {}
    unasked = ""
    if link is not None and link.carrier and link.announces and held:
        try:
            owners = await _ask(link, held, own={one.mac for one in links}, clock=clock)
        except PermissionDeniedError as error:
            unasked = str(error)
    return NodeFacts(
        iface=iface,
        hostname=hostname,
        links=tuple(one.name for one in links),
        link=link,
        own=tuple(one.interface for one in here if not one.ours),
        held=held,
        elsewhere=_elsewhere(links, addresses, iface),
        capabilities=_capabilities(),
        kernel=_kernel(),
        settings={name: _setting(name, iface) for name in _SETTINGS},
        ipvs=any(one.name == IPVS_LINK for one in links),
        way_out=_default_links(),
        sources=_sources(destinations),
        neighbours=_neighbours(iface),
        owners=owners,
        unasked=unasked,
    )


async def _ask(
    link: Link, ips: Sequence[IPAddress], *, own: set[bytes], clock: Clock
) -> dict[IPAddress, tuple[str, ...]]:
    """Return the MACs of other stations that answered. Raises PermissionDeniedError."""
    wire = ProbeSocket()
    arrived = asyncio.Event()
    found: dict[IPAddress, set[bytes]] = {}
    try:
        wire.open(link, arrived.set)
        for ip in ips:
            wire.probe(ip)
            await clock.sleep(_PACE_S)
            _note(wire, found)
        await clock.sleep(_ANSWER_S)
        _note(wire, found)
    finally:
        wire.close()
    others = {ip: found.get(ip, set()) - own for ip in ips}
    return {ip: tuple(sorted(mac.hex(":") for mac in macs)) for ip, macs in others.items() if macs}


def _note(wire: ProbeSocket, found: dict[IPAddress, set[bytes]]) -> None:
    for event in wire.read()[0]:
        if event.kind is FrameKind.ANNOUNCEMENT:
            found.setdefault(event.ip, set()).add(event.mac)


def _elsewhere(
    links: Sequence[Link], addresses: Sequence[ObservedAddress], iface: str
) -> dict[str, tuple[IPInterface, ...]]:
    found: dict[str, tuple[IPInterface, ...]] = {}
    for link in links:
        on_it = tuple(one.interface for one in addresses if one.link_index == link.index)
        if link.name not in (iface, IPVS_LINK) and link.announces and on_it:
            found[link.name] = on_it
    return found


def _capabilities() -> int:
    for line in Path("/proc/self/status").read_text(encoding="utf-8").splitlines():
        name, _, value = line.partition(":")
        if name == "CapEff":
            return int(value, 16)
    return 0


def _kernel() -> tuple[int, int]:
    major, minor, *_ = os.uname().release.split(".")
    return int(major), int("".join(char for char in minor if char.isdigit()) or 0)


def _setting(name: str, iface: str) -> int:
    """Return the greater value of `all` and the interface, which counts; 0 when unreadable."""
    values = [0]
    for where in ("all", iface):
        try:
            values.append(int(Path(f"/proc/sys/net/ipv4/conf/{where}/{name}").read_text()))
        except (OSError, ValueError):
            continue
    return max(values)


def _default_links() -> frozenset[str]:
    """Return the interfaces of IPv4 default routes in the main table."""
    try:
        lines = Path("/proc/net/route").read_text(encoding="utf-8").splitlines()[1:]
    except OSError:
        return frozenset()
    rows = [line.split() for line in lines]
    return frozenset(row[0] for row in rows if row[1] == row[7] == "00000000")


def _sources(destinations: Iterable[IPAddress]) -> dict[IPAddress, IPAddress]:
    found = ((to, source_of(to)) for to in destinations)
    return {to: source for to, source in found if source is not None}


def _neighbours(iface: str) -> int:
    try:
        lines = Path("/proc/net/arp").read_text(encoding="utf-8").splitlines()[1:]
    except OSError:
        return 0
    rows = [line.split() for line in lines]
    return sum(row[-1] == iface and bool(int(row[2], 16) & _COMPLETE) for row in rows)
