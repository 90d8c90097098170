"""Forgets nodes that are gone for good, and warns when no heartbeats are found.

A dead node stays known while its IpNode, its Lease, or a claim with its name exists. When all are
gone, a person has removed the node, and it is forgotten.

It owns no task: its handlers schedule one look, `after_s` later.
"""

import asyncio
from collections.abc import Callable, Collection, Mapping

from extip import log
from extip.api.ipcontroller_v1 import IpClaim
from extip.api.names import node_of_lease
from extip.liveness.node_monitor import NodeMonitor
from extip.liveness.policy import Verdict


class StaleNodeCollector:
    """Compares IpNodes, Leases and claims."""

    def __init__(  # noqa: PLR0913 - a composition of parts and plain values
        self,
        known: NodeMonitor,
        *,
        records: Collection[str],
        leases: Collection[str],
        claims: Mapping[str, IpClaim],
        namespace: str,
        after_s: float,
        ready: Callable[[], bool],
        on_change: Callable[[str], None],
    ) -> None:
        """Compose.

        `records` has the names of IpNodes, `leases` the keys of heartbeat Leases in `namespace`.
        `ready` tells whether all of them are known. `on_change` is called with each node
        after it was forgotten.
        """
        self._known = known
        self._records = records
        self._leases = leases
        self._claims = claims
        self._namespace = namespace
        self._after_s = after_s
        self._ready = ready
        self._on_change = on_change
        self._log = log.get_logger("garbage")
        self._pending = False
        self._named = False
        self._warned = False

    def on_record(self, name: str) -> None:
        """Look after an IpNode is gone, or while there is no heartbeat; an informer's handler."""
        if name not in self._records or not self._leases:
            self.trigger()

    def on_lease(self, key: str) -> None:
        """Look after a Lease is gone; an informer's handler."""
        if key not in self._leases:
            self.trigger()

    def on_claim(self, _name: str) -> None:
        """Look while only claims are left of a node; an informer's handler."""
        if self._named:
            self.trigger()

    def trigger(self) -> None:
        """Look soon; other changes have some time to arrive."""
        if not self._pending:
            self._pending = True
            asyncio.get_running_loop().call_later(self._after_s, self._look)

    def _look(self) -> None:
        self._pending = False
        if not self._ready():
            return
        beating = {node_of_lease(key.rpartition("/")[2]) for key in self._leases}
        dead = {name for name, verdict in self._known.nodes().items() if verdict is Verdict.DEAD}
        self._forget(dead.difference(self._records, beating))
        silent = bool(self._records) and not beating
        if silent and not self._warned:
            self._log.warning(
                "heartbeats_not_found",
                namespace=self._namespace,
                nodes=len(self._records),
                reason="there are IpNodes, but no Lease in this namespace: do the controllers run "
                "with the same --namespace?",
            )
        self._warned = silent

    def _forget(self, gone: set[str]) -> None:
        named = {c.spec.node_name for c in self._claims.values()} if gone else set[str]()
        self._named = bool(gone & named)
        for node in sorted(gone - named):
            self._known.forget(node)
            self._log.info("node_forgotten", node=node)
            self._on_change(node)
