"""An event loop whose clock jumps to the next timer instead of waiting for it.

Sockets work, as long as both ends are in this process: loopback delivers before `send` returns, so
whatever is on its way is seen before time may jump, however loaded the machine is.
"""

import asyncio
import selectors
from collections.abc import Coroutine
from selectors import SelectorKey
from typing import Any, TypeVar

T = TypeVar("T")

IO_GRACE_S = 0.002
"""Real seconds that sockets get before virtual time jumps: for the kernel's deferred work."""

STUCK_S = 5.0
"""Real seconds without timer and without input after which the test is declared deadlocked."""


class _JumpingSelector(selectors.DefaultSelector):
    """Polls real file descriptors, and turns idle waiting into a jump of virtual time."""

    now = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[SelectorKey, int]]:
        ready = super().select(0)
        if ready or (timeout is not None and timeout <= 0):
            return ready
        if timeout is None:
            ready = super().select(STUCK_S)
            if not ready:
                raise RuntimeError("deadlock: every task waits, and no timer is pending")
            return ready
        if len(self.get_map()) > 1:  # more than the loop's own self-pipe
            ready = super().select(IO_GRACE_S)
        if not ready:
            self.now += timeout
        return ready


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """A selector event loop that starts at 0 s and never sleeps."""

    def __init__(self) -> None:
        self._jumping = _JumpingSelector()
        super().__init__(self._jumping)

    def time(self) -> float:
        return self._jumping.now


def run_virtually(main: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine to its end on a fresh virtual-time loop, as `asyncio.run` would."""
    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        return runner.run(main)
