"""Services, claims and pools → what stands in the way of each migration. Pure.

The allocator itself is asked, over services as they will be: it knows best whom it would give an
address, and says why not.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from extip.api.ipcontroller_v1 import IpClaim, IpClaimPool
from extip.api.whole_service import WholeService
from extip.claims.policy.claims import parse_cidr
from extip.migrate.policy.managers import managers_of
from extip.migrate.policy.steps import (
    CLUSTER_IP,
    LOAD_BALANCER,
    Step,
    begun,
    external_ips,
    is_served,
    next_step,
    note_of,
    shown_ips,
)
from extip.net.interfaces import IPAddress, IPInterface, prefix_length
from extip.pools.policy.address_request import address_request
from extip.pools.policy.allocation import plan_allocation
from extip.pools.policy.allocation_index import Facts
from extip.pools.policy.outcome import Allocated, Allocation
from extip.pools.policy.pools import Pools, compile_pools
from extip.services.policy.requests import Masks, Owner, Ports, parse_ip, service_owner
from extip.services.policy.written_ips import collect_written, unproxied, written_ips

_NO_NODE_PORTS = (1, 22)
"""The first version that can leave out node ports of a load balancer."""

_EXTERNAL_IPS_DEPRECATED = (1, 36)
"""KEP-5707: in some version from this one on kube-proxy does not serve them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cluster:
    """All that was read."""

    services: tuple[WholeService, ...]
    claims: tuple[IpClaim, ...]
    pools: tuple[IpClaimPool, ...]
    namespaces: Mapping[str, Mapping[str, str]]
    """Labels of the namespaces."""
    version: tuple[int, int]
    """The version of Kubernetes."""
    nobody_gives: str
    """The reason for which nobody seems to give addresses of pools; empty when somebody does."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """The way in which a person wants it."""

    lb_class: str = ""
    undo: bool = False
    managed: bool = False
    """Also services that other programs would change back."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServicePlan:
    """The migration of one service, or the way back."""

    service: WholeService
    step: Step
    ips: tuple[IPAddress, ...]
    nodes: tuple[str, ...]
    """The holders of the IPs, where claims tell them."""
    obstacles: tuple[str, ...]
    notes: tuple[str, ...]
    missing: tuple[IPInterface, ...] = ()
    """IPs that no pool has, with the prefix length that they have now."""

    @property
    def name(self) -> str:
        """Namespace and name."""
        return self.service.metadata.key


class Planner:
    """Plans for some services of a cluster."""

    def __init__(self, cluster: Cluster, chosen: Iterable[WholeService], wish: Wish) -> None:
        self._cluster = cluster
        self._chosen = list(chosen)
        self._wish = wish
        self._pools = compile_pools(cluster.pools)
        self._held = _claims_by_service(cluster.claims)
        self._rival = self._find_rival()
        self._given: dict[Owner, dict[IPAddress, Allocated]] = {}
        """The addresses that each service would have."""

    def plan(self) -> list[ServicePlan]:
        """Return a plan for each chosen service, in their order."""
        if self._wish.undo:
            return [self._way_back(service) for service in self._chosen]
        coming = {
            service.metadata.key: begun(service, self._wish.lb_class)
            for service in self._chosen
            if next_step(service, self._wish.lb_class) is Step.BEGIN
        }
        services = [coming.get(one.metadata.key, one) for one in self._cluster.services]
        allocation = allocate(services, self._cluster, self._pools, self._wish.lb_class)
        for ip, given in allocation.allocated.items():
            for owner in given.owners:
                self._given.setdefault(owner, {})[ip] = given
        return [self._way_there(service, allocation.waiting) for service in self._chosen]

    def _find_rival(self) -> str:
        """Return a sentence about another implementation that serves the same class."""
        for service in self._cluster.services:
            shown = shown_ips(service)
            claims = self._held.get(service_owner(service), {})
            ours = (ip for ip in shown if self._pools.of(ip) is not None or ip in claims)
            if is_served(service, self._wish.lb_class) and shown and next(ours, None) is None:
                return (
                    f"another load balancer gave {service.metadata.key} its {shown[0]}: if it "
                    f"serves {_class(self._wish.lb_class)}, it may change this service, too"
                )
        return ""

    def _way_there(self, service: WholeService, waiting: Mapping[Owner, str]) -> ServicePlan:
        step = next_step(service, self._wish.lb_class)
        ips = external_ips(service) or shown_ips(service)
        missing: list[IPInterface] = []
        obstacles: list[str] = []
        notes: list[str] = []
        if step not in (Step.NOTHING, Step.DONE):
            obstacles += self._obstacles(service)
            if step in (Step.BEGIN, Step.WAIT) and unproxied(service) is None:
                if reason := waiting.get(service_owner(service), ""):
                    obstacles.append(reason)
                missing += [self._interface(service, ip) for ip in ips if not self._pools.of(ip)]
            notes += self._notes(service, step)
        return ServicePlan(
            service=service,
            step=step,
            ips=ips,
            nodes=self._nodes(service, ips),
            obstacles=tuple(obstacles),
            notes=tuple(notes),
            missing=tuple(missing),
        )

    def _obstacles(self, service: WholeService) -> Iterator[str]:
        """Yield what keeps it from becoming a load balancer without a gap, but for pools."""
        spec, lb_class = service.spec, self._wish.lb_class
        refusal = unproxied(service)
        if refusal is not None:
            yield refusal.message
        elif spec.type == LOAD_BALANCER and not is_served(service, lb_class):
            yield (
                f"it is a load balancer of {_class(spec.load_balancer_class or '')}, which cannot "
                f"be changed, and --lb-class is {_class(lb_class)}"
            )
        if service.metadata.deletion_timestamp:
            yield "it is being deleted"
        for text in spec.external_ips or ():
            if parse_ip(text) is None:
                yield f"external IP {text!r} is no IP address: remove it"
        if spec.load_balancer_source_ranges:
            yield (
                "its spec.loadBalancerSourceRanges would count for its external IPs, too, and shut "
                "other clients out: remove them"
            )
        ips = external_ips(service)
        if self._cluster.nobody_gives and not self._nodes(service, ips):
            yield self._cluster.nobody_gives
        yield from self._keepers(service)

    def _keepers(self, service: WholeService) -> Iterator[str]:
        """Yield the programs that would change the service back."""
        standing = managers_of(service).standing
        if standing and not self._wish.managed:
            yield (
                f"{', '.join(standing)} manages it, and may change it back at any time: change "
                "it at its source, or say --managed"
            )

    def _notes(self, service: WholeService, step: Step) -> Iterator[str]:
        """Yield what a person should know of a migration that nothing stands in the way of."""
        yield from _sources(service)
        if step is not Step.BEGIN:
            return
        if service.spec.type in ("", CLUSTER_IP) and self._cluster.version < _NO_NODE_PORTS:
            yield "it gets node ports: this API server cannot leave them out"
        known = {*external_ips(service), *shown_ips(service)}
        claims = self._held.get(service_owner(service), {})
        given = self._given.get(service_owner(service), {})
        yield from _surprises(known, claims, given)
        if self._rival:
            yield self._rival
        if claims:
            yield from (f"{ip} is not claimed now" for ip in known - claims.keys())
        down = (ip for ip in known & claims.keys() if not claims[ip].holder)
        yield from (f"{ip} is up on no node now" for ip in down)

    def _way_back(self, service: WholeService) -> ServicePlan:
        note = note_of(service)
        shown = shown_ips(service)
        obstacles = list(self._keepers(service)) if note is not None else []
        if note is None:
            step, ips = Step.NOTHING, external_ips(service) or shown
        else:
            step = Step.BEGIN
            ips = tuple(ip for text in note.external_ips if (ip := parse_ip(text)) is not None)
            if service.spec.type == LOAD_BALANCER:
                obstacles += _losses(service, note.type, ips)
        return ServicePlan(
            service=service,
            step=step,
            ips=ips,
            nodes=self._nodes(service, ips),
            obstacles=tuple(obstacles),
            notes=tuple(self._notes_back(service)) if note is not None else (),
        )

    def _notes_back(self, service: WholeService) -> Iterator[str]:
        yield from _sources(service)
        if self._cluster.version >= _EXTERNAL_IPS_DEPRECATED:
            yield "see that kube-proxy still serves external IPs (gate AllowServiceExternalIPs)"

    def _nodes(self, service: WholeService, ips: Iterable[IPAddress]) -> tuple[str, ...]:
        claims = self._held.get(service_owner(service), {})
        holders = (claims[ip].holder for ip in ips if ip in claims)
        return tuple(dict.fromkeys((holder for holder in holders if holder), 0))

    def _interface(self, service: WholeService, ip: IPAddress) -> IPInterface:
        """Return an IP with the prefix length of its claim, and without a claim the full one."""
        claim = self._held.get(service_owner(service), {}).get(ip)
        return Masks().of(ip) if claim is None else claim.interface


@dataclass(frozen=True, slots=True)
class _Held:
    """A claim of a service."""

    interface: IPInterface
    holder: str


def allocate(
    services: Sequence[WholeService], cluster: Cluster, pools: Pools, lb_class: str
) -> Allocation:
    """Return what the allocator would give to services that look like this."""
    requests = (address_request(one, lb_class=lb_class) for one in services)
    written = (written_ips(one) for one in services)
    ports = {service_owner(one): _ports(one) for one in services}

    def ports_of(owner: Owner) -> Ports:
        return ports.get(owner, frozenset())

    facts = Facts(
        requests=collect_written(
            (one for one in written if one is not None), Masks().parse, lambda _namespace, _ip: None
        ),
        namespaces=cluster.namespaces,
        ports=ports_of,
    )
    asking = (one for one in requests if one is not None)
    return plan_allocation(asking, pools, cluster.claims, facts)


def _claims_by_service(claims: Iterable[IpClaim]) -> dict[Owner, dict[IPAddress, _Held]]:
    found: dict[Owner, dict[IPAddress, _Held]] = {}
    for claim in claims:
        interface = parse_cidr(claim.spec.cidr)
        if interface is None:
            continue
        for one in claim.spec.services or ():
            owner = Owner(kind="Service", namespace=one.namespace, name=one.name, uid=one.uid)
            held = _Held(interface, claim.status.holder)
            found.setdefault(owner, {})[interface.ip] = held
    return found


def _sources(service: WholeService) -> Iterator[str]:
    managers = managers_of(service)
    if names := (*managers.standing, *managers.occasional):
        yield f"change it at its source, too ({', '.join(names)})"


def _surprises(
    known: AbstractSet[IPAddress],
    claims: Mapping[IPAddress, _Held],
    given: Mapping[IPAddress, Allocated],
) -> Iterator[str]:
    """Yield what allocation would change beside the place where the IPs are written."""
    for ip, one in given.items():
        if ip not in known:
            yield f"it also gets {ip} from pool {one.pool}"
        elif ip in claims:
            before, after = prefix_length(claims[ip].interface), prefix_length(one.interface)
            if before != after:
                yield f"the prefix length of {ip} changes from {before} to {after}"


def _losses(service: WholeService, former: str, ips: Sequence[IPAddress]) -> Iterator[str]:
    """Yield what a service would lose on the way back, and what it has lost already."""
    known = {*shown_ips(service), *external_ips(service)}
    for ip in ips:
        if ip not in known:
            yield f"it does not have {ip} any more: ask for it with the annotation first"
    for ip in known - {*ips} if former != LOAD_BALANCER else ():
        yield f"it would lose {ip}, which it got since"


def _class(name: str) -> str:
    return f"class {name}" if name else "no class"


def _ports(service: WholeService) -> Ports:
    return frozenset((port.protocol, port.port) for port in service.spec.ports or ())
