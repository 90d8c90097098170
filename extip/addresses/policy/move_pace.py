"""The pace at which addresses are moved behind the node's own ones."""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

from extip.addresses.policy.readd_backoff import AT_ONCE, CALM_S
from extip.net.interfaces import Change, Operation

_EACH_RESYNC = 0.9
"""Share of a resync interval after which the next one counts: resyncs vary a little."""


@dataclass(slots=True)
class MovePace:
    """Remembers when addresses were moved; a plain value that takes the time in seconds.

    A move takes an address away for some microseconds. Another program may remove and add the
    node's own address again and again, or a kernel may order addresses in an unexpected way. Such a
    case is answered at once a few times, and then every `slowest_s`, until a calm minute has
    passed.
    """

    slowest_s: float
    _at: deque[float] = field(default_factory=lambda: deque(maxlen=AT_ONCE))

    def paced(self, changes: Sequence[Change], now: float) -> Sequence[Change]:
        """Return the changes, without the moves when it is too early for them."""
        if all(change.operation is not Operation.MOVE for change in changes):
            return changes
        if (
            len(self._at) == AT_ONCE
            and now - self._at[0] < CALM_S
            and now - self._at[-1] < _EACH_RESYNC * self.slowest_s
        ):
            return [change for change in changes if change.operation is not Operation.MOVE]
        self._at.append(now)
        return changes
