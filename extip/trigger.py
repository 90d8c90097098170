"""Asks a loop for another look: whoever has a reason sets it, and the loop waits for it."""

import asyncio


class Trigger(asyncio.Event):
    """An event that is awaited for some time at most."""

    _timer: asyncio.TimerHandle | None = None

    def set(self) -> None:
        """Set it at once."""
        self._cancel()
        super().set()

    def clear(self) -> None:
        """Clear it; what `set_later` has asked for counts as done."""
        self._cancel()
        super().clear()

    def set_later(self, seconds: float) -> None:
        """Set it after that time, or sooner if that was asked before."""
        if self._timer is None and not self.is_set():
            self._timer = asyncio.get_running_loop().call_later(seconds, self.set)

    def _cancel(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    async def wait_until_quiet(self, quiet_s: float, *, at_most_s: float) -> None:
        """Wait until it is set, and then until it was not set for `quiet_s`; then clear it.

        The second wait takes `at_most_s`.
        """
        await self.wait()
        now = asyncio.get_running_loop().time
        ends_s = now() + at_most_s
        while self.is_set() and now() < ends_s:
            self.clear()
            await self.wait_at_most(quiet_s)
        self.clear()

    async def wait_at_most(self, seconds: float | None) -> bool:
        """Wait until it is set, for that many seconds; None: for ever. Return whether it was."""
        try:
            async with asyncio.timeout(None if seconds is None else max(0.0, seconds)):
                return await self.wait()
        except TimeoutError:
            return False
