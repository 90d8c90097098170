"""Reads what `extip status` shows; what may not be read is left out, and told."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from typing import TypeVar

from extip.api.coordination_v1 import Lease
from extip.api.core_v1 import DetailedService, Event
from extip.api.ipcontroller_v1 import IpClaim, IpClaimPool, IpNode
from extip.api.meta_v1 import KubernetesObject
from extip.api.names import HEARTBEAT_SELECTOR, SIMPLE_LEASE
from extip.api.resources import (
    DETAILED_SERVICES,
    EVENTS,
    IP_CLAIM_POOLS,
    IP_CLAIMS,
    IP_NODES,
    LEASES,
    Resource,
)
from extip.cache.listwatch import FROM_CACHE, MOST_RECENT, Page
from extip.claims.policy.assignment import on_its_node
from extip.clock import LoopClock
from extip.definitions.absent import deleted, without_claims
from extip.errors import ApiAccessError, ApiUnavailableError, NotFoundError, UnansweredError
from extip.kube.client import ApiClient, Scope
from extip.kube.events import COMPONENT
from extip.kube.instance import Instance
from extip.services.policy.arrivals import UP_REASON
from extip.settings.process import own_namespace
from extip.settings.scheduler import SchedulerSettings
from extip.status.policy.pending import PendingService, pending_services
from extip.supervisor import both

T = TypeVar("T", bound=KubernetesObject)

_AGAIN_S = (0.5, 1.0, 2.0)

_FEW = 250
"""Objects of a kind that a server reads from etcd within a moment."""

_EVERYWHERE = Scope()
_TOLD = Scope(field_selector=f"involvedObject.kind=Service,type=Warning,source={COMPONENT}")
"""The Warnings about services whose request is not met."""
_ARRIVED = Scope(
    field_selector=f"involvedObject.kind=Service,reason={UP_REASON},source={COMPONENT}"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cluster:
    """All that was read."""

    claims: tuple[IpClaim, ...]
    nodes: tuple[IpNode, ...]
    beats: tuple[Lease, ...]
    """The heartbeats of controllers."""
    missing: str
    """The meaning of a node without a heartbeat."""
    elections: tuple[Lease, ...]
    """The Leases by which schedulers elect one; without one of those, `givers`."""
    scheduled: bool
    """Whether a scheduler leads."""
    givers: tuple[Lease, ...]
    """The Leases by which processes of simple mode elect the one that gives addresses."""
    elections_unread: str
    """The reason for which they could not be read; empty when they were."""
    pools: tuple[IpClaimPool, ...]
    services: tuple[DetailedService, ...]
    lacking: tuple[PendingService, ...]
    """Requests of services that have no claim."""
    told: tuple[Event, ...]
    """The Warnings about services; read only when something is lacking, or in simple mode."""
    arrived: tuple[Event, ...]
    """The Events of IPs that have come up; read only in simple mode."""
    notes: tuple[str, ...]
    """A sentence for each kind that may not be read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Small:
    """Kinds of which there are few, as `Cluster` has them."""

    nodes: tuple[IpNode, ...]
    pools: tuple[IpClaimPool, ...]
    beats: tuple[Lease, ...]
    missing: str
    elections: tuple[Lease, ...]
    elections_unread: str
    givers: tuple[Lease, ...]
    notes: tuple[str, ...]


async def read_cluster(client: ApiClient, lease_namespace: str, instance: str = "") -> Cluster:
    """Read all. Leases are looked for in one namespace; empty: in all.

    The Leases of elections are those of the instance. Claims, services and all else are asked for
    side by side: a server takes a second for 10,000 of a kind, and has several processors.

    Raises UnansweredError where the definition of claims is missing, and ApiError.
    """
    unread: list[str] = []
    lost = "IPs without a claim are not shown"
    claims, (services, small) = await both(
        partial(_claims, client),
        partial(
            both,
            partial(_allowed, client, DETAILED_SERVICES, lost, unread),
            partial(_small, client, lease_namespace, instance),
        ),
    )
    notes = [*small.notes, *unread]
    givers = small.givers
    records = {node.metadata.name: node for node in small.nodes}
    claims = tuple(on_its_node(claim, records) for claim in claims)
    lacking = tuple(pending_services(services, claims))
    told: tuple[Event, ...] = ()
    if lacking or givers:
        told = await _allowed(client, EVENTS, "why IPs have no claim is not known", notes, _TOLD)
    arrived = await _allowed(client, EVENTS, "", [], _ARRIVED) if givers else ()
    return Cluster(
        claims=claims,
        nodes=small.nodes,
        beats=small.beats,
        missing=small.missing,
        elections=small.elections or givers,
        scheduled=any(one.holder for one in small.elections),
        givers=givers,
        elections_unread=small.elections_unread,
        pools=small.pools,
        services=services,
        lacking=lacking,
        told=told,
        arrived=arrived,
        notes=tuple(notes),
    )


async def _claims(client: ApiClient) -> tuple[IpClaim, ...]:
    try:
        return (await _patiently(client, IP_CLAIMS)).items
    except NotFoundError as error:
        raise UnansweredError(await without_claims(client)) from error


async def _small(client: ApiClient, lease_namespace: str, instance: str) -> _Small:
    notes: list[str] = []
    nodes = await _nodes(client, notes)
    pools = await _allowed(client, IP_CLAIM_POOLS, "pools are not shown", notes)
    beats, missing = await _heartbeats(client, lease_namespace)
    lease = SchedulerSettings(instance=instance).lease_name
    elections, unread = await _elections(client, lease_namespace, lease)
    giver = Instance(instance).lease(SIMPLE_LEASE)
    givers, _ = await _elections(client, lease_namespace, giver)
    return _Small(
        nodes=nodes,
        pools=pools,
        beats=beats,
        missing=missing,
        elections=elections,
        elections_unread=unread,
        givers=givers,
        notes=tuple(notes),
    )


async def events_about(
    client: ApiClient, claims: Sequence[IpClaim], services: Iterable[str]
) -> tuple[tuple[Event, ...], str]:
    """Return extip's Events of some claims and services (``namespace/name``).

    With them comes the reason for which some may not be read; empty for none. Raises ApiError.
    """
    scopes = [Scope(field_selector=_involved(IP_CLAIMS.kind, one.metadata.name)) for one in claims]
    for namespace, _, name in (service.partition("/") for service in services):
        about = f"{_involved('Service', name)},source={COMPONENT}"
        scopes.append(Scope(namespace=namespace, field_selector=about))
    found: list[Event] = []
    notes: list[str] = []
    for scope in scopes:
        found += await _allowed(client, EVENTS, "", notes, scope)
    return tuple(found), notes[0].removeprefix(": ") if notes else ""


def _involved(kind: str, name: str) -> str:
    return f"involvedObject.kind={kind},involvedObject.name={name}"


async def _allowed(
    client: ApiClient,
    resource: Resource[T],
    lost: str,
    notes: list[str],
    scope: Scope = _EVERYWHERE,
) -> tuple[T, ...]:
    """List all; where that is not allowed, nothing, and a note of what is `lost` by it."""
    try:
        return (await _all(client, resource, scope)).items
    except ApiAccessError as error:
        notes.append(f"{lost}: {error}")
    except NotFoundError:
        notes.append(f"{lost}: {deleted(resource.plural)}")
    return ()


async def _nodes(client: ApiClient, notes: list[str]) -> tuple[IpNode, ...]:
    try:
        return (await _patiently(client, IP_NODES)).items
    except NotFoundError:
        notes.append(f"controllers are not shown: {deleted(IP_NODES.plural)}")
        return ()


async def _patiently(client: ApiClient, resource: Resource[T]) -> Page[T]:
    """List all; a kind that has just been made known is not served in its first second (429)."""
    clock = LoopClock()
    for wait_s in _AGAIN_S:
        try:
            return await _all(client, resource)
        except ApiUnavailableError as error:
            if error.status != HTTPStatus.TOO_MANY_REQUESTS:
                raise
        await clock.sleep(wait_s)
    return await _all(client, resource)


async def _all(client: ApiClient, resource: Resource[T], scope: Scope = _EVERYWHERE) -> Page[T]:
    """List all: a few as they are now, and many as the server's watch cache has them.

    Servers before 1.31 read each object from etcd for a list that must be up to date. For 10,000
    claims they take three times the processor time for it. The cache is late by milliseconds.
    """
    page = await client.list(resource, scope, resource_version=MOST_RECENT, limit=_FEW)
    if not page.continue_token:
        return page
    return await client.list(resource, scope, resource_version=FROM_CACHE)


async def _heartbeats(client: ApiClient, namespace: str) -> tuple[tuple[Lease, ...], str]:
    """Return the heartbeats, and what it means that a node has none."""
    leases, where, denied = await _leases(client, namespace, label_selector=HEARTBEAT_SELECTOR)
    if denied:
        return (), "its Lease cannot be read"  # `elections_unread` says why, once
    if not where:
        return leases, "no namespace has a Lease of it"
    text = f"namespace {where} has no Lease of it: is its controller's --namespace another one?"
    return leases, text


async def _elections(client: ApiClient, namespace: str, name: str) -> tuple[tuple[Lease, ...], str]:
    leases, _, denied = await _leases(client, namespace, field_selector=f"metadata.name={name}")
    return leases, denied


async def _leases(
    client: ApiClient, namespace: str, *, label_selector: str = "", field_selector: str = ""
) -> tuple[tuple[Lease, ...], str, str]:
    """Return Leases, the namespace that was looked into (empty: all), and why none could be read.

    Whoever may not read those of all namespaces gets those of its own: that is so in our own pods.
    """
    denied = ""
    for where in (namespace,) if namespace else ("", own_namespace()):
        scope = Scope(namespace=where, label_selector=label_selector, field_selector=field_selector)
        try:
            page = await client.list(LEASES, scope, resource_version=MOST_RECENT)
        except ApiAccessError as error:
            denied = denied or str(error)
            continue
        return page.items, where, ""
    return (), "", denied
