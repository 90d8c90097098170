"""Which nodes' interfaces have just gone down, and which have just come back.

It owns no task: an informer's handler tells it of IpNodes, and it tells its owner when to look
again, also when time alone makes a difference.
"""

import asyncio
from collections.abc import Callable, Iterable, Mapping

from extip.api.ipcontroller_v1 import IpNode
from extip.clock import Clock
from extip.plan.uplinks import RETURN_S, Uplinks, returning

_LATER_S = 0.01
"""A timer may be early by the clock's resolution."""


class UplinkSource:
    """Follows the interfaces that nodes bring IPs up on."""

    def __init__(
        self,
        records: Mapping[str, IpNode],
        *,
        heard_again_at: Callable[[str], float],
        steady_s: float,
        changed: Callable[[], None],
        clock: Clock,
    ) -> None:
        """Compose.

        `heard_again_at` tells when a node was heard again, or is not isolated any more; minus
        infinity for never. `changed` is called when what this tells is another, and `steady_s`
        seconds after an interface came back (0: not then).
        """
        self._records = records
        self._heard_again_at = heard_again_at
        self._steady_s = steady_s
        self._changed = changed
        self._clock = clock
        self._uplinks = Uplinks()

    def record_changed(self, name: str) -> None:
        """Look at an IpNode again (an informer's handler)."""
        record = self._records.get(name)
        if record is None:
            self._uplinks.forget(name)
            return
        for link in (record.status.links or ())[:1]:
            up = link.up
            again_s = self._uplinks.told(name, up=up, now=self._clock.monotonic())
            if again_s is not None:
                self._look_again(again_s)
                if up and self._steady_s:
                    self._look_again(self._steady_s)

    def unsettled(self) -> frozenset[str]:
        """Return the nodes whose interface has just gone down."""
        return self._uplinks.unsettled(self._clock.monotonic())

    def returning(self, names: Iterable[str]) -> frozenset[str]:
        """Return which of these nodes have just come back."""
        now = self._clock.monotonic()
        return returning(((name, self.back_at(name)) for name in names), now)

    def back_at(self, name: str) -> float:
        """Return when a node came back last; minus infinity for never."""
        return max(self._uplinks.back_at(name), self._heard_again_at(name))

    def node_changed(self) -> None:
        """Look again once a node that is heard again, or reached, is back for good."""
        self._look_again(RETURN_S)

    def _look_again(self, after_s: float) -> None:
        asyncio.get_running_loop().call_later(after_s + _LATER_S, self._changed)
