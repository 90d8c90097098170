"""Observes the calls about a Lease: a heartbeat that was taken, a call without an answer."""

import asyncio
from collections.abc import Awaitable, Callable

from extip.api.coordination_v1 import Lease
from extip.clock import Clock
from extip.election.lease import LeaseStore
from extip.errors import ApiError, ApiUnavailableError
from extip.liveness.answer_times import AnswerTimes


class ObservedLease:
    """Reports what becomes of calls about a Lease; implements `LeaseStore`."""

    def __init__(
        self,
        inner: LeaseStore,
        *,
        on_recovery: Callable[[float], None],
        on_heartbeat: Callable[[float], None] = lambda _: None,
        times: AnswerTimes | None = None,
        clock: Clock,
    ) -> None:
        """`on_recovery` is called at the first answer after calls that timed out.

        Its argument is the time at which the first of them was sent. Connections that were open
        before may be dead without a notice. `on_heartbeat` is called after each write, with the
        time at which it was sent. `times` gets how long each call takes.
        """
        self._inner = inner
        self._on_recovery = on_recovery
        self._on_heartbeat = on_heartbeat
        self._times = times or AnswerTimes()
        self._clock = clock
        self._unanswered_at: float | None = None

    async def get(self) -> Lease:
        """Return the Lease."""
        return (await self._follow(self._inner.get()))[0]

    async def create(self, lease: Lease) -> Lease:
        """Create the Lease."""
        return await self._write(self._inner.create(lease))

    async def replace(self, lease: Lease) -> Lease:
        """Replace the Lease."""
        return await self._write(self._inner.replace(lease))

    async def _write(self, call: Awaitable[Lease]) -> Lease:
        written, sent_at = await self._follow(call)
        self._on_heartbeat(sent_at)
        return written

    async def _follow(self, call: Awaitable[Lease]) -> tuple[Lease, float]:
        """Await a call; return its answer, and the time at which it was sent."""
        sent_at, answered = self._clock.monotonic(), False
        self._times.began(sent_at)
        try:
            answer = await call
            answered, self._times.failing = True, False
        except ApiError as error:
            self._times.failing = isinstance(error, ApiUnavailableError)
            raise
        except asyncio.CancelledError:  # the caller's bound on the time
            if self._unanswered_at is None:
                self._unanswered_at = sent_at
            raise
        finally:
            self._times.ended(sent_at, self._clock.monotonic(), answered=answered)
        since, self._unanswered_at = self._unanswered_at, None
        if since is not None:
            self._on_recovery(since)
        return answer, sent_at
