"""The facts about all nodes, over which the scheduler decides.

A change of a node costs the facts of that node, however many others there are. Whoever hears of one
calls `note`. What depends on time is looked at when its time has come. A change that nobody told of
is found by a sweep, a few nodes at a time.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from heapq import heappop, heappush
from itertools import islice
from math import inf
from typing import Any

from extip.api.core_v1 import Node
from extip.api.ipcontroller_v1 import IpNode
from extip.cache.changes import give_back
from extip.cache.derived import Parts
from extip.cache.informer import Informer
from extip.clock import Clock
from extip.liveness.node_monitor import NodeMonitor
from extip.liveness.policy import Verdict
from extip.scheduling.policy.filters import KubernetesNode, NodeFacts, Unfit
from extip.scheduling.policy.node_facts import kubernetes_node, located, node_facts
from extip.scheduling.policy.snapshot import Snapshot, Wishes
from extip.uplink.inputs import UplinkSource
from extip.uplink.policy.reachability import LinkId

_LAST_S = 1.0
"""Seconds after which facts are read again without news. Some rules wait for time to pass."""

_SWEPT = 16
"""Nodes that are read again then, though nobody told of a change: all have their turn."""

_PARTS = ("nodes", "unknown", "registered", "located", "isolated", "back_at", "steady_at")

_Basis = tuple[IpNode | None, KubernetesNode | None, bool, bool, frozenset[str], bool]


class ClusterFacts:
    """Brings heartbeats, IpNodes, Nodes and interfaces together; passes ask for it."""

    def __init__(  # noqa: PLR0913 - all sources of facts
        self,
        monitor: NodeMonitor,
        records: Mapping[str, IpNode],
        uplinks: UplinkSource,
        *,
        kubernetes: Callable[[str], KubernetesNode | None],
        ignored: frozenset[Unfit],
        rebalance_after_s: float,
        clock: Clock,
    ) -> None:
        """`rebalance_after_s` is the time after which a node is steady; 0 for never."""
        self._monitor = monitor
        self._records = records
        self._uplinks = uplinks
        self._kubernetes = kubernetes
        self._ignored = ignored
        self._rebalance_after_s = rebalance_after_s
        self._clock = clock
        self._cluster: Snapshot | None = None
        self._steady = frozenset[str]()
        self._until = -inf
        self._stale = True
        """Whether time has changed something, or nodes were looked at ahead of `current`."""
        self._due: dict[str, None] = {}
        """Nodes about which something has changed."""
        self._looked: set[str] = set()
        """Nodes that were looked at since the facts were put together."""
        self._differ: set[str] = set()
        """The parts of the whole that are other ones since then."""
        self._round: list[str] = []
        """The nodes that this round of the sweep has still to look at."""
        self._made: dict[str, tuple[_Basis, NodeFacts]] = {}
        """The facts of each node, with what they were made of."""
        self._parts: dict[str, dict[str, Any]] = {part: {} for part in _PARTS}
        """The contribution of each node to each part of the whole, by name; none has no entry."""
        self._steady_soon: list[tuple[float, str]] = []
        """A heap of nodes that are steady from a time on that is to come."""

    def note(self, name: str) -> None:
        """Note that something about a node has changed (also an informer's handler)."""
        self._due[name] = None

    def have_changed(self) -> None:
        """Note that time has changed something."""
        self._stale = True

    def read(self, most: int) -> bool:
        """Look at up to `most` of the nodes that have changed; return whether that was all.

        The facts stay as they are until `current` has looked at the rest.
        """
        self._begin()
        names = list(islice(self._due, most))
        for name in names:
            del self._due[name]
        self._look_at(names, self._clock.monotonic())
        self._stale |= bool(names)
        give_back(self._due)
        return not self._due

    def current(self, wishes: Wishes) -> tuple[Snapshot, frozenset[str]]:
        """Return the facts, with these wishes, and the steady nodes.

        The facts are the same object until a fact about a node, or a wish, changes.
        """
        now = self._clock.monotonic()
        known = self._cluster
        if self._stale or self._due or now >= min(self._until, self._next_steady_at()):
            changes = self._read(known, now)
            self._stale = False
        else:
            changes = {}
        new = wishes._asdict()
        if known is None:
            known = self._cluster = Snapshot(ignored=self._ignored, **changes, **new)
        else:
            changes |= {k: wish for k, wish in new.items() if getattr(known, k) is not wish}
            if changes:
                known = self._cluster = replace(known, **changes)
        return known, self._steady

    def of(self, name: str) -> NodeFacts:
        """Return the facts of one node."""
        monitor, record = self._monitor, self._records.get(name)
        kubernetes = self._kubernetes(name)
        alive = monitor.verdict(name) is Verdict.ALIVE
        leaving = bool(monitor.leaving(name))
        isolated, unread = monitor.isolated(name), monitor.unread(name)
        basis = record, kubernetes, alive, leaving, isolated, unread
        known = self._made.get(name)
        if known is not None and known[0] == basis:
            return known[1]
        found = node_facts(
            name,
            record,
            kubernetes,
            alive=alive,
            leaving=leaving,
            isolated=isolated,
            unread=unread,
        )
        if known is not None and known[1] == found:
            found = known[1]
        self._made[name] = basis, found
        return found

    def _read(self, known: Snapshot | None, now: float) -> dict[str, Any]:
        """Read what may have changed; return the fields of the snapshot that are other ones."""
        self._look_at(self._take_due(now), now)
        looked, self._looked = self._looked, set()
        differ, self._differ = self._differ, set()
        steady_at, nodes = self._parts["steady_at"], self._parts["nodes"]
        now_steady = (name for name in looked if steady_at.get(name, inf) <= now)
        steady = self._steady.difference(looked).union(now_steady)
        self._steady = self._steady if steady == self._steady else steady
        found: dict[str, Any] = {}
        if "nodes" in differ or known is None:
            found["nodes"] = tuple(nodes[name] for name in sorted(nodes))
        if "registered" in differ:
            found["registered"] = dict(self._parts["registered"])
        if "located" in differ:
            found["located"] = located(self._parts["located"].values())
        return found | self._relations(known)

    def _look_at(self, names: Iterable[str], now: float) -> None:
        """Look at nodes, and note what is another one."""
        for name in names:
            parts = [part for part, one in self._look(name).items() if self._put(part, name, one)]
            at = self._parts["steady_at"].get(name, inf)
            if "steady_at" in parts and now < at < inf:
                heappush(self._steady_soon, (at, name))
            self._differ.update(parts)
            self._looked.add(name)

    def _begin(self) -> None:
        """Have all nodes looked at, while it is not known that all are due by now."""
        if self._cluster is None:
            all_nodes = {*self._monitor.nodes(), *self._records}
            self._due |= dict.fromkeys(all_nodes.difference(self._looked))

    def _take_due(self, now: float) -> list[str]:
        """Return the nodes to look at, in order."""
        self._begin()
        due, self._due = self._due, {}
        if now >= self._until:
            self._until = now + _LAST_S
            due |= dict.fromkeys(self._sweep())
        while self._next_steady_at() <= now:
            due[heappop(self._steady_soon)[1]] = None
        return sorted(due)

    def _sweep(self) -> list[str]:
        """Return the next nodes of all; those that are gone have their turn, too."""
        if not self._round:
            all_nodes = {*self._monitor.nodes(), *self._records, *self._parts["nodes"]}
            self._round = sorted(all_nodes)
        found = self._round[-_SWEPT:]
        del self._round[-_SWEPT:]
        return found

    def _look(self, name: str) -> dict[str, object]:
        """Return the contribution of one node to each part of the whole; None for none."""
        record, since = self._records.get(name), self._monitor.since(name)
        if record is None and since is None:
            self._made.pop(name, None)
            return dict.fromkeys(_PARTS)
        facts, back_at = self.of(name), self._uplinks.back_at(name)
        steady_at = self._steady_from(name, since, back_at)
        return {
            "nodes": facts,
            "unknown": self._monitor.verdict(name) is Verdict.UNKNOWN or None,
            "registered": None if record is None else record.metadata.created,
            "located": None if record is None or not record.status.held else record,
            "isolated": bool(facts.isolated) or None,
            "back_at": back_at if back_at > -inf else None,
            "steady_at": steady_at if steady_at < inf else None,
        }

    def _put(self, part: str, name: str, new: object) -> bool:
        """Note the contribution of a node to a part; return whether it is another one."""
        known = self._parts[part]
        if known.get(name) == new:
            return False
        if new is None:
            del known[name]
        else:
            known[name] = new
        return True

    def _relations(self, known: Snapshot | None) -> dict[str, Any]:
        """Return what depends on several nodes, or on time, where it is another one."""
        nodes, back = self._parts["nodes"], self._parts["back_at"]
        returning = self._uplinks.returning(back)
        for name in back.keys() - returning:
            del back[name]
        successors = self._monitor.successors() if self._parts["isolated"] else {}
        found = {
            "unknown": frozenset(self._parts["unknown"]),
            "successors": {
                _named(holder, nodes): frozenset(_named(one, nodes) for one in others)
                for holder, others in successors.items()
            },
            "unsettled": self._uplinks.unsettled(),
            "returning": returning,
        }
        return {
            part: one for part, one in found.items() if known is None or one != getattr(known, part)
        }

    def _next_steady_at(self) -> float:
        return self._steady_soon[0][0] if self._steady_soon else inf

    def _steady_from(self, name: str, since: float | None, back_at: float) -> float:
        """Return the time from which a node is steady while nothing changes; infinity for never."""
        monitor = self._monitor
        alive = monitor.verdict(name) is Verdict.ALIVE
        if not self._rebalance_after_s or since is None or not alive:
            return inf
        if monitor.isolated(name) or monitor.unread(name):
            return inf
        return max(since, back_at) + self._rebalance_after_s


def _named(one: LinkId, nodes: Mapping[str, NodeFacts]) -> LinkId:
    """Return the interface by its name, also where a report names none."""
    facts = nodes.get(one.node)
    return one if one.link or facts is None else LinkId(one.node, facts.link)


def gather_facts(  # noqa: PLR0913 - all sources of facts
    monitor: NodeMonitor,
    records: Informer[IpNode],
    nodes: Informer[Node],
    uplinks: UplinkSource,
    *,
    on_change: Callable[[], None],
    ignored: frozenset[Unfit],
    rebalance_after_s: float,
    clock: Clock,
) -> ClusterFacts:
    """Compose the facts, and have the caches tell them; `on_change` is called for Nodes alone."""
    kubernetes = Parts(get=nodes.store.get, extract=kubernetes_node, on_change=on_change)
    nodes.add_handler(kubernetes.update)
    found = ClusterFacts(
        monitor,
        records.store,
        uplinks,
        kubernetes=kubernetes.get,
        ignored=ignored,
        rebalance_after_s=rebalance_after_s,
        clock=clock,
    )
    nodes.add_handler(found.note)
    records.add_handler(found.note)
    return found
