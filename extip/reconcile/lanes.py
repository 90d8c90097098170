"""Writes to the API server, made side by side: one that hangs keeps no other waiting for long.

A lane has writes of one kind, and for each object the latest that is wanted: what was not begun is
replaced by what a newer plan says. An object has one write of a kind at a time.

- A write holds a place in its lane for as long as an answer usually takes. One that hangs makes
  room for another, up to a bound.
- An object whose write failed is put off. Those whose writes were not answered have a share of the
  places, all of them together: the others find theirs free.
- A lane that is behind others keeps to one write at a time while any waits there.
- The API server is away when nothing is answered on any lane. Then each of them keeps to one write
  at a time. The first answer ends that.

Every write ends within `WRITE_S`, and with its lane when that is cancelled.
"""

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from collections.abc import Set as AbstractSet
from http import HTTPStatus
from typing import Generic, TypeVar

from extip import log
from extip.errors import ApiError, ApiUnavailableError, ConflictError, NotFoundError
from extip.reconcile.put_off import Failure, PutOff
from extip.supervisor import for_each_coming

W = TypeVar("W")

WRITE_S = 4.0
"""Bound on a write; below lease duration less renew deadline, so that it is over, one way or the
other, before another process may lead."""

SLOW_S = 0.5
"""Time after which a write without an answer makes room for another one."""

_MOST_SLOW = 48
"""Such writes of a lane at once; more would be more than a server in trouble should bear."""

_SUSPECTS = 4
"""The part of the places for objects whose last write was not answered, as a divisor."""

_AWAY = 4
"""Objects in a row whose writes are not answered, when no write of another one is."""


class Reach:
    """Whether anybody answers, as far as all lanes together know."""

    def __init__(self, back: Callable[[], None]) -> None:
        """`back` is called when something is answered after nothing was."""
        self._back = back
        self._unanswered: set[str] = set()
        self.answers = 0
        """Answers so far."""

    @property
    def row(self) -> int:
        """How many objects in a row had no answer."""
        return len(self._unanswered)

    @property
    def away(self) -> bool:
        """Whether nothing at all is answered."""
        return self.row >= _AWAY

    def answered(self) -> None:
        """Take note of any answer."""
        was_away = self.away
        self.answers += 1
        self._unanswered.clear()
        if was_away:
            self._back()

    def unanswered(self, name: str, since: int) -> None:
        """Take note of a write that nobody answered; when it was begun there were `since` answers.

        It tells nothing about others when one of them was answered meanwhile.
        """
        if since == self.answers:
            self._unanswered.add(name)


class Lane(Generic[W]):
    """One lane: `run` makes the writes, all else only says which; owned by one event loop."""

    def __init__(  # noqa: PLR0913 - a composition of ports
        self,
        name: str,
        write: Callable[[W], Awaitable[None]],
        *,
        places: int,
        reach: Reach,
        put_off: PutOff,
        made: Callable[[], None],
        again: Callable[[float], None],
        failed: Callable[[W, str], None] = lambda _write, _error: None,
        behind: Callable[[], bool] = lambda: False,
    ) -> None:
        """`write` raises ApiError, and may be cancelled at any point.

        `made` is called after each write that was made. After one that was not, `again` is called
        with the seconds until it may be offered again, and `failed` with the reason, when it had
        not failed before. `behind` says whether a lane that goes before has writes waiting.
        """
        self.name = name
        self.put_off = put_off
        self._write = write
        self._places = places
        self._reach = reach
        self._made = made
        self._again = again
        self._failed = failed
        self._behind = behind
        self._log = log.get_logger("lanes").bind(lane=name)
        self._fresh: OrderedDict[str, W] = OrderedDict()
        self._suspect: OrderedDict[str, W] = OrderedDict()
        self._in_flight: dict[str, W] = {}
        self._slow: set[str] = set()
        self._retried: set[str] = set()
        self._wake = asyncio.Event()

    @property
    def in_flight(self) -> Mapping[str, W]:
        """Writes that were begun and have not ended, by name."""
        return self._in_flight

    @property
    def waiting(self) -> bool:
        """Whether a write that was not tried in vain before waits for a place."""
        return bool(self._fresh)

    @property
    def busy(self) -> bool:
        """Whether it makes writes, other than those that hang or did."""
        return bool(self._fresh or self._in_flight.keys() - self._slow - self._retried)

    def has(self, name: str) -> bool:
        """Whether a write of that name is on its way or about to be."""
        return name in self._in_flight or name in self._fresh or name in self._suspect

    def unavailable(self) -> AbstractSet[str]:
        """Return the names of which no write can be begun now: on their way, or put off."""
        return self._in_flight.keys() | self.put_off.names()

    def offer(self, wanted: Mapping[str, W]) -> None:
        """Want exactly these writes, by name, the most urgent first; those on their way go on."""
        unavailable = self.unavailable()
        self._fresh.clear()
        self._suspect.clear()
        for name, write in wanted.items():
            if name not in unavailable:
                kind = self._suspect if self.put_off.is_suspect(name) else self._fresh
                kind[name] = write
        self._wake.set()

    def want(self, name: str, write: W) -> None:
        """Want this write as well, before the others; nothing when one is on its way or put off."""
        if name in self._in_flight or self.put_off.is_put_off(name):
            return
        kind = self._suspect if self.put_off.is_suspect(name) else self._fresh
        kind[name] = write
        kind.move_to_end(name, last=False)
        self._wake.set()

    def reset(self) -> None:
        """Forget everything; only while `run` does not run."""
        self.put_off.clear()
        for known in (self._fresh, self._suspect, self._in_flight):
            known.clear()
        self._slow.clear()
        self._retried.clear()

    async def run(self) -> None:
        """Make the writes; until cancelled, and then none of them is on its way any more."""
        await for_each_coming(self._beginning(), self._attempt)

    async def _beginning(self) -> AsyncIterator[str]:
        """Yield the name of each write that is to be made now."""
        while True:
            self._wake.clear()
            name = self._begin()
            if name:
                yield name
            else:
                await self._wake.wait()

    def _begin(self) -> str:
        """Take the next write for which there is a place; return its name, or nothing."""
        narrow = self._reach.away or self._behind()
        places = 1 if narrow else self._places
        held = len(self._in_flight) - min(len(self._slow), _MOST_SLOW)
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
        write, since = self._in_flight[name], self._reach.answers
        slow = asyncio.get_running_loop().call_later(SLOW_S, self._is_slow, name)
        try:
            async with asyncio.timeout(WRITE_S):
                await self._write(write)
        except (ConflictError, NotFoundError) as error:
            self._log.debug("decision_was_stale", error=str(error))
            self._reach.answered()
            again_s = self.put_off.failed(name, Failure.STALE)
        except ApiError as error:
            if _is_away(error):
                again_s = self._unanswered(name, str(error), since)
            else:
                self._reach.answered()
                again_s = self.put_off.failed(name, Failure.REFUSED, str(error))
        except TimeoutError:
            again_s = self._unanswered(name, f"no answer within {WRITE_S:.0f} s", since)
        else:
            self._reach.answered()
            self.put_off.done(name)
            again_s = 0.0
        finally:
            slow.cancel()
            del self._in_flight[name]
            self._slow.discard(name)
            self._retried.discard(name)
            self._wake.set()
        # What waits was decided before this ended.
        self._fresh.pop(name, None)
        self._suspect.pop(name, None)
        if not again_s:
            self._made()
            return
        self._again(again_s)
        if why := self.put_off.news(name):
            self._failed(write, why)

    def _is_slow(self, name: str) -> None:
        self._slow.add(name)
        self._wake.set()

    def _unanswered(self, name: str, error: str, since: int) -> float:
        self._log.debug("write_unanswered", object=name, error=error)
        self._reach.unanswered(name, since)
        # While nobody answers, the first tries too come ever slower.
        row = self._reach.row if self._reach.away else 1
        return self.put_off.failed(name, Failure.UNANSWERED, error, at_least=row)


def _is_away(error: ApiError) -> bool:
    """Whether the API server itself is in trouble, rather than this one write.

    500 may be either: it is also the answer where an admission webhook fails.
    """
    return (
        isinstance(error, ApiUnavailableError) and error.status != HTTPStatus.INTERNAL_SERVER_ERROR
    )
