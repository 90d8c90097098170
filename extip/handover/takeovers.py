"""Takeovers of IPs whose former holder is suspected, and may still have them.

A node that its neighbours call silent may be taken for dead before its Lease runs out. So the next
holder asks on the wire first, and the former holder is in its way if it answers. That ends after
`wait_s`. By then the former holder has either read that the IP is another node's, or its Lease is
stale and it makes way.

It owns no task: the inputs of a controller call it.
"""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from extip import log
from extip.api.ipcontroller_v1 import IpNode
from extip.claims.policy.node_claims import HeldClaim
from extip.net.interfaces import IPAddress

_TICK_S = 0.01
"""A timer may fire a moment early."""


class _Entry(NamedTuple):
    """An IP that is taken over."""

    ip: IPAddress
    macs: frozenset[bytes]
    """The MACs of its former holder."""


@dataclass(slots=True)
class _Turn:
    """The claims that come in one turn of the loop: a dead node may leave thousands.

    So a holder is looked up once, and one timer ends all their waits.
    """

    suspects: dict[str, frozenset[bytes] | None] = field(default_factory=dict)
    """The MACs of holders; None for one that is not suspected."""
    begun: dict[str, _Entry] = field(default_factory=dict)


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
        self._from: dict[str, _Entry] = {}
        self._turn: _Turn | None = None
        self._log = log.get_logger("takeovers")

    def begin(self, claim: HeldClaim) -> None:
        """Take a claim that has just become this node's."""
        holder, turn = claim.holder, self._this_turn()
        if claim.interface is None or holder in ("", self._node):
            return
        if holder not in turn.suspects:
            macs = self._macs(holder) if self._is_suspected(holder) else None
            turn.suspects[holder] = macs
        macs = turn.suspects[holder]
        if macs is None:
            return
        if not turn.begun:
            loop = asyncio.get_running_loop()
            loop.call_later(self._wait_s + _TICK_S, self._end, turn.begun)
        entry = _Entry(claim.interface.ip, macs)
        self._from[claim.name] = turn.begun[claim.name] = entry
        self._log.debug("takeover_suspected", claim=claim.name, holder=holder)

    def _this_turn(self) -> _Turn:
        if self._turn is None:
            self._turn = _Turn()
            asyncio.get_running_loop().call_soon(self._end_turn)
        return self._turn

    def _end_turn(self) -> None:
        self._turn = None

    def end(self, claim: str) -> None:
        """Drop a claim that is not this node's any more."""
        self._from.pop(claim, None)

    def opponents(self) -> Mapping[IPAddress, frozenset[bytes]]:
        """Return the MACs that must not answer for an IP before it comes up."""
        return dict(self._from.values())

    def _end(self, begun: Mapping[str, _Entry]) -> None:
        over = [name for name, entry in begun.items() if self._from.get(name) is entry]
        for name in over:
            del self._from[name]
        if over:
            self._on_change()

    def _is_suspected(self, holder: str) -> bool:
        return any(
            holder in (record.status.silent or ())
            for name, record in self._records.items()
            if name != holder
        )
