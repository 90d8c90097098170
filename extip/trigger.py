"""Asks a loop for another look: whoever has a reason sets it, and the loop waits for it."""

import asyncio


class Trigger(asyncio.Event):
    """An event that is awaited for some time at most."""

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
