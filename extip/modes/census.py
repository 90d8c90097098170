"""Which nodes are gone for good, and whether heartbeats are looked for in the right place.

A node that is dead stays known as long as anything is left of it: its IpNode, its Lease, or a claim
that names it. When all are gone, a person has removed it, and nothing is to be said of it any more.

It owns no task: its owner tells it when to look, and it looks once, `after_s` later.
"""

import asyncio
from collections.abc import Callable, Collection, Mapping
from typing import Protocol

from extip import log
from extip.api.ipcontroller_v1 import IpClaim
from extip.api.names import node_of_lease
from extip.plan.liveness import Verdict


class Known(Protocol):
    """What is known of nodes by their heartbeats."""

    def nodes(self) -> Mapping[str, Verdict]:
        """Return every node that is known, with its verdict."""

    def forget(self, node: str) -> None:
        """Drop a node whose Lease is gone and that no claim names."""


class Census:
    """Compares IpNodes, Leases and claims."""

    def __init__(  # noqa: PLR0913 - a composition of ports and plain values
        self,
        known: Known,
        *,
        records: Collection[str],
        leases: Collection[str],
        claims: Mapping[str, IpClaim],
        namespace: str,
        after_s: float,
        ready: Callable[[], bool],
        changed: Callable[[], None],
    ) -> None:
        """Compose.

        `records` has the names of IpNodes, `leases` the keys of heartbeat Leases in `namespace`.
        `ready` says whether all of them are known; `changed` is called when a node was dropped.
        """
        self._known = known
        self._records = records
        self._leases = leases
        self._claims = claims
        self._namespace = namespace
        self._after_s = after_s
        self._ready = ready
        self._changed = changed
        self._log = log.get_logger("census")
        self._pending = False
        self._named = False
        self._warned = False

    def record_changed(self, name: str) -> None:
        """Look, when an IpNode went, or while there is no heartbeat (an informer's handler)."""
        if name not in self._records or not self._leases:
            self.look()

    def lease_changed(self, key: str) -> None:
        """Look, when a Lease went (an informer's handler)."""
        if key not in self._leases:
            self.look()

    def claim_changed(self, _name: str) -> None:
        """Look, while claims are all that is left of a node (an informer's handler)."""
        if self._named:
            self.look()

    def look(self) -> None:
        """Look soon; what else is about to change has some time to do so."""
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
        if gone - named:
            self._changed()
