"""The value of --iface: which interfaces may have IPs, and which of them has a given IP. Pure.

Controllers and schedulers decide with the same functions, so that a claim goes to a node whose
controller can put its IP somewhere.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from ipaddress import IPv4Network, IPv6Network
from typing import NamedTuple

from extip.net.interfaces import IPVS_LINK, IPAddress, Link, ObservedAddress

AUTO = "auto"
"""Stands for every interface, each with the IPs of its own subnets alone."""

_LONGEST = 15
"""Longest name of an interface, in bytes, without the terminating NUL (``IFNAMSIZ``)."""

_FORBIDDEN = frozenset("/:")
_GLOB = frozenset("*?[")


class Fitting(NamedTuple):
    """An interface that may have IPs."""

    name: str
    by_subnet: bool
    """It has the IPs of its own subnets alone."""
    subnets: tuple[IPv4Network | IPv6Network, ...] = ()
    """The subnets of the node's own addresses there."""


@dataclass(frozen=True, slots=True)
class LinkSelection:
    """Interfaces by name, by pattern, or by their subnets; the first ones are preferred."""

    patterns: tuple[str, ...]

    @classmethod
    def parse(cls, text: str) -> "LinkSelection":
        """Return the selection that `text` writes: names, patterns and `auto`, with commas.

        Raises ValueError with a text for a person.
        """
        patterns = tuple(dict.fromkeys(part.strip() for part in text.split(",")))
        for pattern in patterns:
            if not is_link_name(pattern):
                raise ValueError(f"{pattern!r} cannot be the name of an interface")
        return cls(patterns)

    def __str__(self) -> str:
        return ",".join(self.patterns)

    @property
    def only(self) -> str:
        """The name of the one interface that is selected; empty where there may be several."""
        first = self.patterns[0]
        return first if len(self.patterns) == 1 and _is_name(first) else ""

    @property
    def primary(self) -> str:
        """A name for the selection where it selects no interface of the node."""
        return str(self)[:_LONGEST]

    def allows(self, name: str) -> bool:
        """Return whether an interface of that name may be selected; an empty name is no wish."""
        return not name or any(_matches(p, name) or p == AUTO for p in self.patterns)

    def concerns(self, link: Link) -> bool:
        """Return whether a change of this interface alone may change the selection.

        Under `auto` an interface counts by its addresses, which are a change of their own.
        """
        return any(_matches(pattern, link.name) for pattern in self.patterns)

    def fitting(
        self, links: Iterable[Link], observed: Iterable[ObservedAddress]
    ) -> tuple[Fitting, ...]:
        """Return the interfaces that are selected, in the order of the patterns, then by index.

        A pattern leaves out interfaces on which neighbours resolve no addresses, such as `lo`: only
        a name selects those. One with a name that nobody can write is never selected.
        """
        in_order = sorted((link for link in links if link.name.isprintable()), key=_index)
        subnets = own_subnets(observed)
        found: dict[str, Fitting] = {}
        for pattern in self.patterns:
            for link in in_order:
                own = subnets.get(link.index, ())
                if pattern == AUTO:
                    fits = link.announces and link.name != IPVS_LINK and bool(own)
                else:
                    fits = _matches(pattern, link.name) and (link.announces or _is_name(pattern))
                if fits:
                    found.setdefault(link.name, Fitting(link.name, pattern == AUTO, own))
        return tuple(found.values())


def is_link_name(text: str) -> bool:
    """Return whether the kernel would take the text for the name of an interface.

    It would take some with control characters, too, which nobody could read, and bytes that are no
    UTF-8, which no object of Kubernetes can have. In `eth0:1` the part behind the colon is a label
    of an address.
    """
    if text in (".", "..") or not _FORBIDDEN.isdisjoint(text) or any(c.isspace() for c in text):
        return False
    return text.isprintable() and 0 < len(text.encode()) <= _LONGEST


def choose_link(ip: IPAddress, wish: str, among: Sequence[Fitting]) -> str:
    """Return the name of the interface that an IP belongs on; empty for none.

    A `wish` counts first. Then comes the longest subnet that contains the IP, then the first
    interface that is not bound to its subnets. Carrier does not count: an IP does not follow it to
    another segment.
    """
    if wish:
        return wish if any(one.name == wish for one in among) else ""
    within = [
        (subnet.prefixlen, -place, one.name)
        for place, one in enumerate(among)
        for subnet in one.subnets
        if ip in subnet
    ]
    if within:
        return max(within)[2]
    return next((one.name for one in among if not one.by_subnet), "")


def own_subnets(
    observed: Iterable[ObservedAddress],
) -> Mapping[int, tuple[IPv4Network | IPv6Network, ...]]:
    """Return the subnets of the node's own addresses, by the index of the interface.

    Single hosts and link-local networks are no subnets.
    """
    found: dict[int, dict[IPv4Network | IPv6Network, None]] = {}
    for address in observed:
        network = address.interface.network
        whole = network.prefixlen < network.max_prefixlen and address.peer is None
        if whole and not (address.ours or network.is_link_local):
            found.setdefault(address.link_index, {})[network] = None
    return {index: tuple(sorted(subnets, key=str)) for index, subnets in found.items()}


def _is_name(pattern: str) -> bool:
    return pattern != AUTO and _GLOB.isdisjoint(pattern)


def _matches(pattern: str, name: str) -> bool:
    return pattern != AUTO and fnmatchcase(name, pattern)


def _index(link: Link) -> int:
    return link.index
