"""Keeps the rows of the page up to date, and hands every change to those who look at it.

It costs what has changed, also with nobody looking, and never holds the loop for long: a change of
many objects is worked on in small steps.
"""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

from extip.api.coordination_v1 import Lease
from extip.api.ipcontroller_v1 import IpClaim, IpClaimPool, IpNode
from extip.api.names import heartbeat_lease, node_of_lease
from extip.claims.policy.assignment import on_its_node
from extip.clock import Clock
from extip.page.policy.view import Moves, Update, without_heartbeat
from extip.status.policy.pools import PoolRow, pool_row
from extip.status.policy.table import ClaimRow, NodeRow, claim_row, node_row
from extip.trigger import Trigger

T = TypeVar("T")

INTERVAL_S = 0.2
"""Changes are collected for so long."""

_LEADER_EVERY_S = 1.0
"""No event tells of another leader."""

STEP = 250
"""Rows that are made between two other tasks: some 5 ms."""

MAX_WAITING = 100
"""Updates that wait for a browser that reads slowly; with more it is cut off, and begins anew."""

SILENCE_S = 10.0
"""A dead connection is found when something is sent, so something is sent at least that often."""

NO_LEASE = "its heartbeat is not in the scheduler's namespace"


@dataclass(frozen=True, slots=True, kw_only=True)
class Sources:
    """The caches that the page is made of."""

    claims: Mapping[str, IpClaim]
    nodes: Mapping[str, IpNode]
    leases: Mapping[str, Lease]
    pools: Mapping[str, IpClaimPool]
    namespace: str
    """Where the Leases are."""
    synced: Callable[[], Awaitable[object]]
    """Returns when all of them are filled."""
    leader: Callable[[], str]


class TooSlowError(Exception):
    """A browser did not read its updates."""


class _Viewer:
    """The updates that a browser has not read yet."""

    def __init__(self) -> None:
        self._waiting: asyncio.Queue[Update] = asyncio.Queue()

    def put(self, update: Update) -> None:
        if self._waiting.qsize() <= MAX_WAITING:  # nobody asks for the next one while a write hangs
            self._waiting.put_nowait(update)

    async def next(self) -> Update:
        if self._waiting.qsize() > MAX_WAITING:
            raise TooSlowError
        try:
            async with asyncio.timeout(SILENCE_S):
                return await self._waiting.get()
        except TimeoutError:
            return Update()


class Feed:
    """The rows of the page; the task of `run` keeps them up to date."""

    def __init__(self, sources: Sources, *, clock: Clock) -> None:
        self._sources = sources
        self._clock = clock
        self._ips: dict[str, ClaimRow] = {}
        self._nodes: dict[str, NodeRow] = {}
        self._pools: dict[str, PoolRow] = {}
        self._registered: set[str] = set()
        """The names of IpNodes: the state of a claim depends on them."""
        self._others_registered = False
        self._moves = Moves()
        self._leader = ""
        self._changed: tuple[dict[str, None], dict[str, None], dict[str, None]] = ({}, {}, {})
        """The claims, nodes and pools to look at; in the order in which they changed."""
        self._viewers: set[_Viewer] = set()
        self._filled = asyncio.Event()
        self._news = Trigger()

    # Handlers of informers.

    def on_claim(self, name: str) -> None:
        """Look at a claim again."""
        self._look_at(0, name)

    def on_node(self, name: str) -> None:
        """Look at a node again; and at all claims when it has come or gone."""
        if (name in self._sources.nodes) != (name in self._registered):
            self._registered ^= {name}
            self._others_registered = True
        self._look_at(1, name)

    def on_lease(self, key: str) -> None:
        """Look at the node of a heartbeat again."""
        if name := node_of_lease(key.rpartition("/")[2]):
            self._look_at(1, name)

    def on_pool(self, name: str) -> None:
        """Look at a pool again."""
        self._look_at(2, name)

    def _look_at(self, kind: int, name: str) -> None:
        self._changed[kind][name] = None
        self._news.set()

    # For browsers.

    async def updates(self) -> AsyncGenerator[Update, None]:
        """Yield all that is shown, in parts, then each change.

        An update without content comes when nothing changed for `SILENCE_S`. Raises TooSlowError
        when the reader takes too long.
        """
        await self._filled.wait()
        with self._viewer() as viewer:
            for update in self._all():
                yield update
            while True:
                yield await viewer.next()

    @contextmanager
    def _viewer(self) -> Iterator[_Viewer]:
        viewer = _Viewer()
        self._viewers.add(viewer)
        try:
            yield viewer
        finally:
            self._viewers.discard(viewer)

    def _all(self) -> Iterator[Update]:
        """Yield the page as it is when the first part is taken, in parts of `STEP` rows."""
        names, rows = list(self._ips), list(self._ips.values())
        yield Update(
            fresh=True,
            leader=self._leader,
            nodes=dict(self._nodes),
            pools=dict(self._pools),
            moves=self._moves.all(),
        )
        for begin in range(0, len(names), STEP):
            part = slice(begin, begin + STEP)
            yield Update(ips=dict(zip(names[part], rows[part], strict=True)))

    # The loop.

    async def run(self) -> None:
        """Follow the caches until cancelled."""
        await self._sources.synced()
        for changed, known in zip(self._changed, self._known(), strict=True):
            changed.update(dict.fromkeys(known))
        while True:
            self._news.clear()
            await self._follow()
            self._filled.set()
            await self._clock.sleep(INTERVAL_S)
            await self._news.wait_at_most(_LEADER_EVERY_S)

    def _known(self) -> tuple[Mapping[str, object], ...]:
        return self._sources.claims, self._sources.nodes, self._sources.pools

    async def _follow(self) -> None:
        """Bring all rows up to date, and tell."""
        if self._others_registered:  # once for all nodes that came together
            self._others_registered = False
            self._changed[0].update(dict.fromkeys(self._sources.claims))
        while True:
            update = self._next_update()
            if update:
                for viewer in self._viewers:
                    viewer.put(update)
            if not any(self._changed):
                return
            await self._clock.sleep(0)

    def _next_update(self) -> Update:
        """Bring some rows up to date; return what differs."""
        claims, nodes, pools = self._changed
        ips = self._differences(claims, self._ips, self._claim_row)
        moves = self._moves.add(row for row in ips.values() if row is not None)
        leader, self._leader = self._leader, self._sources.leader()
        return Update(
            leader=None if leader == self._leader else self._leader,
            ips=ips,
            nodes=self._differences(nodes, self._nodes, self._node_row),
            pools=self._differences(pools, self._pools, self._pool_row),
            moves=moves,
        )

    def _differences(
        self, changed: dict[str, None], shown: dict[str, T], make: Callable[[str], T | None]
    ) -> dict[str, T | None]:
        found: dict[str, T | None] = {}
        for name in [name for name, _ in zip(changed, range(STEP), strict=False)]:
            del changed[name]
            row = make(name)
            if row == shown.get(name):
                continue
            found[name] = row
            if row is None:
                shown.pop(name)
            else:
                shown[name] = row
        return found

    def _claim_row(self, name: str) -> ClaimRow | None:
        claim = self._sources.claims.get(name)
        nodes = self._sources.nodes
        return None if claim is None else claim_row(on_its_node(claim, nodes), nodes)

    def _node_row(self, name: str) -> NodeRow | None:
        node = self._sources.nodes.get(name)
        lease = self._sources.leases.get(f"{self._sources.namespace}/{heartbeat_lease(name)}")
        if node is None and lease is None:
            return None
        return without_heartbeat(node_row(name, node, lease, claims=0, missing=NO_LEASE))

    def _pool_row(self, name: str) -> PoolRow | None:
        pool = self._sources.pools.get(name)
        return None if pool is None else pool_row(pool)
