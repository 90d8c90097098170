"""Services → the external IPs that they ask for."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Interface, IPv6Interface, ip_address
from types import MappingProxyType

from extip.api.core_v1 import AnyService
from extip.plan.link import IPAddress, IPInterface
from extip.plan.refusal import Refusal

_NOBODY: Mapping["Owner", Refusal] = MappingProxyType({})

_SHOWN = 64
"""Characters of something that is no address that are repeated to people."""

Ports = frozenset[tuple[str, int]]
"""Protocols and numbers."""


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Owner:
    """The object that wants an IP."""

    kind: str
    namespace: str
    name: str
    uid: str
    created: str = field(default="", compare=False)
    """RFC 3339 in UTC, to the second; empty where nobody asks."""
    ports: Ports = field(default=frozenset(), compare=False)
    """Its ports, where it shares an address with others that these must not clash with."""

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}" if self.namespace else self.name


@dataclass(frozen=True, slots=True, kw_only=True)
class Masks:
    """Prefix lengths that external IPs get on the interface."""

    v4: int
    v6: int

    def parse(self, text: str) -> IPInterface | None:
        """Return the IP that a service writes, with the prefix length of its family.

        None for anything else. Strict: no leading zeros, no prefix length, no IPv6 zone.
        """
        ip = parse_ip(text)
        if ip is None:
            return None
        if ip.version == 4:  # noqa: PLR2004
            return IPv4Interface((int(ip), self.v4))
        return IPv6Interface((int(ip), self.v6))


@dataclass(frozen=True, slots=True)
class Rejection:
    """One owner does not get one IP."""

    text: str
    """The IP, or what was written in its place."""
    owner: Owner
    refusal: Refusal


@dataclass(frozen=True, slots=True, kw_only=True)
class Requests:
    """What all owners together ask for."""

    wanted: Mapping[IPInterface, tuple[Owner, ...]] = field(default_factory=dict)
    """Each external IP with who asks for it, in order of their names."""
    malformed: Mapping[str, tuple[Owner, ...]] = field(default_factory=dict)
    """What is no IP address, as it was written, with who wrote it."""
    denied: tuple[Rejection, ...] = ()
    """What an owner may not have, whatever the IP is to the network."""
    established: frozenset[IPAddress] = frozenset()
    """IPs that a node of this cluster had up before: they are taken over, and not probed."""


def service_owner(service: AnyService) -> Owner:
    """Return the service as an owner of IPs."""
    meta = service.metadata
    return Owner(
        kind="Service",
        namespace=meta.namespace,
        name=meta.name,
        uid=meta.uid,
        created=meta.created,
    )


def _anything(_namespace: str, _ip: IPAddress) -> None:
    return None


def collect(
    asked: Iterable[tuple[Owner, Iterable[str]]],
    parse: Callable[[str], IPInterface | None],
    permit: Callable[[str, IPAddress], Refusal | None] = _anything,
    *,
    refused: Mapping[Owner, Refusal] = _NOBODY,
) -> Requests:
    """Bring together what each owner asks for; one malformed entry never hides the others.

    `permit` says why a namespace may not have an IP, or None when it may. Those that are `refused`
    get nothing.
    """
    wanted: dict[IPInterface, set[Owner]] = {}
    malformed: dict[str, set[Owner]] = {}
    denied: dict[Rejection, None] = {}
    for owner, texts in asked:
        for text in texts:
            interface = parse(text)
            if interface is None:
                malformed.setdefault(text, set()).add(owner)
            elif (
                refusal := refused.get(owner) or permit(owner.namespace, interface.ip)
            ) is not None:
                denied[Rejection(str(interface.ip), owner, refusal)] = None
            else:
                wanted.setdefault(interface, set()).add(owner)
    return Requests(
        wanted={interface: tuple(sorted(owners)) for interface, owners in wanted.items()},
        malformed={text: tuple(sorted(owners)) for text, owners in malformed.items()},
        denied=tuple(denied),
    )


def parse_ip(text: str) -> IPAddress | None:
    """Return the address that `text` writes, or None when it writes none."""
    if "%" in text:  # a zone names an interface of one host; it means nothing on another
        return None
    try:
        return ip_address(text)
    except ValueError:
        return None


def cut(text: str) -> str:
    """Return the text, cut where it is no longer a slip of the pen but a page."""
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 1]}…"
