"""Tasks that run beside a block of a test."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Sequence
from contextlib import asynccontextmanager
from typing import Any


@asynccontextmanager
async def beside(*jobs: Awaitable[Any]) -> AsyncIterator[Sequence[asyncio.Future[Any]]]:
    """Run jobs until the block ends, where they are cancelled; none may end by itself before."""
    tasks = [asyncio.ensure_future(job) for job in jobs]
    try:
        yield tasks
        for task in tasks:
            assert task.cancelled() or not task.done(), task
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
