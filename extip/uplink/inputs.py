"""Follows the interfaces of nodes: which have just gone down, and which have just come back.

It owns no task. An informer's handler reports IpNodes to it. It calls `on_change` when its answers
change, also when only time changes them.
"""

import asyncio
from collections.abc import Callable, Iterable, Mapping

from extip.api.ipcontroller_v1 import IpNode
from extip.api.node_links import selected_links
from extip.clock import Clock
from extip.uplink.policy.settling import RETURN_S, Uplinks, returning

_LATER_S = 0.01
"""A timer may fire this many seconds early."""


class UplinkSource:
    """Follows the interfaces that nodes bring IPs up on."""

    def __init__(
        self,
        records: Mapping[str, IpNode],
        *,
        heard_again_at: Callable[[str], float],
        steady_s: float,
        on_change: Callable[[], None],
        clock: Clock,
    ) -> None:
        """Compose.

        `heard_again_at` returns when a node was heard again, or stopped being isolated; minus
        infinity for never. `on_change` is called when the answers of this class change, and
        `steady_s` seconds after an interface came back (0: not then).
        """
        self._records = records
        self._heard_again_at = heard_again_at
        self._steady_s = steady_s
        self._on_change = on_change
        self._clock = clock
        self._uplinks = Uplinks()

    def on_record(self, name: str) -> None:
        """Read an IpNode again (an informer's handler)."""
        record = self._records.get(name)
        if record is None:
            self._uplinks.forget(name)
            return
        for link in selected_links(record):
            up, now = link.up, self._clock.monotonic()
            again_s = self._uplinks.on_link_state(name, link=link.name, up=up, now=now)
            if again_s is not None:
                self._look_again(again_s)
                if up and self._steady_s:
                    self._look_again(self._steady_s)

    def unsettled(self) -> frozenset[str]:
        """Return the nodes whose interface has just gone down."""
        return self._uplinks.unsettled(self._clock.monotonic())

    def returning(self, names: Iterable[str]) -> frozenset[str]:
        """Return the nodes of these that have just come back."""
        now = self._clock.monotonic()
        return returning(((name, self.back_at(name)) for name in names), now)

    def back_at(self, name: str) -> float:
        """Return when a node came back last; minus infinity for never."""
        return max(self._uplinks.back_at(name), self._heard_again_at(name))

    def on_node_heard(self) -> None:
        """Call `on_change` once a node that is heard or reached again is back for good."""
        self._look_again(RETURN_S)

    def _look_again(self, after_s: float) -> None:
        asyncio.get_running_loop().call_later(after_s + _LATER_S, self._on_change)
