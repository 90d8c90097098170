"""Wanted IPs x existing claims → the claims to create, change and delete. Pure.

Each IP has one claim, which names the services that want the IP; `scheduling.policy.every_node` has
the exception. So a shared IP stays until its last service drops it, also while no scheduler runs. A
claim that a person made is never changed or deleted; when it has a wanted IP, it is the claim of
that IP.
"""

from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType

from msgspec.structs import replace

from extip.api.ipcontroller_v1 import MAX_SERVICES, IpClaim, IpClaimSpec, ServiceReference
from extip.api.meta_v1 import NO_FIELD_OWNERS, FullObjectMeta
from extip.api.names import (
    MANAGED_BY,
    MANAGED_BY_LABEL,
    NODE_LABEL,
    PLACEMENT_ANNOTATION,
    PLACEMENT_AUTOMATIC,
    POOL_LABEL,
    PORTS_ANNOTATION,
    PREFIX_ANNOTATION,
    PREFIX_EXPLICIT,
    is_service_label,
    label_value,
    service_label,
)
from extip.claims.policy.names import claim_name
from extip.claims.policy.ports import ports_text, written_ports
from extip.net.interfaces import (
    IPAddress,
    IPInterface,
    compact,
    ip_address_of,
    prefix_length,
)
from extip.services.policy.references import service_of
from extip.services.policy.requests import Owner

_NO_POOLS: Mapping[IPInterface, str] = MappingProxyType({})


@dataclass(frozen=True, slots=True, kw_only=True)
class Create:
    """Create a claim; placement adds the node to the same write."""

    interface: IPInterface
    services: tuple[ServiceReference, ...]
    replaces: str = ""
    """The claim of the same IP with another prefix length, by name. The new claim gets its node;
    the next plan deletes the old one."""
    pool: str = ""
    """The pool that the IP was allocated from; empty when a service wrote the IP itself."""
    ports: str = ""
    """The ports of each service, in the form of `PORTS_ANNOTATION`."""
    link: str = ""
    """The interface that it is to be on; empty for no wish."""
    node: str = ""
    """The node that the claim is for; empty for the one claim of an IP."""

    @property
    def name(self) -> str:
        """The claim's name."""
        suffix = f".{label_value(self.node)}" if self.node else ""
        return claim_name(self.interface) + suffix


@dataclass(frozen=True, slots=True)
class SetServices:
    """The services of the IP, their ports, the pool or the interface have changed."""

    claim: IpClaim
    services: tuple[ServiceReference, ...]
    pool: str = ""
    ports: str = ""
    link: str = ""


@dataclass(frozen=True, slots=True)
class Delete:
    """No service wants the claim any more."""

    claim: IpClaim


Action = Create | SetServices | Delete


ClaimIndex = Mapping[IPAddress, tuple[IpClaim, ...]]
"""Existing claims by IP. Those with a malformed `spec.cidr` are not there: no plan touches them."""


# Each claim is parsed several times for each change of it, with the same result.
@lru_cache(maxsize=2**18)  # type: ignore[misc]  # its own type has Any
def parse_cidr(text: str) -> IPInterface | None:
    """Return the address and prefix length of a `spec.cidr`; None when it is malformed."""
    address, slash, prefix = text.partition("/")
    if not slash or not prefix.isascii() or not prefix.isdecimal() or "%" in address:
        return None
    try:
        return compact(ip_address_of(address), int(prefix))
    except ValueError:
        return None


def index_claims(claims: Iterable[IpClaim]) -> ClaimIndex:
    """Index claims by IP, in the order of names."""
    by_ip: dict[IPAddress, list[IpClaim]] = {}
    for claim in claims:
        interface = parse_cidr(claim.spec.cidr)
        if interface is not None:
            by_ip.setdefault(interface.ip, []).append(claim)
    return {ip: tuple(sorted(found, key=_name)) for ip, found in by_ip.items()}


def plan_claims(
    wanted: Mapping[IPInterface, tuple[Owner, ...]],
    index: ClaimIndex,
    pools: Mapping[IPInterface, str] = _NO_POOLS,
    links: Mapping[IPInterface, str] = _NO_POOLS,
) -> tuple[Action, ...]:
    """Plan for every IP, in the order of IPs; see `plan_claim`.

    `wanted` and `index` must be complete: a managed claim of an IP that is not in `wanted` is
    deleted. `pools` has the pool that an IP was allocated from, `links` the interface that is
    wished for.
    """
    by_ip = {interface.ip: interface for interface in wanted}
    actions: list[Action] = []
    for ip in sorted(by_ip.keys() | index.keys(), key=_numeric):
        interface = by_ip.get(ip)
        owners = () if interface is None else wanted[interface]
        pool = "" if interface is None else pools.get(interface, "")
        link = "" if interface is None else links.get(interface, "")
        actions += plan_claim(interface, owners, index.get(ip, ()), pool=pool, link=link)
    return tuple(actions)


def plan_claim(
    interface: IPInterface | None,
    owners: Sequence[Owner],
    existing: Sequence[IpClaim],
    *,
    pool: str = "",
    link: str = "",
) -> tuple[Action, ...]:
    """Plan for one IP: `interface` is None when no service wants it; `existing` are its claims.

    After the actions another plan has none, except the deletion of a replaced claim. That claim
    stays until its successor exists.
    """
    made = [claim for claim in existing if claim.managed]
    if interface is None or len(made) < len(existing):  # nobody wants it, or a person's has it
        return tuple(Delete(claim) for claim in made)
    services, ports = _references(owners), written_ports(owners)
    name = claim_name(interface)
    kept = next((claim for claim in made if claim.metadata.name == name), None)
    rest = [claim for claim in made if claim is not kept]
    if kept is None:
        replaces = rest[0].metadata.name if rest else ""
        new = Create(
            interface=interface,
            services=services,
            replaces=replaces,
            pool=pool,
            ports=ports,
            link=link,
        )
        return (new,)
    actions: list[Action] = [Delete(claim) for claim in rest]
    known = kept.spec.services or (), pool_of(kept), ports_text(kept), kept.spec.link
    if known != (services, label_value(pool), ports, link):
        actions.append(SetServices(kept, services, pool, ports, link))
    return tuple(actions)


def new_claim(create: Create, *, node: str = "") -> IpClaim:
    """Return the claim to write, assigned to `node` unless that is empty."""
    labels = {MANAGED_BY_LABEL: MANAGED_BY, **_service_labels(create.services)}
    if node:
        labels[NODE_LABEL] = label_value(node)
    if create.pool:
        labels[POOL_LABEL] = label_value(create.pool)
    return IpClaim(
        metadata=FullObjectMeta(
            name=create.name,
            labels=labels,
            annotations={PORTS_ANNOTATION: create.ports} if create.ports else None,
        ),
        spec=IpClaimSpec(
            cidr=create.interface.with_prefixlen,
            node_name=node,
            link=create.link,
            services=create.services,
        ),
    )


def claim_of(interface: IPInterface, owners: Sequence[Owner], pool: str) -> IpClaim:
    """Return the claim of an address that a pool gave to services."""
    services, ports = _references(owners), written_ports(owners)
    return new_claim(Create(interface=interface, services=services, pool=pool, ports=ports))


def metadata_patch(claim: IpClaim) -> dict[str, object]:
    """Return the metadata of every merge patch of a claim.

    The patch fails with a conflict when the claim has changed since it was read. It also clears
    the field owners (`managedFields`) of a managed claim; a person's claim keeps them.
    """
    metadata: dict[str, object] = {"resourceVersion": claim.metadata.resource_version}
    if claim.managed:
        metadata["managedFields"] = NO_FIELD_OWNERS
    return metadata


def has_field_owners(claim: IpClaim) -> bool:
    """Whether a managed claim has field owners, which nothing needs."""
    return claim.managed and bool(claim.metadata.managed_fields)


def services_patch(action: SetServices) -> dict[str, object]:
    """Return the merge patch of the services; it conflicts like all patches of a claim."""
    metadata = metadata_patch(action.claim)
    pool = label_value(action.pool)
    labels = service_labels(action.claim, action.services)
    if pool != pool_of(action.claim):
        labels[POOL_LABEL] = pool or None
    if labels:
        metadata["labels"] = labels
    if action.ports != ports_text(action.claim):
        metadata["annotations"] = {PORTS_ANNOTATION: action.ports or None}
    spec: dict[str, object] = {"services": action.services}
    if action.link != action.claim.spec.link:
        spec["link"] = action.link or None
    return {"metadata": metadata, "spec": spec}


def current_owners(claims: Iterable[IpClaim]) -> frozenset[str]:
    """Return the namespaces whose services have an IP by its claims."""
    made = (claim.spec.services or () for claim in claims if claim.managed)
    return frozenset(service.namespace for services in made for service in services)


def pool_of(claim: IpClaim) -> str:
    """Return the `label_value` of the pool of the claim's IP; empty for none."""
    return (claim.metadata.labels or {}).get(POOL_LABEL, "")


def is_pinned(claim: IpClaim) -> bool:
    """Whether a person chose the claim's node: then nothing moves it."""
    annotations = claim.metadata.annotations or {}
    return (
        bool(claim.spec.node_name)
        and not claim.managed
        and annotations.get(PLACEMENT_ANNOTATION) != PLACEMENT_AUTOMATIC
    )


def has_default_prefix(claim: IpClaim, interface: IPInterface) -> bool:
    """Whether nobody said the prefix length of the claim's IP, so that its node may."""
    annotations = claim.metadata.annotations or {}
    return _may_be_default(claim, interface) and annotations.get(PREFIX_ANNOTATION) is None


def prefix_annotation(claim: IpClaim, explicit: AbstractSet[int]) -> dict[str, str | None]:
    """Return the annotation to set, or to remove where it is None; empty when the claim is right.

    `explicit` has the IP versions whose prefix length the scheduler was told.
    """
    interface = parse_cidr(claim.spec.cidr)
    if interface is None or not claim.managed:
        return {}
    told = interface.version in explicit and _may_be_default(claim, interface)
    due = PREFIX_EXPLICIT if told else None
    now = (claim.metadata.annotations or {}).get(PREFIX_ANNOTATION)
    return {} if now == due else {PREFIX_ANNOTATION: due}


def service_labels(claim: IpClaim, services: Iterable[ServiceReference]) -> dict[str, str | None]:
    """Return the labels to set for the services, or to remove where they are None.

    It is empty when the claim is right. They cost no write of their own while services come and go.
    """
    known, due = claim.metadata.labels or {}, _service_labels(services)
    changes: dict[str, str | None] = {label: "" for label in due if label not in known}
    for label in known:
        if is_service_label(label) and label not in due:
            changes[label] = None
    return changes


def with_annotations(claim: IpClaim, changes: Mapping[str, str | None]) -> IpClaim:
    """Return the claim with annotations set or, where the value is None, removed."""
    if not changes:
        return claim
    after = {**(claim.metadata.annotations or {}), **changes}
    kept = {name: value for name, value in after.items() if value is not None}
    return replace(claim, metadata=replace(claim.metadata, annotations=kept or None))


def _may_be_default(claim: IpClaim, interface: IPInterface) -> bool:
    """Whether the length is one that schedulers write without being told; pools say theirs."""
    full = prefix_length(interface) == interface.max_prefixlen
    return claim.managed and full and not pool_of(claim)


def _references(owners: Sequence[Owner]) -> tuple[ServiceReference, ...]:
    return tuple(sorted(map(service_of, owners))[:MAX_SERVICES])


def _service_labels(services: Iterable[ServiceReference]) -> dict[str, str]:
    return {service_label(service.namespace, service.name): "" for service in services}


def _name(claim: IpClaim) -> str:
    return claim.metadata.name


def _numeric(ip: IPAddress) -> tuple[int, int]:
    return ip.version, int(ip)
