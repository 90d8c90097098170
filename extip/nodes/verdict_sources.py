"""The facts for the verdict on each node, from the scheduler's caches."""

from collections.abc import Callable, Collection

from extip.api.coordination_v1 import Lease
from extip.api.meta_v1 import Condition
from extip.api.names import heartbeat_lease
from extip.clock import Clock
from extip.liveness.node_monitor import NodeMonitor
from extip.liveness.policy import Verdict
from extip.nodes.policy.verdict import Evidence, Heartbeat, namesake, ready_condition
from extip.scheduling.policy.filters import NodeFacts, Unfit


class VerdictSources:
    """Judges nodes by the facts that placement uses."""

    def __init__(  # noqa: PLR0913 - a composition of parts and plain values
        self,
        monitor: NodeMonitor,
        *,
        facts: Callable[[str], NodeFacts],
        lease: Callable[[str], Lease | None],
        kubernetes: Collection[str],
        namespace: str,
        patience_s: float,
        ignored: frozenset[Unfit],
        clock: Clock,
    ) -> None:
        """`lease` looks one up by its key; `kubernetes` has the names of Kubernetes nodes.

        A node about which nothing is known is judged after `patience_s`.
        """
        self._monitor = monitor
        self._facts = facts
        self._lease = lease
        self._kubernetes = kubernetes
        self._namespace = namespace
        self._patience_s = patience_s
        self._ignored = ignored
        self._clock = clock

    def judge(self, node: str) -> Condition | None:
        """Return the condition that an IpNode should have; None while it is not clear."""
        verdict, heartbeat = self._monitor.verdict(node), self._heartbeat(node)
        if verdict is Verdict.UNKNOWN and heartbeat is not Heartbeat.NONE:
            since = self._monitor.since(node)
            if since is None or self._clock.monotonic() - since < self._patience_s:
                return None
        facts = self._facts(node)
        other = namesake(node, self._kubernetes) if facts.kubernetes is None else ""
        evidence = Evidence(
            verdict=verdict,
            heartbeat=heartbeat,
            namespace=self._namespace,
            leaving=self._monitor.leaving(node),
            namesake=other,
        )
        return ready_condition(facts, evidence, ignored=self._ignored)

    def _heartbeat(self, node: str) -> Heartbeat:
        lease = self._lease(f"{self._namespace}/{heartbeat_lease(node)}")
        if lease is None:
            return Heartbeat.NONE
        return Heartbeat.HELD if lease.holder else Heartbeat.GIVEN_UP
