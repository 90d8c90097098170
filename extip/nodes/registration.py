"""Registers this node: an IpNode with its interfaces, version and condition.

It is written at the start and after changes, at most once in `INTERVAL_S`. A change of the number
of claims alone waits longer in a large cluster. A lost carrier and a silent neighbour are written
at once, since claims must move. A change between some claims and none is written within `SOON_S`.
It is no heartbeat. The scheduler has a condition in the IpNode, too: after a conflict the write is
made again over the new version.

The owner task is `NodeRegistration.run`.
"""

from collections.abc import Callable, Mapping
from functools import partial
from random import Random
from typing import NamedTuple

from msgspec.structs import replace

from extip import log
from extip.addresses.ports import AddressTable, LinkTable
from extip.api.conditions import is_true
from extip.api.ipcontroller_v1 import LINK_READY, IpNode, IpNodeStatus
from extip.api.meta_v1 import NO_FIELD_OWNERS, FullObjectMeta, parse_version
from extip.api.node_link import NodeLink
from extip.api.resources import IP_NODES
from extip.backoff import Backoff
from extip.clock import Clock
from extip.errors import ApiError, ConflictError, LinkError, LinkNotFoundError, NotFoundError
from extip.kube.client import ApiClient
from extip.net.interfaces import IPAddress, Link
from extip.net.link_selection import Fitting, LinkSelection
from extip.nodes.policy.report import node_gateways, node_links, node_status
from extip.trigger import Trigger

INTERVAL_S = 20.0
"""Seconds between two writes of facts that are not urgent."""

COUNTS_PER_S = 5.0
"""Writes a second, by all controllers together, of a number of claims alone. Each controller
receives the writes of all, so this bounds what it receives, however large the cluster is."""

SOON_S = 2.0
"""Seconds between two writes of which one reports that there are no IPs."""

LEFT_S = 90.0
"""Seconds after which this node, which lives, ends a fail-over of its claims itself. A scheduler
needs half a minute at most. One of an older version never does it."""

_CONFLICTS = 4
"""Conflicts in a row after which a write has to wait."""

_RETRY = Backoff(initial_s=0.5, cap_s=15.0)


class _Glance(NamedTuple):
    """The facts that change most often."""

    links: tuple[Link, ...]
    """The selected interfaces."""
    subnets: tuple[Fitting, ...]
    """The same, with their subnets, where these matter."""
    isolated: frozenset[str]
    held: tuple[str, ...]
    silent: tuple[str, ...]
    refused: tuple[str, ...]
    claims: int


class NodeRegistration:
    """Keeps the IpNode up to date with the node."""

    def __init__(  # noqa: PLR0913 - a composition of parts and plain values
        self,
        client: ApiClient,
        *,
        watched: Callable[[], IpNode | None],
        node: str,
        selection: LinkSelection,
        version: str,
        claims: Callable[[], int],
        node_ips: Callable[[], frozenset[IPAddress]],
        isolated: Callable[[], frozenset[str]],
        held: Callable[[], tuple[str, ...]] = lambda: (),
        silent: Callable[[], tuple[str, ...]] = lambda: (),
        refused: Callable[[], tuple[str, ...]] = lambda: (),
        nodes: Callable[[], int] = lambda: 0,
        links: LinkTable,
        addresses: AddressTable,
        resync_s: float,
        clock: Clock,
        rng: Random,
    ) -> None:
        """`watched` returns the IpNode from the cache, which may be behind; `nodes` counts all."""
        self._client = client
        self._watched = watched
        self._node = node
        self._selection = selection
        self._version = version
        self._claims = claims
        self._node_ips = node_ips
        self._isolated = isolated
        self._held = held
        self._silent = silent
        self._refused = refused
        self._nodes = nodes
        self._links = links
        self._addresses = addresses
        self._resync_s = resync_s
        self._clock = clock
        self._rng = rng
        self._triggered = Trigger()
        self._seen: _Glance | None = None
        self._record: IpNode | None = None
        self._forgotten = False
        self._written_at = 0.0
        self._failed_over: Mapping[str, int] = {}
        self._failed_over_since = 0.0
        self._log = log.get_logger("registration").bind(node=node)
        self._failures = 0

    def trigger(self) -> None:
        """Look at the node again soon; without a change it costs little."""
        self._triggered.set()

    def on_record(self, name: str) -> None:
        """Take note that an IpNode has changed: when this node's is gone it is made again."""
        if name == self._node and self._watched() is None:
            self.forget()

    def forget(self) -> None:
        """Read the IpNode again, too: it was deleted, or may have vanished with its definition."""
        self._forgotten = True
        self._triggered.set()

    async def run(self) -> None:
        """Keep the IpNode up to date, until cancelled."""
        resync_at = self._clock.monotonic() + self._resync_s
        while True:
            self._triggered.clear()
            if self._clock.monotonic() >= resync_at:  # however often it was triggered meanwhile
                self._forgotten = True  # a resync reads everything again
                resync_at = self._clock.monotonic() + self._resync_s
            if self._forgotten:  # not before: the answer to a write on its way would restore them
                self._forgotten = False
                self._seen = self._record = None
            wait_s = min(await self._attempt(), resync_at - self._clock.monotonic())
            await self._triggered.wait_at_most(wait_s)

    async def _attempt(self) -> float:
        """Write the differences; return the seconds until the next look."""
        try:
            wait_s = await self._write_if_due()
        except (ApiError, LinkError) as error:
            self._failures += 1
            self._seen = self._record = None
            report = self._log.warning if self._failures == 1 else self._log.debug
            report("registration_failed", error=str(error), attempt=self._failures)
            return _RETRY.delay_s(self._failures, self._rng.random())
        if self._failures:
            self._log.info("registration_succeeded", attempt=self._failures)
        self._failures = 0
        return wait_s

    async def _write_if_due(self) -> float:
        seen = await self._glance()
        if seen == self._seen:
            return self._resync_s
        since_s = self._clock.monotonic() - self._written_at
        if self._seen is not None and seen[:-1] == self._seen[:-1]:  # only the number of claims
            due_s = self._interval_s(self._seen.claims, seen.claims) - since_s
            if due_s > 0:
                return due_s
        links = node_links(
            await self._links.links(), await self._addresses.dump(), selection=self._selection
        )
        report = partial(
            node_status,
            links=links,
            gateways=node_gateways(await self._links.gateways(), nodes=self._node_ips()),
            isolated=seen.isolated,
            held=seen.held,
            silent=seen.silent,
            refused=seen.refused,
            version=self._version,
            claims=seen.claims,
            now=self._clock.utcnow().strftime("%Y-%m-%dT%H:%M:%SZ"),
        )
        wait_s = await self._write(report, since_s)
        if wait_s is not None:
            return wait_s
        self._seen = seen
        return self._resync_s

    async def _write(
        self, report: Callable[[IpNodeStatus], IpNodeStatus], since_s: float
    ) -> float | None:
        """Write the report; return None, or the seconds after which to try again."""
        for _ in range(_CONFLICTS):
            record = await self._newest()
            before, after = record.status, self._without_leftover(report(record.status))
            if after == before:
                return None
            interval_s = self._interval_s(before.claims, after.claims)
            if replace(before, claims=after.claims) != after:
                interval_s = min(interval_s, INTERVAL_S)
            due_s = interval_s - since_s
            if due_s > 0 and _can_wait(before, after):
                return due_s
            try:
                self._record = await self._client.patch(
                    IP_NODES, _patch(record, after), name=self._node, subresource="status"
                )
            except ConflictError:
                self._record = await self._read()
            else:
                self._written_at = self._clock.monotonic()
                return None
        return SOON_S

    def _without_leftover(self, status: IpNodeStatus) -> IpNodeStatus:
        """Return the status without a fail-over that nobody ends."""
        now, named = self._clock.monotonic(), status.failed_over or {}
        if named != self._failed_over:
            self._failed_over, self._failed_over_since = named, now
        if not named or now - self._failed_over_since < LEFT_S:
            return status
        self._log.warning("failover_left", claims=len(named))
        return replace(status, failed_over=None)

    async def _newest(self) -> IpNode:
        """Return the newest known IpNode: from a read, from a write, or from the cache."""
        if self._record is None:
            self._record = await self._read()
        watched = self._watched()
        if watched is not None and _version(watched) > _version(self._record):
            self._record = watched
        return self._record

    async def _glance(self) -> _Glance:
        """Return the facts that change most often; cheap enough for every pass."""
        links, subnets = await self._selected()
        return _Glance(
            links=links,
            subnets=subnets,
            isolated=self._isolated(),
            held=self._held(),
            silent=self._silent(),
            refused=self._refused(),
            claims=self._claims(),
        )

    async def _selected(self) -> tuple[tuple[Link, ...], tuple[Fitting, ...]]:
        if self._selection.only:
            try:
                return (await self._links.link(self._selection.only),), ()
            except LinkNotFoundError:
                return (), ()
        links = await self._links.links()
        fitting = self._selection.fitting(links, await self._addresses.dump())
        names = {one.name for one in fitting}
        return tuple(link for link in links if link.name in names), fitting

    def _interval_s(self, before: int, after: int) -> float:
        """Return the seconds between two writes that differ in the number of claims alone."""
        if (before == 0) != (after == 0):
            return SOON_S
        return max(INTERVAL_S, self._nodes() / COUNTS_PER_S)

    async def _read(self) -> IpNode:
        try:
            return await self._client.get(IP_NODES, name=self._node)
        except NotFoundError:
            self._log.info("node_registered")
        try:
            new = IpNode(metadata=FullObjectMeta(name=self._node))
            return await self._client.create(IP_NODES, new)
        except ConflictError:
            return await self._client.get(IP_NODES, name=self._node)


def _can_wait(before: IpNodeStatus, after: IpNodeStatus) -> bool:
    """Whether no program acts on the difference."""
    could, can = (is_true(status.conditions, LINK_READY) for status in (before, after))
    said, says = (
        (one.held, one.silent, one.refused, _selected(one), _mac(one)) for one in (before, after)
    )
    return could == can and said == says


def _mac(status: IpNodeStatus) -> str:
    """Return the MAC by which others tell this node from a stranger."""
    return next((link.mac for link in status.links or ()), "")


def _selected(status: IpNodeStatus) -> list[NodeLink]:
    """Return the interfaces that the scheduler chooses from, where there may be several."""
    return [link for link in status.links or () if link.takes]


def _version(node: IpNode) -> int:
    return parse_version(node.metadata.resource_version)


def _patch(record: IpNode, status: IpNodeStatus) -> dict[str, object]:
    """Return the merge patch of the status, with the defaults that encoding leaves out.

    It fails with a conflict when the IpNode has changed. A list is merged as a whole, and the
    scheduler has a condition in it. The first one clears the field owners: they are more than half
    of what every controller is sent of an IpNode.
    """
    metadata: dict[str, object] = {"resourceVersion": record.metadata.resource_version}
    if record.status == IpNodeStatus():
        metadata["managedFields"] = NO_FIELD_OWNERS
    ended: dict[str, object] = (
        {"failedOver": None} if status.failed_over != record.status.failed_over else {}
    )
    return {
        "metadata": metadata,
        "status": ended
        | {
            "links": status.links,
            "version": status.version,
            "claims": status.claims,
            "gateways": status.gateways,
            "held": status.held,
            "silent": status.silent,
            "refused": status.refused,
            "conditions": status.conditions,
        },
    }
