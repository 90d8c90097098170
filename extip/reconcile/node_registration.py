"""Tells the cluster of this node: an IpNode with its interfaces, version and condition.

Written at the start and when something changes, no more often than `INTERVAL_S`; losing the
carrier is told at once, since the claims must move. It is no heartbeat.

The owner task is `NodeRegistration.run`.
"""

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from random import Random
from typing import NamedTuple, Protocol

from extip import log
from extip.api.ipcontroller_v1 import READY, IpNode, IpNodeStatus
from extip.api.meta_v1 import FullObjectMeta
from extip.clock import Clock
from extip.errors import ApiError, ConflictError, LinkError, LinkNotFoundError, NotFoundError
from extip.plan.backoff import Backoff
from extip.plan.conditions import is_true
from extip.plan.link import IPAddress, Link, ObservedAddress
from extip.plan.node_report import node_gateways, node_links, node_status

INTERVAL_S = 20.0
"""Between two writes of what is not urgent, such as the number of claims: every controller watches
every IpNode, so each write costs as much as there are nodes."""

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
        """Merge into its status."""


class _Glance(NamedTuple):
    """What changes most."""

    link: Link | None
    isolated: bool
    claims: int


class NodeRegistration:
    """Keeps the IpNode in line with the node."""

    def __init__(  # noqa: PLR0913 - a composition of ports and plain values
        self,
        store: NodeStore,
        *,
        node: str,
        iface: str,
        version: str,
        claims: Callable[[], int],
        node_ips: Callable[[], frozenset[IPAddress]],
        isolated: Callable[[], bool],
        links: LinkLister,
        addresses: AddressLister,
        resync_s: float,
        clock: Clock,
        rng: Random,
    ) -> None:
        self._store = store
        self._node = node
        self._iface = iface
        self._version = version
        self._claims = claims
        self._node_ips = node_ips
        self._isolated = isolated
        self._links = links
        self._addresses = addresses
        self._resync_s = resync_s
        self._clock = clock
        self._rng = rng
        self._triggered = asyncio.Event()
        self._seen: _Glance | None = None
        self._written: IpNodeStatus | None = None
        self._written_at = 0.0
        self._log = log.get_logger("registration").bind(node=node)
        self._failures = 0

    def trigger(self) -> None:
        """Look at the node again soon; cheap when nothing has changed."""
        self._triggered.set()

    async def run(self) -> None:
        """Keep the IpNode right; until cancelled."""
        resync_at = self._clock.monotonic() + self._resync_s
        while True:
            self._triggered.clear()
            if self._clock.monotonic() >= resync_at:  # however often it was triggered meanwhile
                self._seen = self._written = None  # a resync takes nothing on trust
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
            self._seen = self._written = None
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
        due_s = self._written_at + INTERVAL_S - self._clock.monotonic()
        if due_s > 0 and self._seen is not None and seen[:2] == self._seen[:2]:
            return due_s  # only the number of claims has changed
        links = node_links(
            await self._links.links(), await self._addresses.dump(), iface=self._iface
        )
        gateways = node_gateways(await self._links.gateways(), nodes=self._node_ips())
        before = self._written or (await self._read()).status
        now = self._clock.utcnow().strftime("%Y-%m-%dT%H:%M:%SZ")
        after = node_status(
            before,
            links,
            gateways=gateways,
            isolated=seen.isolated,
            version=self._version,
            claims=seen.claims,
            now=now,
        )
        if after != before:
            if due_s > 0 and is_true(before.conditions, READY) == is_true(after.conditions, READY):
                self._written = before
                return due_s
            self._written_at = self._clock.monotonic()
            await self._store.patch_status({"status": _whole(after)})
        self._seen, self._written = seen, after
        return self._resync_s

    async def _glance(self) -> _Glance:
        """Return what changes most; cheap enough for every pass over the interface."""
        try:
            link = await self._links.link(self._iface)
        except LinkNotFoundError:
            link = None
        return _Glance(link, self._isolated(), self._claims())

    async def _read(self) -> IpNode:
        try:
            return await self._store.get()
        except NotFoundError:
            self._log.info("node_registered")
        try:
            return await self._store.create(IpNode(metadata=FullObjectMeta(name=self._node)))
        except ConflictError:
            return await self._store.get()


def _whole(status: IpNodeStatus) -> dict[str, object]:
    """Return the status with its defaults, which encoding leaves out and a merge would keep."""
    return {
        "links": status.links,
        "version": status.version,
        "claims": status.claims,
        "gateways": status.gateways,
        "conditions": status.conditions,
    }
