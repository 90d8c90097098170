"""The facts about all nodes, over which the scheduler decides; read anew when one may differ."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from math import inf

from extip.api.core_v1 import Node
from extip.api.ipcontroller_v1 import IpNode
from extip.cache.derived import Derived
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

_Basis = tuple[IpNode | None, KubernetesNode | None, bool, bool, frozenset[str], bool]


def follow_nodes(
    nodes: Informer[Node], *, on_change: Callable[[], None]
) -> Derived[Node, tuple[str, KubernetesNode], dict[str, KubernetesNode]]:
    """Derive the facts of all Nodes, by name."""
    source: Derived[Node, tuple[str, KubernetesNode], dict[str, KubernetesNode]] = Derived(
        get=nodes.store.get,
        extract=lambda node: (node.metadata.name, kubernetes_node(node)),
        combine=dict,
        on_change=on_change,
    )
    nodes.add_handler(source.update)
    return source


class ClusterFacts:
    """Brings heartbeats, IpNodes, Nodes and interfaces together; passes ask for it."""

    def __init__(  # noqa: PLR0913 - all sources of facts
        self,
        monitor: NodeMonitor,
        records: Mapping[str, IpNode],
        uplinks: UplinkSource,
        *,
        kubernetes: Callable[[], Mapping[str, KubernetesNode]],
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
        self._known: tuple[Snapshot, frozenset[str]] | None = None
        self._until = -inf
        self._made: dict[str, tuple[_Basis, NodeFacts]] = {}
        """The facts of each node, with what they were made of."""

    def have_changed(self) -> None:
        """Note that something about a node has changed."""
        self._until = -inf

    def current(self, wishes: Wishes) -> tuple[Snapshot, frozenset[str]]:
        """Return the facts, with these wishes, and the steady nodes.

        The facts are the same object until a fact about a node, or a wish, changes.
        """
        now = self._clock.monotonic()
        if self._known is None or now >= self._until:
            self._known, self._until = self._read(wishes), now + _LAST_S
        cluster, steady = self._known
        new = wishes._asdict()
        if any(getattr(cluster, name) is not wish for name, wish in new.items()):
            self._known = replace(cluster, **new), steady
        return self._known

    def of(self, name: str) -> NodeFacts:
        """Return the facts of one node."""
        return self._of(name, self._kubernetes().get(name))

    def _of(self, name: str, kubernetes: KubernetesNode | None) -> NodeFacts:
        monitor, record = self._monitor, self._records.get(name)
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
        self._made[name] = basis, found
        return found

    def _read(self, wishes: Wishes) -> tuple[Snapshot, frozenset[str]]:
        monitor, uplinks, records = self._monitor, self._uplinks, self._records
        names = sorted({*monitor.nodes(), *records})
        kubernetes = self._kubernetes()
        for name in self._made.keys() - names:
            del self._made[name]
        nodes = {name: self._of(name, kubernetes.get(name)) for name in names}
        cluster = Snapshot(
            nodes=tuple(nodes.values()),
            unknown=frozenset(n for n in names if monitor.verdict(n) is Verdict.UNKNOWN),
            successors={
                _named(holder, nodes): frozenset(_named(one, nodes) for one in successors)
                for holder, successors in monitor.successors().items()
            },
            unsettled=uplinks.unsettled(),
            returning=uplinks.returning(names),
            registered={name: record.metadata.created for name, record in records.items()},
            ignored=self._ignored,
            located=located(records.values()),
            **wishes._asdict(),
        )
        if self._known is not None and self._known[0] == cluster:
            cluster = self._known[0]
        return cluster, frozenset(name for name in names if self._is_steady(name))

    def _is_steady(self, name: str) -> bool:
        monitor = self._monitor
        if not self._rebalance_after_s or monitor.verdict(name) is not Verdict.ALIVE:
            return False
        if monitor.isolated(name) or monitor.unread(name):
            return False
        since = monitor.since(name)
        if since is None:
            return False
        since = max(since, self._uplinks.back_at(name))
        return self._clock.monotonic() - since >= self._rebalance_after_s


def _named(one: LinkId, nodes: Mapping[str, NodeFacts]) -> LinkId:
    """Return the interface by its name, also where a report names none."""
    facts = nodes.get(one.node)
    return one if one.link or facts is None else LinkId(one.node, facts.link)
