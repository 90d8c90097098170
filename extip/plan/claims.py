"""Wanted IPs x existing claims → which claims to create, change and delete.

There is one claim for each IP. It names the services that want the IP, so that an IP that several
share stays until the last of them drops it, also when that happened while no scheduler ran. Claims
that the scheduler did not make are never changed or deleted; where one holds a wanted IP, it is
the one claim of that IP.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import AddressValueError, IPv4Interface, IPv6Interface, NetmaskValueError
from types import MappingProxyType

from extip.api.crds import MAX_SERVICES
from extip.api.ipcontroller_v1 import IpClaim, IpClaimSpec, ServiceReference
from extip.api.meta_v1 import NO_FIELD_OWNERS, FullObjectMeta
from extip.api.names import (
    MANAGED_BY,
    MANAGED_BY_LABEL,
    NODE_LABEL,
    PLACEMENT_ANNOTATION,
    PLACEMENT_AUTOMATIC,
    POOL_LABEL,
    PORTS_ANNOTATION,
    PREVIOUS_NODE_LABEL,
    label_value,
)
from extip.plan.link import IPAddress, IPInterface
from extip.plan.requests import Owner

_NO_POOLS: Mapping[IPInterface, str] = MappingProxyType({})

_MAX_PORTS_TEXT = 1 << 16
"""Characters; all annotations of an object together may have four times as many."""

_IPV4_PARTS = 4
_IPV6_PARTS = 8
_GROUP_BITS = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Create:
    """Make a claim; where it goes is placement's part of the same write."""

    interface: IPInterface
    services: tuple[ServiceReference, ...]
    replaces: str = ""
    """Name of the claim of the same IP with another prefix length that it takes over from: its
    node is the place to choose, and once this one exists, another plan deletes it."""
    pool: str = ""
    """The pool that the IP was allocated from; empty when services wrote it themselves."""
    ports: str = ""
    """Which service has which port, as `PORTS_ANNOTATION` says it."""


@dataclass(frozen=True, slots=True)
class SetServices:
    """Other services want the IP than the claim says, at other ports, or of another pool."""

    claim: IpClaim
    services: tuple[ServiceReference, ...]
    pool: str = ""
    ports: str = ""


@dataclass(frozen=True, slots=True)
class Delete:
    """Nothing wants the claim."""

    claim: IpClaim


Action = Create | SetServices | Delete


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimIndex:
    """Existing claims by the IP that they are for."""

    by_ip: Mapping[IPAddress, tuple[IpClaim, ...]]
    malformed: tuple[IpClaim, ...]
    """Claims whose `spec.cidr` is none: in nobody's way, and left alone whoever made them."""


def claim_name(interface: IPInterface) -> str:
    """Return the name of the claim of an IP: ``10-10-0-2-24``, ``fd00-0-0-0-0-0-0-1-128``.

    IPv6 has all its eight groups, each without leading zeros: a name must be unique, and may not
    hold the colons of the short form.
    """
    ip = interface.ip
    parts = ip.exploded.split(".") if ip.version == 4 else _groups(int(ip))  # noqa: PLR2004
    return "-".join((*parts, str(interface.network.prefixlen)))


def parse_claim_name(name: str) -> IPInterface | None:
    """Return the IP that `claim_name` made that name of, or None for any other name."""
    *parts, prefix = name.split("-")
    try:
        if len(parts) == _IPV4_PARTS:
            interface: IPInterface = IPv4Interface(f"{'.'.join(parts)}/{prefix}")
        elif len(parts) == _IPV6_PARTS:
            interface = IPv6Interface(f"{':'.join(parts)}/{prefix}")
        else:
            return None
    except (AddressValueError, NetmaskValueError):
        return None
    return interface if claim_name(interface) == name else None


# Each claim is read in each pass, and says the same in all of them.
@lru_cache(maxsize=2**16)  # type: ignore[misc]  # its own type has Any
def parse_cidr(text: str) -> IPInterface | None:
    """Return what `spec.cidr` writes, or None when that is no address with a prefix length."""
    address, slash, prefix = text.partition("/")
    if not slash or not prefix.isascii() or not prefix.isdecimal() or "%" in address:
        return None
    try:
        return IPv6Interface(text) if ":" in address else IPv4Interface(text)
    except (AddressValueError, NetmaskValueError):
        return None


def index_claims(claims: Iterable[IpClaim]) -> ClaimIndex:
    """Sort claims by their IP; those that cannot be read are set apart."""
    by_ip: dict[IPAddress, list[IpClaim]] = {}
    malformed: list[IpClaim] = []
    for claim in claims:
        interface = parse_cidr(claim.spec.cidr)
        if interface is None:
            malformed.append(claim)
        else:
            by_ip.setdefault(interface.ip, []).append(claim)
    return ClaimIndex(
        by_ip={ip: tuple(sorted(found, key=_name)) for ip, found in by_ip.items()},
        malformed=tuple(sorted(malformed, key=_name)),
    )


def plan_claims(
    wanted: Mapping[IPInterface, tuple[Owner, ...]],
    index: ClaimIndex,
    pools: Mapping[IPInterface, str] = _NO_POOLS,
) -> tuple[Action, ...]:
    """Plan for every IP at once, in order of IPs; see `plan_claim`.

    The first two must be complete: what is missing from `wanted` is deleted. `pools` has the names
    of the pools that wanted IPs were allocated from.
    """
    by_ip = {interface.ip: interface for interface in wanted}
    actions: list[Action] = []
    for ip in sorted(by_ip.keys() | index.by_ip.keys(), key=_numeric):
        interface = by_ip.get(ip)
        owners = () if interface is None else wanted[interface]
        pool = "" if interface is None else pools.get(interface, "")
        actions += plan_claim(interface, owners, index.by_ip.get(ip, ()), pool=pool)
    return tuple(actions)


def plan_claim(
    interface: IPInterface | None,
    owners: Sequence[Owner],
    existing: Sequence[IpClaim],
    *,
    pool: str = "",
) -> tuple[Action, ...]:
    """Plan for one IP: `interface` is None when nobody wants it; `existing` are all its claims.

    Applying the actions and planning again gives none, but for deletions of what was replaced: if
    its successor cannot be made, it stays.
    """
    made = [claim for claim in existing if claim.managed]
    if interface is None or len(made) < len(existing):
        return tuple(Delete(claim) for claim in made)
    services, ports = _references(owners), _ports(owners)
    name = claim_name(interface)
    kept = next((claim for claim in made if claim.metadata.name == name), None)
    rest = [claim for claim in made if claim is not kept]
    if kept is None:
        replaces = rest[0].metadata.name if rest else ""
        new = Create(
            interface=interface, services=services, replaces=replaces, pool=pool, ports=ports
        )
        return (new,)
    actions: list[Action] = [Delete(claim) for claim in rest]
    known = kept.spec.services or (), pool_of(kept), _ports_text(kept)
    if known != (services, label_value(pool), ports):
        actions.append(SetServices(kept, services, pool, ports))
    return tuple(actions)


def new_claim(create: Create, *, node: str = "") -> IpClaim:
    """Build the claim to write, assigned to `node` when there is one."""
    labels = {MANAGED_BY_LABEL: MANAGED_BY}
    if node:
        labels[NODE_LABEL] = label_value(node)
    if create.pool:
        labels[POOL_LABEL] = label_value(create.pool)
    return IpClaim(
        metadata=FullObjectMeta(
            name=claim_name(create.interface),
            labels=labels,
            annotations={PORTS_ANNOTATION: create.ports} if create.ports else None,
        ),
        spec=IpClaimSpec(
            cidr=create.interface.with_prefixlen, node_name=node, services=create.services
        ),
    )


def metadata_patch(claim: IpClaim) -> dict[str, object]:
    """Return what every merge patch of a claim has in its metadata.

    It fails with a conflict when the claim has changed since it was read. And nobody is to be
    booked as the owner of fields of a claim that the scheduler made; those of people stay.
    """
    metadata: dict[str, object] = {"resourceVersion": claim.metadata.resource_version}
    if claim.managed:
        metadata["managedFields"] = NO_FIELD_OWNERS
    return metadata


def has_field_owners(claim: IpClaim) -> bool:
    """Whether the API server books owners of fields, and need not."""
    return claim.managed and bool(claim.metadata.managed_fields)


def assignment_patch(claim: IpClaim, node: str) -> dict[str, object]:
    """Return the merge patch that gives the claim to `node`, or to nobody when it is empty.

    It fails with a conflict when the claim has changed since: a stale decision must not undo a
    newer one. Other labels stay. The node that held it before is remembered until another takes
    its place as the former holder.
    """
    before = claim.spec.node_name
    labels: dict[str, str | None] = {NODE_LABEL: label_value(node) if node else None}
    if before and before != node:
        labels[PREVIOUS_NODE_LABEL] = label_value(before)
    metadata = metadata_patch(claim) | {"labels": labels}
    if not claim.managed and before != node:  # where a person put it, it stays
        metadata["annotations"] = {PLACEMENT_ANNOTATION: PLACEMENT_AUTOMATIC}
    return {"metadata": metadata, "spec": {"nodeName": node or None}}


def services_patch(action: SetServices) -> dict[str, object]:
    """Return the merge patch that writes who wants the IP; conflicts like `assignment_patch`."""
    metadata = metadata_patch(action.claim)
    pool = label_value(action.pool)
    if pool != pool_of(action.claim):
        metadata["labels"] = {POOL_LABEL: pool or None}
    if action.ports != _ports_text(action.claim):
        metadata["annotations"] = {PORTS_ANNOTATION: action.ports or None}
    return {"metadata": metadata, "spec": {"services": action.services}}


def having(claims: Iterable[IpClaim]) -> Callable[[IPAddress], frozenset[str]]:
    """Return a function: the namespaces whose services have an IP, as its claims say.

    Looks at the claims only when it is called: hardly any IP is contested.
    """
    index: dict[IPAddress, frozenset[str]] = {}
    known = tuple(claims)

    def namespaces(ip: IPAddress) -> frozenset[str]:
        if not index:
            for claim in known:
                interface = parse_cidr(claim.spec.cidr)
                if interface is not None and claim.managed:
                    named = (service.namespace for service in claim.spec.services or ())
                    index[interface.ip] = index.get(interface.ip, frozenset()).union(named)
        return index.get(ip, frozenset())

    return namespaces


def up_somewhere(claims: Iterable[IpClaim], ips: AbstractSet[IPAddress]) -> frozenset[IPAddress]:
    """Return those of the IPs that a node has up, or had last, as their claims say."""
    if not ips:
        return frozenset()
    held = (parse_cidr(claim.spec.cidr) for claim in claims if claim.status.holder)
    return frozenset(one.ip for one in held if one is not None and one.ip in ips)


def pool_of(claim: IpClaim) -> str:
    """Return the `label_value` of the pool that the claim's IP was allocated from, or nothing."""
    return (claim.metadata.labels or {}).get(POOL_LABEL, "")


def recorded_ports(claim: IpClaim) -> dict[tuple[str, int], str]:
    """Return the names of the services that have the ports of a shared IP, as far as recorded."""
    found: dict[tuple[str, int], str] = {}
    for entry in _ports_text(claim).split():
        port, _, service = entry.partition("=")
        number, _, protocol = port.partition("/")
        if service and number.isascii() and number.isdecimal():
            found[protocol, int(number)] = service
    return found


def is_pinned(claim: IpClaim) -> bool:
    """Whether a person chose the claim's node, so that it is not moved."""
    annotations = claim.metadata.annotations or {}
    return (
        bool(claim.spec.node_name)
        and not claim.managed
        and annotations.get(PLACEMENT_ANNOTATION) != PLACEMENT_AUTOMATIC
    )


def needs_label(claim: IpClaim) -> bool:
    """Whether the node that the claim names cannot see it: its label says something else."""
    label = (claim.metadata.labels or {}).get(NODE_LABEL, "")
    return label != (label_value(claim.spec.node_name) if claim.spec.node_name else "")


def _references(owners: Sequence[Owner]) -> tuple[ServiceReference, ...]:
    return tuple(
        sorted(
            ServiceReference(namespace=owner.namespace, name=owner.name, uid=owner.uid)
            for owner in owners
        )[:MAX_SERVICES]
    )


def _ports(owners: Sequence[Owner]) -> str:
    """Return who has which port; nothing where there is more to say than an annotation holds."""
    each = sorted((number, protocol, o.name) for o in owners for protocol, number in o.ports)
    text = " ".join(f"{number}/{protocol}={name}" for number, protocol, name in each)
    return text if len(owners) > 1 and len(text) <= _MAX_PORTS_TEXT else ""


def _ports_text(claim: IpClaim) -> str:
    return (claim.metadata.annotations or {}).get(PORTS_ANNOTATION, "")


def _groups(value: int) -> list[str]:
    last = (_IPV6_PARTS - 1) * _GROUP_BITS
    return [f"{value >> shift & 0xFFFF:x}" for shift in range(last, -1, -_GROUP_BITS)]


def _name(claim: IpClaim) -> str:
    return claim.metadata.name


def _numeric(ip: IPAddress) -> tuple[int, int]:
    return ip.version, int(ip)
