"""Notices that this node cannot read its claims, although its heartbeats are taken.

The owner task is `UnreadClaims.run`.
"""

from collections.abc import Callable

from extip import log
from extip.clock import Clock

_LOOK_S = 2.5


class UnreadClaims:
    """Checks every `_LOOK_S`."""

    def __init__(
        self, unread: Callable[[], str], *, on_change: Callable[[], None], clock: Clock
    ) -> None:
        """`unread` returns the reason why claims cannot be read; empty while they can."""
        self._unread = unread
        self._on_change = on_change
        self._clock = clock
        self._log = log.get_logger("controller")

    async def run(self) -> None:
        """Log when the reason changes, and call `on_change`; until cancelled."""
        before = ""
        while True:
            await self._clock.sleep(_LOOK_S)
            if (unread := self._unread()) != before:
                before = unread
                self._log.warning("claims_unread" if unread else "claims_read_again", error=unread)
                self._on_change()
