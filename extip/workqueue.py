"""A queue of keys for level-triggered workers, with the semantics of client-go's workqueue.

Guarantees: a key that waits is queued once, however often it is added; a key is never worked on
twice at a time; a key that is added during its work is queued again after it. Keys
come out in the order in which they became due.

Owned by one event loop. Delays run on the loop's own clock.
"""

import asyncio
from collections import deque
from collections.abc import Hashable
from random import Random
from typing import Generic, TypeVar

from extip.backoff import Backoff

K = TypeVar("K", bound=Hashable)

KEY_BACKOFF = Backoff(initial_s=0.005, cap_s=1000.0)
"""client-go's default for one key."""


class WorkQueue(Generic[K]):
    """The worker's loop: ``get``, work, ``forget`` or ``retry``, then always ``done``."""

    def __init__(self, *, rng: Random, backoff: Backoff = KEY_BACKOFF) -> None:
        self._rng = rng
        self._backoff = backoff
        self._ready: deque[K] = deque()
        self._dirty: set[K] = set()
        self._in_flight: set[K] = set()
        self._failures: dict[K, int] = {}
        self._timers: dict[K, asyncio.TimerHandle] = {}
        self._waiting: deque[asyncio.Future[None]] = deque()

    def __len__(self) -> int:
        """Return how many keys are ready; those in flight or delayed do not count."""
        return len(self._ready)

    def add(self, key: K) -> None:
        """Queue a key now."""
        if key in self._dirty:
            return
        self._dirty.add(key)
        if key not in self._in_flight:
            self._push(key)

    def add_after(self, key: K, delay_s: float) -> None:
        """Queue a key after that many seconds; of several delays of a key the earliest counts."""
        if delay_s <= 0:
            self.add(key)
            return
        loop = asyncio.get_running_loop()
        due_s = loop.time() + delay_s
        pending = self._timers.get(key)
        if pending is not None:
            if pending.when() <= due_s:
                return
            pending.cancel()
        self._timers[key] = loop.call_at(due_s, self._due, key)

    def retry(self, key: K) -> float:
        """Queue a key that failed after its backoff; return the delay in seconds."""
        failures = self._failures[key] = self._failures.get(key, 0) + 1
        delay_s = self._backoff.delay_s(failures, self._rng.random())
        self.add_after(key, delay_s)
        return delay_s

    def forget(self, key: K) -> None:
        """Note that a key succeeded: its next failure is the first one again."""
        self._failures.pop(key, None)

    def failures(self, key: K) -> int:
        """Return how often in a row the key has failed."""
        return self._failures.get(key, 0)

    async def get(self) -> K:
        """Wait for a key and take it; `done` must follow. Cancelling takes nothing."""
        while not self._ready:
            waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting.append(waiter)
            try:
                await waiter
            except asyncio.CancelledError:
                if waiter.done() and not waiter.cancelled() and self._ready:
                    self._wake()  # the wake-up was meant for whoever can take the key
                raise
            finally:
                if waiter in self._waiting:
                    self._waiting.remove(waiter)
        key = self._ready.popleft()
        self._dirty.discard(key)
        self._in_flight.add(key)
        return key

    def done(self, key: K) -> None:
        """Note that work on a key is over; it is queued again if it was added meanwhile."""
        self._in_flight.discard(key)
        if key in self._dirty:
            self._push(key)

    def close(self) -> None:
        """Cancel the delays, so that no timer outlives its worker."""
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()

    def _due(self, key: K) -> None:
        del self._timers[key]
        self.add(key)

    def _push(self, key: K) -> None:
        self._ready.append(key)
        self._wake()

    def _wake(self) -> None:
        while self._waiting:
            waiter = self._waiting.popleft()
            if not waiter.done():
                waiter.set_result(None)
                return
