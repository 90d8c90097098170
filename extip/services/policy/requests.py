"""Requests: the external IPs that owners (services or IpClaims) ask for. Pure."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from extip.api.core_v1 import AnyService
from extip.net.interfaces import IPAddress, IPInterface, compact, ip_address_of
from extip.printable import printable
from extip.services.policy.refusal import Refusal

_NOBODY: Mapping["Owner", Refusal] = MappingProxyType({})

_SHOWN = 64
"""Characters of a malformed address that messages repeat."""

Ports = frozenset[tuple[str, int]]
"""Ports as pairs of protocol and number."""


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Owner:
    """The object that wants an IP."""

    kind: str
    namespace: str
    name: str
    uid: str
    created: str = field(default="", compare=False)
    """RFC 3339 in UTC, to the second; empty where the age does not matter."""
    ports: Ports = field(default=frozenset(), compare=False)
    """Its ports. Owners that share an IP must have different ones."""

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}" if self.namespace else self.name


Request = tuple[IPInterface, tuple[Owner, ...]]
"""An IP with its owners, in the order of their names."""

_FULL_V4, _FULL_V6 = 32, 128


@dataclass(frozen=True, slots=True, kw_only=True)
class Masks:
    """Prefix lengths that external IPs get on the interface."""

    v4: int = _FULL_V4
    v6: int = _FULL_V6
    explicit: frozenset[int] = frozenset()
    """The IP versions whose length a person said: it counts more than a default elsewhere."""

    @classmethod
    def from_flags(cls, *, v4: int | None, v6: int | None) -> "Masks":
        """Return the lengths that a person said, and defaults for None."""
        said = {4: v4, 6: v6}
        return cls(
            v4=_FULL_V4 if v4 is None else v4,
            v6=_FULL_V6 if v6 is None else v6,
            explicit=frozenset(version for version, length in said.items() if length is not None),
        )

    def parse(self, text: str) -> IPInterface | None:
        """Return the IP that `text` writes, with the prefix length of its family.

        Return None for any other text: leading zeros, a prefix length and an IPv6 zone are errors.
        """
        ip = parse_ip(text)
        if ip is None:
            return None
        return self.of(ip)

    def of(self, ip: IPAddress) -> IPInterface:
        """Return the IP with the prefix length of its family."""
        return compact(ip, self.v4 if ip.version == 4 else self.v6)  # noqa: PLR2004


@dataclass(frozen=True, slots=True)
class Rejection:
    """One owner does not get one IP."""

    text: str
    """The IP, or the malformed text."""
    owner: Owner
    refusal: Refusal


@dataclass(frozen=True, slots=True, kw_only=True)
class Requests:
    """The requests of all owners."""

    wanted: Mapping[IPInterface, tuple[Owner, ...]] = field(default_factory=dict)
    """The owners of each external IP, in the order of their names."""
    malformed: Mapping[str, tuple[Owner, ...]] = field(default_factory=dict)
    """The owners of each malformed text."""
    denied: tuple[Rejection, ...] = ()
    """Requests that an owner may not make."""
    established: frozenset[IPAddress] = frozenset()
    """IPs that a node of this cluster had up before. They are taken over without a probe."""
    links: Mapping[IPAddress, str] = field(default_factory=dict)
    """The interfaces that owners name. Other IPs may be on any."""


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
    """Combine the requests of all owners. A malformed entry never hides another entry.

    `permit` returns the reason for which a namespace may not have an IP, or None. An owner in
    `refused` gets no IP at all.
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
    if "%" in text:  # a zone names an interface of one host, and has no meaning on another
        return None
    try:
        return ip_address_of(text)
    except ValueError:
        return None


def cut(text: str) -> str:
    """Return the text as it may be shown, shortened to a length that fits into a message."""
    return printable(text if len(text) <= _SHOWN else f"{text[: _SHOWN - 1]}…")
