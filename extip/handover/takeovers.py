"""Takeovers of IPs whose former holder is suspected, and may still have them.

A node that its neighbours call silent may be taken for dead before its Lease runs out. So the next
holder asks on the wire first, and the former holder is in its way if it answers. That ends after
`wait_s`. By then the former holder has either read that the IP is another node's, or its Lease is
stale and it makes way.

It owns no task: the inputs of a controller call it.
"""

import asyncio
from collections.abc import Callable, Mapping

from extip import log
from extip.api.ipcontroller_v1 import IpNode
from extip.claims.policy.node_claims import HeldClaim
from extip.net.interfaces import IPAddress

_TICK_S = 0.01
"""A timer may fire a moment early."""


class Takeovers:
    """The IPs that this node is to take from suspected nodes."""

    def __init__(
        self,
        node: str,
        records: Mapping[str, IpNode],
        *,
        macs: Callable[[str], frozenset[bytes]],
        wait_s: float,
        on_change: Callable[[], None],
    ) -> None:
        """Compose.

        `macs` returns the MACs of a node. `on_change` is called when an IP may come up although
        its former holder answers.
        """
        self._node = node
        self._records = records
        self._macs = macs
        self._wait_s = wait_s
        self._on_change = on_change
        self._from: dict[str, tuple[IPAddress, frozenset[bytes]]] = {}
        self._log = log.get_logger("takeovers")

    def begin(self, claim: HeldClaim) -> None:
        """Take a claim that has just become this node's."""
        holder = claim.holder
        if claim.interface is None or holder in ("", self._node) or not self._is_suspected(holder):
            return
        entry = claim.interface.ip, self._macs(holder)
        self._from[claim.name] = entry
        asyncio.get_running_loop().call_later(self._wait_s + _TICK_S, self._end, claim.name, entry)
        self._log.debug("takeover_suspected", claim=claim.name, holder=holder)

    def end(self, claim: str) -> None:
        """Drop a claim that is not this node's any more."""
        self._from.pop(claim, None)

    def opponents(self) -> Mapping[IPAddress, frozenset[bytes]]:
        """Return the MACs that must not answer for an IP before it comes up."""
        return dict(self._from.values())

    def _end(self, claim: str, entry: tuple[IPAddress, frozenset[bytes]]) -> None:
        if self._from.get(claim) is entry:
            del self._from[claim]
            self._on_change()

    def _is_suspected(self, holder: str) -> bool:
        return any(
            holder in (record.status.silent or ())
            for name, record in self._records.items()
            if name != holder
        )
