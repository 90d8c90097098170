"""What happens in the world of a simulation belongs to no process, and no process stops it."""

import asyncio
from collections.abc import Callable
from contextvars import Context
from typing import Any

_WORLD = Context()


def later(delay_s: float, callback: Callable[..., Any], *args: Any) -> asyncio.TimerHandle:
    """Call back after so many of the world's seconds, whoever asks for it."""
    return _WORLD.run(asyncio.get_running_loop().call_later, delay_s, callback, *args)


def now_s() -> float:
    """Return the world's time."""
    return _WORLD.run(asyncio.get_running_loop().time)
