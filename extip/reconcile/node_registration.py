"""Tells the cluster of this node: an IpNode with its interfaces, version and condition.

Written at the start and when something changes, no more often than `INTERVAL_S`; losing the
carrier is told at once, since the claims must move, and soon that the node holds IPs, or none any
more. It is no heartbeat. The scheduler has a condition in the IpNode, too: a write that is
overtaken by one of its own is made again from what is there.

The owner task is `NodeRegistration.run`.
"""

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from functools import partial
from random import Random
from typing import NamedTuple, Protocol

from extip import log
from extip.api.ipcontroller_v1 import LINK_READY, IpNode, IpNodeStatus
from extip.api.meta_v1 import FullObjectMeta, parse_version
from extip.clock import Clock
from extip.errors import ApiError, ConflictError, LinkError, LinkNotFoundError, NotFoundError
from extip.plan.backoff import Backoff
from extip.plan.conditions import is_true
from extip.plan.link import IPAddress, Link, ObservedAddress
from extip.plan.node_report import node_gateways, node_links, node_status

INTERVAL_S = 20.0
"""Between two writes of what is not urgent, such as the number of claims: every controller watches
every IpNode, so each write costs as much as there are nodes."""

SOON_S = 2.0
"""Between two writes of which one says that there are no IPs."""

_CONFLICTS = 4
"""Times in a row that the IpNode is read again at once, before it has to wait."""

_RETRY = Backoff(initial_s=0.5, cap_s=15.0)


class LinkLister(Protocol):
    """Reads the interfaces of the node."""

    async def link(self, name: str) -> Link:
        """Return an interface. Raises LinkNotFoundError, and LinkError."""

    async def links(self) -> Sequence[Link]:
        """Return all interfaces. Raises LinkError."""

    async def gateways(self) -> frozenset[IPAddress]:
        """Return the next hops of all routing tables, both families. Raises LinkError."""


class AddressLister(Protocol):
    """Reads the addresses of the node."""

    async def dump(self) -> Sequence[ObservedAddress]:
        """Return every address of every interface. Raises LinkError."""


class NodeStore(Protocol):
    """The IpNode of this node; every call raises ApiError."""

    async def get(self) -> IpNode:
        """Return it. Raises NotFoundError."""

    async def create(self, node: IpNode) -> IpNode:
        """Create it. Raises ConflictError when it exists."""

    async def patch_status(self, patch: object) -> IpNode:
        """Merge into its status. Raises ConflictError when it has changed."""


class _Glance(NamedTuple):
    """What changes most."""

    link: Link | None
    isolated: bool
    held: tuple[str, ...]
    claims: int


class NodeRegistration:
    """Keeps the IpNode in line with the node."""

    def __init__(  # noqa: PLR0913 - a composition of ports and plain values
        self,
        store: NodeStore,
        *,
        watched: Callable[[], IpNode | None],
        node: str,
        iface: str,
        version: str,
        claims: Callable[[], int],
        node_ips: Callable[[], frozenset[IPAddress]],
        isolated: Callable[[], bool],
        held: Callable[[], tuple[str, ...]] = lambda: (),
        links: LinkLister,
        addresses: AddressLister,
        resync_s: float,
        clock: Clock,
        rng: Random,
    ) -> None:
        """`watched` returns the IpNode as a watch of it has it, which may be behind."""
        self._store = store
        self._watched = watched
        self._node = node
        self._iface = iface
        self._version = version
        self._claims = claims
        self._node_ips = node_ips
        self._isolated = isolated
        self._held = held
        self._links = links
        self._addresses = addresses
        self._resync_s = resync_s
        self._clock = clock
        self._rng = rng
        self._triggered = asyncio.Event()
        self._seen: _Glance | None = None
        self._record: IpNode | None = None
        self._written_at = 0.0
        self._log = log.get_logger("registration").bind(node=node)
        self._failures = 0

    def trigger(self) -> None:
        """Look at the node again soon; cheap when nothing has changed."""
        self._triggered.set()

    def forget(self) -> None:
        """Look at the IpNode again, too: it was deleted, or may have been with its kind."""
        self._seen = self._record = None
        self._triggered.set()

    async def run(self) -> None:
        """Keep the IpNode right; until cancelled."""
        resync_at = self._clock.monotonic() + self._resync_s
        while True:
            self._triggered.clear()
            if self._clock.monotonic() >= resync_at:  # however often it was triggered meanwhile
                self._seen = self._record = None  # a resync takes nothing on trust
                resync_at = self._clock.monotonic() + self._resync_s
            wait_s = min(await self._attempt(), resync_at - self._clock.monotonic())
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(max(0.0, wait_s)):
                    await self._triggered.wait()

    async def _attempt(self) -> float:
        """Write what differs; return the seconds after which to look again in any case."""
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
            due_s = _interval_s(self._seen.claims, seen.claims) - since_s
            if due_s > 0:
                return due_s
        links = node_links(
            await self._links.links(), await self._addresses.dump(), iface=self._iface
        )
        report = partial(
            node_status,
            links=links,
            gateways=node_gateways(await self._links.gateways(), nodes=self._node_ips()),
            isolated=seen.isolated,
            held=seen.held,
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
        """Write what is to be reported; return when to come again if that is not done."""
        for _ in range(_CONFLICTS):
            record = await self._newest()
            before, after = record.status, report(record.status)
            if after == before:
                return None
            due_s = _interval_s(before.claims, after.claims) - since_s
            if due_s > 0 and _can_wait(before, after):
                return due_s
            try:
                self._record = await self._store.patch_status(_patch(record, after))
            except ConflictError:
                self._record = await self._read()
            else:
                self._written_at = self._clock.monotonic()
                return None
        return SOON_S

    async def _newest(self) -> IpNode:
        """Return the IpNode as it was last seen: what was read or written here, or the watch's."""
        if self._record is None:
            self._record = await self._read()
        watched = self._watched()
        if watched is not None and _version(watched) > _version(self._record):
            self._record = watched
        return self._record

    async def _glance(self) -> _Glance:
        """Return what changes most; cheap enough for every pass over the interface."""
        try:
            link = await self._links.link(self._iface)
        except LinkNotFoundError:
            link = None
        return _Glance(link, self._isolated(), self._held(), self._claims())

    async def _read(self) -> IpNode:
        try:
            return await self._store.get()
        except NotFoundError:
            self._log.info("node_registered")
        try:
            return await self._store.create(IpNode(metadata=FullObjectMeta(name=self._node)))
        except ConflictError:
            return await self._store.get()


def _interval_s(before: int, after: int) -> float:
    """Return the time between two writes of which nothing else is urgent."""
    return SOON_S if (before == 0) != (after == 0) else INTERVAL_S


def _can_wait(before: IpNodeStatus, after: IpNodeStatus) -> bool:
    """Whether nobody acts on what differs."""
    could, can = (is_true(status.conditions, LINK_READY) for status in (before, after))
    return could == can and before.held == after.held


def _version(node: IpNode) -> int:
    return parse_version(node.metadata.resource_version)


def _patch(record: IpNode, status: IpNodeStatus) -> dict[str, object]:
    """Return the status with its defaults, which encoding leaves out and a merge would keep.

    It fails with a conflict when the IpNode has changed: a list is merged as a whole, and others
    have conditions in it.
    """
    return {
        "metadata": {"resourceVersion": record.metadata.resource_version},
        "status": {
            "links": status.links,
            "version": status.version,
            "claims": status.claims,
            "gateways": status.gateways,
            "held": status.held,
            "conditions": status.conditions,
        },
    }
