"""Follows which nodes their neighbours call silent, and takes one for dead before it is overdue.

`extip.uplink.policy.suspicion` decides. A heartbeat of a node that was taken for dead withdraws the
suspicion, and so do its neighbours when all of them hear it again.

The owner task is `Suspects.run`. `on_record` and `on_lease` are informers' handlers.
"""

from collections.abc import Callable, Mapping

from extip import log
from extip.api.coordination_v1 import Lease
from extip.api.ipcontroller_v1 import IpNode
from extip.api.meta_v1 import parse_version
from extip.api.names import node_of_lease
from extip.clock import Clock
from extip.liveness.lease_content import beat_of, reach_of
from extip.liveness.node_monitor import NodeMonitor
from extip.liveness.policy import Verdict
from extip.metrics import Metrics
from extip.trigger import Trigger
from extip.uplink.inputs import UplinkSource
from extip.uplink.policy.suspicion import LifeSign, NodeStates, Report, Suspicions

_TICK_S = 0.001
"""A timer may fire a moment early."""

Handler = Callable[[str, bool], None]
"""Takes a suspected node, and whether the suspicion is withdrawn."""


class Suspects:
    """The nodes that are called silent."""

    def __init__(
        self,
        verdicts: NodeMonitor,
        records: Mapping[str, IpNode],
        leases: Mapping[str, Lease],
        uplinks: UplinkSource,
        *,
        clock: Clock,
        metrics: Metrics,
    ) -> None:
        self._verdicts = verdicts
        self._records = records
        self._leases = leases
        self._uplinks = uplinks
        self._clock = clock
        self._metrics = metrics
        self._log = log.get_logger("suspects")
        self._policy = Suspicions()
        self._condemned: dict[str, float] = {}
        """Nodes that were taken for dead, each with the time at which it would be overdue."""
        self._objected: set[str] = set()
        self._handlers: list[Handler] = []
        self._triggered = Trigger()

    def add_handler(self, handler: Handler) -> None:
        """Have `handler` called when a node is taken for dead, and when that was wrong."""
        self._handlers.append(handler)

    def on_record(self, name: str) -> None:
        """Read which nodes an IpNode calls silent."""
        record = self._records.get(name)
        if record is None:
            self._policy.forget(name)
            return
        report = Report(
            witness=name,
            silent=frozenset(record.status.silent or ()),
            version=parse_version(record.metadata.resource_version),
        )
        if self._policy.on_report(report, self._clock.monotonic()):
            self._log.info("nodes_called_silent", witness=name, nodes=sorted(report.silent))
            self._triggered.set()
        self._objected = {node for node in self._objected if self._policy.accused(node)}
        for node in [n for n in self._condemned if not self._policy.accused(n)]:
            if self._withdraw(node, "its neighbours hear it again"):
                self._verdicts.acquit(node)

    def on_lease(self, key: str) -> None:
        """Read a heartbeat."""
        lease = self._leases.get(key)
        node = None if lease is None else node_of_lease(lease.metadata.name)
        if lease is None or node is None:
            return
        beat = beat_of(lease)
        heard = LifeSign(
            node=node,
            token=beat.token,
            version=beat.version,
            said=reach_of(lease),
            bound=beat.lease_s > 0,
        )
        if not self._policy.on_heartbeat(heard, self._clock.monotonic()):
            return
        if node in self._condemned:
            self._withdraw(node, "a heartbeat came")
        elif self._policy.accused(node):
            self._notice_objection(node)
            self._triggered.set()

    async def run(self) -> None:
        """Take nodes for dead when that is due, until cancelled."""
        while True:
            self._triggered.clear()
            now = self._clock.monotonic()
            node = self._policy.convicted(self._node_states(), now)
            if node:
                await self._condemn(node)
                continue
            due_at = self._policy.next_at(now)
            await self._triggered.wait_at_most(None if due_at is None else due_at - now + _TICK_S)

    def _node_states(self) -> NodeStates:
        """Return the nodes that are well, and those in trouble."""
        verdicts = self._verdicts.nodes()
        unknown = {name for name, verdict in verdicts.items() if verdict is Verdict.UNKNOWN}
        return NodeStates(
            alive=frozenset(n for n, verdict in verdicts.items() if verdict is Verdict.ALIVE),
            troubled=unknown | self._uplinks.unsettled(),
        )

    async def _condemn(self, node: str) -> None:
        self._policy.convict(node, self._clock.monotonic())
        due_at = await self._verdicts.condemn(node)
        if due_at is None:
            return
        if not self._policy.accused(node):  # its neighbours took that back during the fresh read
            self._verdicts.acquit(node)
            return
        self._log.warning("node_silent", node=node, reason="its neighbours get no answer from it")
        self._metrics.suspicions.labels(result="dead").inc()
        self._condemned[node] = due_at
        self._notify(node, withdrawn=False)

    def _withdraw(self, node: str, why: str) -> bool:
        """End the suspicion; return whether it was wrong: the node is not overdue yet."""
        now = self._clock.monotonic()
        if self._condemned.pop(node) <= now:
            return False
        damped_s = self._policy.was_wrong(node, now)
        self._log.warning("suspicion_withdrawn", node=node, reason=why, damped_s=damped_s)
        self._metrics.suspicions.labels(result="withdrawn").inc()
        self._notify(node, withdrawn=True)
        return True

    def _notice_objection(self, node: str) -> None:
        if node not in self._objected and self._policy.objected(node):
            self._objected.add(node)
            self._log.info("suspicion_objected", node=node)
            self._metrics.suspicions.labels(result="objected").inc()

    def _notify(self, node: str, *, withdrawn: bool) -> None:
        for handler in self._handlers:
            handler(node, withdrawn)
