"""Waiting for a condition with a deadline. No test sleeps otherwise."""

import asyncio
import time
from collections.abc import Callable
from typing import TypeVar

from tests.lab.errors import LabError

T = TypeVar("T")
PATIENCE_S = 120.0
"""How long anything may take on a loaded machine before it counts as failed: longer than the
minute that client-go, in kube-proxy for one, may wait after the API server was away."""


def wait_until(
    condition: Callable[[], T | None],
    what: str,
    *,
    timeout: float = PATIENCE_S,
    poll_s: float = 0.01,
) -> T:
    """Return the first true value of the condition; LabError after `timeout` seconds.

    OSError and LabError from the condition count as "not yet"; the last one is shown at the end.
    """
    deadline = time.monotonic() + timeout
    while True:
        try:
            value = condition()
            last: object = value
        except (OSError, LabError) as error:
            last = error
        else:
            if value:
                return value
        if time.monotonic() > deadline:
            raise LabError(f"waited {timeout} s for {what}; last: {last!r}")
        time.sleep(poll_s)


async def until(condition: Callable[[], object], within_s: float = PATIENCE_S) -> None:
    """Wait for what wakes nobody, a kernel or another process; TimeoutError after `within_s`."""
    async with asyncio.timeout(within_s):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.01)
