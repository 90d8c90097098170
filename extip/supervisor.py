"""Runs the long-lived parts of a process; the only module that opens a TaskGroup.

A component runs until it is cancelled or fails. When one fails, the others are cancelled and
awaited before the failure is raised, so nothing keeps writing behind the caller's back. Returning
is a fault too: a process that silently lost a part must not look healthy.
"""

import asyncio
import errno
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from threading import Thread
from typing import Any, TypeVar

from extip.errors import StoppedError

T = TypeVar("T")
U = TypeVar("U")
V = TypeVar("V")

_SIGNALS = (signal.SIGTERM, signal.SIGINT)


def run_process(main: Coroutine[Any, Any, T]) -> T:
    """Run `main` to its end like `asyncio.run`, and wait for no thread after it."""
    with asyncio.Runner() as runner:
        runner.get_loop().set_default_executor(_DaemonThreads())
        return runner.run(main)


class _DaemonThreads(ThreadPoolExecutor):
    """A thread for each call, which the end of the process does not wait for.

    The calls are `getaddrinfo`, which takes half a minute when no name server answers and cannot be
    cut short. With a pool, a few of them would also keep all others waiting.
    """

    def submit(
        self,
        fn: Callable[..., T],
        /,
        *args: Any,  # noqa: ANN401 - as in the library
        **kwargs: Any,  # noqa: ANN401
    ) -> Future[T]:
        """Call `fn` in a thread of its own."""
        future: Future[T] = Future()

        def call() -> None:
            try:
                result = fn(*args, **kwargs)
            except BaseException as error:  # noqa: BLE001 - whoever waits for the future raises it
                future.set_exception(error)
            else:
                future.set_result(result)

        if future.set_running_or_notify_cancel():
            try:
                Thread(target=call, name="extip-call", daemon=True).start()
            except RuntimeError as error:  # the limit of processes is reached
                future.set_exception(OSError(errno.EAGAIN, str(error)))
        return future


@dataclass(frozen=True, slots=True)
class Component:
    """A named coroutine that ends only by cancellation or error."""

    name: str
    run: Callable[[], Awaitable[None]]


async def supervise(components: Sequence[Component]) -> None:
    """Run `components` until cancelled; raises an ExceptionGroup of what failed."""
    async with asyncio.TaskGroup() as group:
        for component in components:
            group.create_task(_guarded(component), name=component.name)


async def run_beside(components: Sequence[Component], job: Callable[[], Awaitable[T]]) -> T:
    """Run `components` while `job` runs; cancel and await them when it ends.

    Returns the job's result; raises an ExceptionGroup of what failed, job or component.
    """
    async with asyncio.TaskGroup() as group:
        tasks = [
            group.create_task(_guarded(component), name=component.name) for component in components
        ]
        result = await job()
        for task in tasks:
            task.cancel()
    return result


async def both(
    first: Callable[[], Awaitable[T]], second: Callable[[], Awaitable[U]]
) -> tuple[T, U]:
    """Await two things side by side.

    Raises the error of the first one that fails; the other is cancelled and awaited then. A caller
    that is cancelled stays so, whatever fails in the same moment: a TaskGroup of Python 3.11 that
    knows of an error forgets the cancellation.
    """
    failures: list[Exception] = []

    async def attempt(job: Callable[[], Awaitable[V]]) -> V:
        try:
            return await job()
        except Exception as error:
            failures.append(error)
            for task in tasks:
                task.cancel()
            raise asyncio.CancelledError from error

    async with asyncio.TaskGroup() as group:
        tasks = group.create_task(attempt(first)), group.create_task(attempt(second))
    if failures:
        raise failures[0]
    return tasks[0].result(), tasks[1].result()


async def for_each(items: Iterable[T], do: Callable[[T], Awaitable[None]], *, limit: int) -> None:
    """Await `do(item)` for every item, at most `limit` at once; begun in the order of the items.

    Raises an ExceptionGroup when one fails; the others are cancelled and awaited then.
    """
    waiting = iter(items)

    async def work() -> None:
        for item in waiting:
            await do(item)

    async with asyncio.TaskGroup() as group:
        for _ in range(limit):
            group.create_task(work())


async def for_each_coming(items: AsyncIterator[T], do: Callable[[T], Awaitable[None]]) -> None:
    """Await `do(item)` for every item as soon as it comes, all side by side.

    Raises an ExceptionGroup when one fails. Then, and when this is cancelled, all are cancelled and
    awaited.
    """
    async with asyncio.TaskGroup() as group:
        async for item in items:
            group.create_task(_done(do, item))


async def _done(do: Callable[[T], Awaitable[None]], item: T) -> None:
    await do(item)


NextSignal = Callable[[], Awaitable[str]]
"""Returns the name of the next signal that asks the process to stop, once it comes."""


class StopSignals:
    """SIGTERM and SIGINT, from the moment that this object is made: none is lost.

    Make it first: to process 1 of a container the kernel does not even deliver a signal that has
    no handler. Must be made in the main thread, inside the loop, and takes over both signals for
    good: what is cleaned up afterwards is not cut short by an impatient second one.
    """

    def __init__(self) -> None:
        self._received: asyncio.Queue[signal.Signals] = asyncio.Queue()
        self._opening: asyncio.Task[Any] | None = None
        loop = asyncio.get_running_loop()
        for number in _SIGNALS:
            loop.add_signal_handler(number, self._receive, number)

    def _receive(self, number: signal.Signals) -> None:
        self._received.put_nowait(number)
        if self._opening is not None:
            self._opening.cancel()

    async def next(self) -> str:
        """Return the name of the next signal; of one that has come already, at once."""
        return (await self._received.get()).name

    @asynccontextmanager
    async def ending(self, opening: AbstractAsyncContextManager[T]) -> AsyncIterator[T]:
        """Enter `opening`, unless a signal comes before that is done: raises StoppedError then.

        For what may take long at the start, while nobody waits for `next` and nothing is up.
        """
        async with AsyncExitStack() as stack:
            self._opening = asyncio.current_task()
            try:
                opened = await stack.enter_async_context(opening)
            except asyncio.CancelledError:
                if self._received.empty():
                    raise
                raise StoppedError(f"stopped by {await self.next()} before it was up") from None
            finally:
                self._opening = None
            yield opened


async def _guarded(component: Component) -> None:
    await component.run()
    raise RuntimeError(f"component {component.name} returned; it must run until cancelled")
