"""The ``Authorization`` header of the next request, through every rotation of the token."""

import asyncio
import contextlib
import os
import signal
from collections.abc import Awaitable, Callable
from pathlib import Path

from extip.clock import Clock, LoopClock
from extip.errors import ConfigurationError
from extip.log import get_logger

REFRESH_S = 60.0
"""How often a token is looked up again. Kubelets replace theirs at 80 % of an hour or more."""

_END_S = 1.0
"""Bound on the end of a program that was killed."""

_LOOK_S = 0.01
"""Between two looks whether it has ended."""

_TOLD_S = 0.05
"""Until the loop has been told of an end, and pipes are closed."""

LOAD_TIMEOUT_S = 30.0
"""Bound on reading credentials: exec plugins may ask the network."""


async def load_in_time(load: Callable[[], Awaitable[str]], *, source: str) -> str:
    """Return what `load` does; raises `ConfigurationError` when that takes `LOAD_TIMEOUT_S`.

    A program that it started is killed then: kubernetes_asyncio leaves it running, and a plugin
    that hangs would be there once more after each try.
    """
    others, clock = _children(), LoopClock()
    try:
        async with asyncio.timeout(LOAD_TIMEOUT_S):
            return await load()
    except TimeoutError:
        raise ConfigurationError(
            f"{source}: no credentials within {LOAD_TIMEOUT_S:g} s: its exec plugin or identity "
            "provider does not answer"
        ) from None
    finally:
        if started := _children() - others:
            for pid in started:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            await _wait_for_end(started, clock)


async def _wait_for_end(pids: set[int], clock: Clock) -> None:
    """Wait, within a bound, until they have ended and the loop knows: closed before, it complains.

    Who waits for them is a thread of asyncio's.
    """
    deadline = clock.monotonic() + _END_S
    while _children() & pids and clock.monotonic() < deadline:
        await clock.sleep(_LOOK_S)
    await clock.sleep(_TOLD_S)


def _children() -> set[int]:
    """Return the programs that this thread has started and that have not been waited for."""
    try:
        return {int(pid) for pid in Path("/proc/thread-self/children").read_text().split()}
    except OSError:  # the kernel was built without CONFIG_PROC_CHILDREN
        return set()


class Credentials:
    """Keeps the header; `refresh` may answer from a cache that knows its expiry, `reload` may not.

    Both return the header (empty: send none), or raise `ConfigurationError` in time. When they
    fail, the last header stays in use: the server decides whether it is still good.
    """

    def __init__(
        self,
        header: str,
        *,
        refresh: Callable[[], Awaitable[str]],
        reload: Callable[[], Awaitable[str]],
        clock: Clock,
    ) -> None:
        self._header = header
        self._refresh = refresh
        self._reload = reload
        self._clock = clock
        self._read_s = clock.monotonic()
        self._lock = asyncio.Lock()
        self._failed = False
        self._logger = get_logger("kube")

    async def header(self) -> str:
        """Return the header to send now; reads it anew once a minute."""
        if self._clock.monotonic() - self._read_s >= REFRESH_S:
            async with self._lock:
                if self._clock.monotonic() - self._read_s >= REFRESH_S:
                    await self._update(self._refresh)
        return self._header

    async def rejected(self, header: str) -> bool:
        """Read all anew after a 401 to `header`; return whether there is another one to try."""
        async with self._lock:
            if self._header == header:
                await self._update(self._reload)
        return self._header != header

    async def _update(self, load: Callable[[], Awaitable[str]]) -> None:
        self._read_s = self._clock.monotonic()
        try:
            self._header = await load()
        except ConfigurationError as error:
            if not self._failed:
                self._logger.warning("credentials_unreadable", error=str(error))
            self._failed = True
        else:
            self._failed = False
