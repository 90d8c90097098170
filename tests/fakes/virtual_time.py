"""An event loop whose clock jumps to the next timer instead of waiting for it.

Sockets work as long as both ends are in this process: time does not jump while anything is on its
way between them, however loaded the machine is.
"""

import asyncio
import selectors
import socket
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from selectors import SelectorKey
from typing import Any, TypeVar

from extip.clock import LoopClock

T = TypeVar("T")

EPOCH = datetime(2026, 1, 1, tzinfo=UTC)
"""The wall-clock time at 0 s."""

STUCK_S = 20.0
"""Real seconds without timer and without input after which the test is declared deadlocked."""

STILL = 10_000
"""Looks without a jump after which time moves by a nanosecond. A timer that is early by a rounding
error, and is set again for the same time, would keep time from moving for ever."""

ROUND_TRIPS = 3
"""A TCP handshake crosses the kernel's queue three times, more than anything else does."""


class _Canary:
    """A TCP connection to ourselves that shows whether loopback has delivered all there was.

    Loopback packets wait in a first-in-first-out queue, which a busy machine may leave to a kernel
    thread. What was sent before a byte on this connection has arrived when that byte has.
    """

    def __init__(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            self._here = socket.create_connection(listener.getsockname())
            self._there, _ = listener.accept()
        for end in (self._here, self._there):
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def settle(self) -> None:
        for _ in range(ROUND_TRIPS):
            self._here.send(b"?")
            self._there.recv(1)
            self._there.send(b"!")
            self._here.recv(1)

    def close(self) -> None:
        self._here.close()
        self._there.close()


class _JumpingSelector(selectors.DefaultSelector):
    """Polls real file descriptors, and turns idle waiting into a jump of virtual time."""

    now = 0.0
    _still = 0
    _canary: _Canary | None = None

    def __init__(self) -> None:
        super().__init__()
        self.onlookers: list[Callable[[], None]] = []

    def select(self, timeout: float | None = None) -> list[tuple[SelectorKey, int]]:
        ready = super().select(0)
        if ready or (timeout is not None and timeout <= 0):
            self._still += 1
            if self._still % STILL == 0:
                self.now += 1e-9
            return ready
        if timeout is None:
            ready = super().select(STUCK_S)
            if not ready:
                raise RuntimeError("deadlock: every task waits, and no timer is pending")
            return ready
        if len(self.get_map()) > 1:  # more than the loop's own self-pipe
            self._canary = self._canary or _Canary()
            self._canary.settle()
            ready = super().select(0)
        if not ready:
            for look in self.onlookers:
                look()
            self.now += timeout
            self._still = 0
        return ready

    def close(self) -> None:
        if self._canary is not None:
            self._canary.close()
        super().close()


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """A selector event loop that starts at 0 s and never sleeps."""

    def __init__(self) -> None:
        self._jumping = _JumpingSelector()
        super().__init__(self._jumping)

    def time(self) -> float:
        return self._jumping.now

    def jump(self, seconds: float) -> None:
        """Move the clock on at once."""
        self._jumping.now += seconds

    @contextmanager
    def watched(self, look: Callable[[], None]) -> Iterator[None]:
        """Have `look` called each time before the clock moves: it sees every state that lasts."""
        self._jumping.onlookers.append(look)
        try:
            yield
        finally:
            self._jumping.onlookers.remove(look)


class VirtualClock(LoopClock):
    """The virtual loop's time, and a wall clock that follows it."""

    def utcnow(self) -> datetime:
        return EPOCH + timedelta(seconds=self.monotonic())


def run_virtually(main: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine to its end on a fresh virtual-time loop, as `asyncio.run` would."""
    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        return runner.run(main)


def virtually(test: Callable[[], Coroutine[Any, Any, None]]) -> Callable[[], None]:
    """Run an async test in virtual time: hours pass in milliseconds."""

    def run() -> None:
        run_virtually(test())

    run.__name__, run.__doc__ = test.__name__, test.__doc__
    return run


def jump(seconds: float) -> None:
    """Let virtual time pass with no task running, as for a process that was stopped (SIGSTOP)."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualTimeLoop)
    loop.jump(seconds)
