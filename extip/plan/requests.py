"""Services → the external IPs that they ask for."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address

from extip.api.core_v1 import Service
from extip.plan.link import IPAddress


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Owner:
    """The object that wants an IP."""

    kind: str
    namespace: str
    name: str
    uid: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}" if self.namespace else self.name


@dataclass(frozen=True, slots=True, kw_only=True)
class Requests:
    """What all owners together ask for."""

    wanted: Mapping[IPAddress, tuple[Owner, ...]] = field(default_factory=dict)
    """Each external IP with who asks for it, in order of their names."""
    malformed: Mapping[str, tuple[Owner, ...]] = field(default_factory=dict)
    """What is no IP address, as it was written, with who wrote it."""


def service_owner(service: Service) -> Owner:
    """Return the service as an owner of IPs."""
    meta = service.metadata
    return Owner(kind="Service", namespace=meta.namespace, name=meta.name, uid=meta.uid)


def collect(asked: Iterable[tuple[Owner, Iterable[str]]]) -> Requests:
    """Bring together what each owner asks for; one malformed entry never hides the others.

    Parsing is strict: no leading zeros, no prefix length, no IPv6 zone.
    """
    wanted: dict[IPAddress, set[Owner]] = {}
    malformed: dict[str, set[Owner]] = {}
    for owner, texts in asked:
        for text in texts:
            ip = parse_ip(text)
            if ip is None:
                malformed.setdefault(text, set()).add(owner)
            else:
                wanted.setdefault(ip, set()).add(owner)
    return Requests(
        wanted={ip: tuple(sorted(owners)) for ip, owners in wanted.items()},
        malformed={text: tuple(sorted(owners)) for text, owners in malformed.items()},
    )


def parse_ip(text: str) -> IPAddress | None:
    """Return the address that `text` writes, or None when it writes none."""
    if "%" in text:  # a zone names an interface of one host; it means nothing on another
        return None
    try:
        return ip_address(text)
    except ValueError:
        return None
