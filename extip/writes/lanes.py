"""Writes to the API server, side by side: a write that hangs delays no other write for long.

A lane makes the writes of one kind. It keeps the newest wanted write of each object: a newer plan
replaces a write that has not begun. An object has one write of a kind at a time.

- A write holds a place in its lane for as long as an answer usually takes. A write that hangs makes
  room for another, up to a bound. Where all answers take long, also those to other requests, the
  server has too much to do. Then none makes room: each would take longer, and in the end all would
  be given up and repeated.
- A failed write waits (`WriteBackoff`). All objects whose last write was not answered share a part
  of the places, so that the other objects find free places.
- A lane that is behind another lane makes one write at a time while a write waits in that lane.
- The API server is away when no write of any lane is answered. Then each lane makes one write at a
  time, until the first answer.

Every write ends within `WRITE_S`, or when its lane is cancelled.
"""

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from http import HTTPStatus
from random import Random
from typing import Generic, TypeVar

from extip import log
from extip.clock import Clock
from extip.errors import ApiError, ApiUnavailableError, ConflictError, NotFoundError
from extip.supervisor import for_each_coming
from extip.writes.backoff import Failure, WriteBackoff

W = TypeVar("W")

WRITE_S = 4.0
"""Seconds that a write may take. It is less than lease duration minus renew deadline: the write is
over before another process may lead."""

SLOW_S = 0.5
"""Seconds after which an unanswered write makes room for another one."""

_MOST_SLOW = 48
"""Unanswered writes of a lane at once; more would burden a server in trouble."""

_SUSPECTS = 4
"""The divisor of the places for objects whose last write was not answered."""

CROWDED_S = 3.0
"""Seconds without a quick answer after which the server has too much to do. It is longer than the
pause between two renewals of the Lease: where a webhook delays the writes, those are quick."""

_AWAY = 4
"""Unanswered objects in a row, without an answer in between, after which the server is away."""


class ServerContact:
    """Whether the API server answers, from the answers on all lanes."""

    def __init__(self, back: Callable[[], None], clock: Clock) -> None:
        """`back` is called at the first answer after the server was away."""
        self._back = back
        self._clock = clock
        self._unanswered: set[str] = set()
        self._slow_since: float | None = None
        """The time of the first slow answer after the last quick one."""
        self.answers = 0
        """Answers so far."""

    @property
    def row(self) -> int:
        """The number of unanswered objects in a row."""
        return len(self._unanswered)

    @property
    def away(self) -> bool:
        """Whether no write at all is answered."""
        return self.row >= _AWAY

    @property
    def crowded(self) -> bool:
        """Whether all answers take long."""
        since = self._slow_since
        return since is not None and self._clock.monotonic() - since >= CROWDED_S

    def answered(self, took_s: float) -> None:
        """Count an answer to any request that took so many seconds."""
        was_away = self.away
        self.answers += 1
        if took_s < SLOW_S:
            self._slow_since = None
        elif self._slow_since is None:
            self._slow_since = self._clock.monotonic()
        self._unanswered.clear()
        if was_away:
            self._back()

    def unanswered(self, name: str, since: int) -> None:
        """Count an unanswered write; `since` is the number of answers at its begin.

        It does not count when another write was answered meanwhile.
        """
        if since == self.answers:
            self._unanswered.add(name)


@dataclass(frozen=True, slots=True, kw_only=True)
class LaneContext:
    """The parts that all lanes of a scheduler share."""

    contact: ServerContact
    again: Callable[[float], None]
    """Called after a failed write with the seconds until it may be offered again."""
    clock: Clock
    rng: Random


class Lane(Generic[W]):
    """One lane. `run` makes the writes, all other methods choose them. One event loop owns it."""

    def __init__(  # noqa: PLR0913 - a composition of parts
        self,
        name: str,
        write: Callable[[W], Awaitable[None]],
        context: LaneContext,
        *,
        places: int,
        longest_s: float,
        made: Callable[[], None],
        failed: Callable[[W, str], None] = lambda _write, _error: None,
        behind: Callable[[], bool] = lambda: False,
    ) -> None:
        """`write` raises ApiError, and may be cancelled at any point.

        `places` is the number of writes at once, `longest_s` the longest delay of a failed one, in
        seconds. `made` is called after each successful write, and `failed` with the reason of a
        first failure. `behind` tells whether a more urgent lane has waiting writes.
        """
        self.name = name
        self.backoff = WriteBackoff(clock=context.clock, rng=context.rng, longest_s=longest_s)
        self._write = write
        self._places = places
        self._contact = context.contact
        self._clock = context.clock
        self._made = made
        self._again = context.again
        self._failed = failed
        self._behind = behind
        self._log = log.get_logger("lanes").bind(lane=name)
        self._fresh: OrderedDict[str, W] = OrderedDict()
        """Writes that have not begun, the most urgent first."""
        self._suspect: OrderedDict[str, W] = OrderedDict()
        """The same for objects whose last write was not answered. They get few of the places."""
        self._in_flight: dict[str, W] = {}
        self._slow: set[str] = set()
        """Writes on their way for so long that others may have their places."""
        self._retried: set[str] = set()
        """Suspect writes on their way."""
        self._wake = asyncio.Event()

    @property
    def in_flight(self) -> Mapping[str, W]:
        """Writes that have begun and not ended, by name."""
        return self._in_flight

    @property
    def waiting(self) -> bool:
        """Whether a write that did not hang before waits for a place."""
        return bool(self._fresh)

    @property
    def busy(self) -> bool:
        """Whether the lane makes writes, apart from those that hang or hung before."""
        return bool(self._fresh or self._in_flight.keys() - self._slow - self._retried)

    def has(self, name: str) -> bool:
        """Whether a write of the object has begun, or waits for a place."""
        return name in self._in_flight or name in self._fresh or name in self._suspect

    def unavailable(self) -> AbstractSet[str]:
        """Return the objects whose writes cannot begin now: one is on its way, or has to wait."""
        return self._in_flight.keys() | self.backoff.names()

    def offer(self, wanted: Mapping[str, W]) -> None:
        """Replace the writes that have not begun, by name, the most urgent first."""
        unavailable = self.unavailable()
        self._fresh.clear()
        self._suspect.clear()
        for name, write in wanted.items():
            if name not in unavailable:
                kind = self._suspect if self.backoff.is_suspect(name) else self._fresh
                kind[name] = write
        self._wake.set()

    def revise(self, name: str, write: W | None, *, first: bool = False) -> bool:
        """Replace the write of one object that has not begun; None takes it away.

        Return False when no write of the object can begin now: one is on its way, or has to wait.
        A write that is new in the lane comes last, or before all others (`first`).
        """
        fits = name not in self._in_flight and not self.backoff.is_waiting(name)
        kind = self._suspect if self.backoff.is_suspect(name) else self._fresh
        if write is None or not fits or name not in kind:
            self._fresh.pop(name, None)
            self._suspect.pop(name, None)
        if write is not None and fits:
            kind[name] = write
            if first:
                kind.move_to_end(name, last=False)
            self._wake.set()
        return fits

    def reset(self) -> None:
        """Forget everything. Call it only while `run` does not run."""
        self.backoff.clear()
        for known in (self._fresh, self._suspect, self._in_flight):
            known.clear()
        self._slow.clear()
        self._retried.clear()

    async def run(self) -> None:
        """Make the writes, until cancelled. After that no write is on its way any more."""
        await for_each_coming(self._beginning(), self._attempt)

    async def _beginning(self) -> AsyncIterator[str]:
        """Yield the name of each write that begins now."""
        while True:
            self._wake.clear()
            name = self._begin()
            if name:
                yield name
            else:
                await self._wake.wait()

    def _begin(self) -> str:
        """Take the next write that has a place; return its name, or an empty text."""
        narrow = self._contact.away or self._behind()
        places = 1 if narrow else self._places
        spare = 0 if self._contact.crowded else min(len(self._slow), _MOST_SLOW)
        held = len(self._in_flight) - spare
        if held >= places:
            return ""
        if self._fresh:
            name, write = self._fresh.popitem(last=False)
        elif self._suspect and len(self._retried) < max(1, places // _SUSPECTS):
            name, write = self._suspect.popitem(last=False)
            self._retried.add(name)
        else:
            return ""
        self._in_flight[name] = write
        return name

    async def _attempt(self, name: str) -> None:
        """Make the write of an object, and count its outcome."""
        write, since = self._in_flight[name], self._contact.answers
        began = self._clock.monotonic()
        slow = asyncio.get_running_loop().call_later(SLOW_S, self._is_slow, name)
        try:
            async with asyncio.timeout(WRITE_S):
                await self._write(write)
        except (ConflictError, NotFoundError) as error:
            self._log.debug("decision_was_stale", error=str(error))
            self._contact.answered(self._clock.monotonic() - began)
            again_s = self.backoff.failed(name, Failure.STALE)
        except ApiError as error:
            if is_away(error):
                again_s = self._unanswered(name, str(error), since)
            else:
                self._contact.answered(self._clock.monotonic() - began)
                again_s = self.backoff.failed(name, Failure.REFUSED, str(error))
        except TimeoutError:
            again_s = self._unanswered(name, f"no answer within {WRITE_S:.0f} s", since)
        else:
            self._contact.answered(self._clock.monotonic() - began)
            self.backoff.done(name)
            again_s = 0.0
        finally:
            slow.cancel()
            del self._in_flight[name]
            self._slow.discard(name)
            self._retried.discard(name)
            self._wake.set()
        # A write of the object that waits was decided before this one ended. It may be outdated.
        self._fresh.pop(name, None)
        self._suspect.pop(name, None)
        if not again_s:
            self._made()
            return
        self._again(again_s)
        if why := self.backoff.news(name):
            self._failed(write, why)

    def _is_slow(self, name: str) -> None:
        self._slow.add(name)
        self._wake.set()

    def _unanswered(self, name: str, error: str, since: int) -> float:
        self._log.debug("write_unanswered", object=name, error=error)
        self._contact.unanswered(name, since)
        # While the server is away, the first tries of other objects come ever slower, too.
        row = self._contact.row if self._contact.away else 1
        return self.backoff.failed(name, Failure.UNANSWERED, error, at_least=row)


def is_away(error: ApiError) -> bool:
    """Return whether the API server itself is in trouble, and not only this write.

    A 500 counts as an answer: it is also the answer when an admission webhook fails.
    """
    return (
        isinstance(error, ApiUnavailableError) and error.status != HTTPStatus.INTERNAL_SERVER_ERROR
    )
