"""Free IPs x time → when a pass is asked for, which brings many of them up. Pure."""

from collections.abc import Callable
from math import inf

_APART_S = 0.02
"""Least time between two requests for a pass."""

_EACH_S, _LONGEST_S = 50e-6, 0.1
"""A pass looks at all IPs. So it waits so long for each that is still asked for, up to a maximum:
after the death of a node thousands are asked for, and turn out to be free one after the other."""


class PassPace:
    """Whether some IPs may come up, and when they do. Times are in seconds on any clock."""

    def __init__(self) -> None:
        self._since: float | None = None
        self._asked_at = -inf

    def found_free(self, now: float) -> None:
        """Note that some IPs may come up."""
        if self._since is None:
            self._since = now

    def forget(self) -> None:
        """Note that no IP waits for a pass: one is under way, or there is no interface."""
        self._since = None

    def due_s(self, now: float, asking: Callable[[], int]) -> float | None:
        """Return the seconds until a pass is due; None while it would bring nothing up.

        `asking` counts the IPs that are still asked for.
        """
        if self._since is None:
            return None
        at = max(self._asked_at + _APART_S, self._since + min(_LONGEST_S, asking() * _EACH_S))
        return max(0.0, at - now)

    def asked(self, now: float) -> None:
        """Note that a pass was asked for."""
        self._since, self._asked_at = None, now
