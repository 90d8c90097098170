"""An open watch of the API server in memory: both ends."""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import msgspec

from extip.errors import ApiUnavailableError
from tests.fakes.world import later, now_s

if TYPE_CHECKING:
    from tests.fakes.cluster_api import ClusterApi
    from tests.fakes.cluster_objects import Change
    from tests.fakes.cluster_transport import Way

Json = dict[str, Any]

BOOKMARK_S = 60.0
"""Period of bookmarks on an open watch."""

LOST_S = 5.0
"""The client's kernel gives a connection up when nothing came through for so long."""


class Watch:
    """Which objects it is about, and what its client has not read yet.

    Lines arrive after the latency, and as late as the server's watch cache is. While nothing gets
    through they wait, until the client's kernel gives the connection up.
    """

    def __init__(
        self,
        api: "ClusterApi",
        collection: str,
        matches: Callable[[Json], bool],
        *,
        who: str,
        selector: str = "",
    ) -> None:
        self.collection = collection
        self.selector = selector
        self.who = who
        self.way: Way | None = None
        self._api = api
        self._matches = matches
        self._arrived: deque[bytes | Exception] = deque()
        self._under_way: deque[tuple[float, bytes]] = deque()
        self._moving = False
        self._reader: asyncio.Future[None] | None = None
        self._timers: list[asyncio.TimerHandle] = []
        self._silent_since: float | None = None

    def start(self, *, ends_in_s: float) -> None:
        """Bookmarks come, and the end does."""
        self._timers = [later(ends_in_s, self.end), later(BOOKMARK_S, self._bookmark)]

    def tell(self, change: "Change") -> None:
        """Send what the change is to this client: objects come and go by their labels, too."""
        if change.collection != self.collection:
            return
        was = change.before is not None and self._matches(change.before)
        now = change.after is not None and self._matches(change.after)
        if was or now:
            self._send(change.line(("MODIFIED" if was else "ADDED") if now else "DELETED"))

    def end(self) -> None:
        """Have the client read the end, after all that was sent before."""
        self._send(b"")

    def break_off(self) -> None:
        """End the connection; the client hears of it now."""
        self._api.close_watch(self)
        self._arrive(ApiUnavailableError(f"the answer of {self._api.server} broke off"))

    def close(self) -> None:
        for timer in self._timers:
            timer.cancel()

    async def readline(self) -> bytes:
        """Return an event or a bookmark; nothing at the end. Raises ApiUnavailableError."""
        while not self._arrived:
            self._reader = asyncio.get_running_loop().create_future()
            await self._reader
        line = self._arrived.popleft()
        if isinstance(line, Exception):
            raise line
        return line

    def _send(self, line: bytes) -> None:
        due = now_s() + self._api.latency_s + self._api.faults.watch_lag_s
        if self._under_way:
            due = max(due, self._under_way[-1][0])
        self._under_way.append((due, line))
        if not self._moving:
            self._moving = True
            later(due - now_s(), self._move)

    def _move(self) -> None:
        """Deliver what is due, unless nothing gets through."""
        now = now_s()
        if self.who in self._api.faults.deaf:
            self._under_way.clear()
            self._moving = False
            return
        if self.way is not None and self.way.silent:
            self._silent_since = now if self._silent_since is None else self._silent_since
            if now - self._silent_since >= LOST_S:
                self.break_off()
                return
            later(0.2, self._move)
            return
        self._silent_since = None
        while self._under_way and self._under_way[0][0] <= now:
            self._arrive(self._under_way.popleft()[1])
        self._moving = bool(self._under_way)
        if self._moving:
            later(self._under_way[0][0] - now, self._move)

    def _arrive(self, line: bytes | Exception) -> None:
        self._arrived.append(line)
        if self._reader is not None and not self._reader.done():
            self._reader.set_result(None)

    def _bookmark(self) -> None:
        version = {"metadata": {"resourceVersion": str(self._api.revision)}}
        self._send(msgspec.json.encode({"type": "BOOKMARK", "object": version}) + b"\n")
        self._timers.append(later(BOOKMARK_S, self._bookmark))


class OpenWatches:
    """The open watches, in the order of their opening."""

    def __init__(self) -> None:
        self._numbers: dict[Watch, int] = {}
        self._by_place: dict[tuple[str, str], dict[Watch, int]] = {}
        """Watches by their kind, and the label that they are about: ``a=b``, or none."""
        self._opened = 0

    def add(self, watch: Watch) -> None:
        self._opened += 1
        self._numbers[watch] = self._opened
        self._by_place.setdefault(_place(watch), {})[watch] = self._opened

    def discard(self, watch: Watch) -> None:
        if self._numbers.pop(watch, None) is not None:
            del self._by_place[_place(watch)][watch]

    def all(self) -> list[Watch]:
        return list(self._numbers)

    def concerned(self, change: "Change") -> list[Watch]:
        """Return those that the change may be about, without a look at all others."""
        items = [item for item in (change.before, change.after) if item is not None]
        labels = {f"{k}={v}" for i in items for k, v in (i["metadata"].get("labels") or {}).items()}
        found: dict[Watch, int] = {}
        for label in ("", *labels):
            found |= self._by_place.get((change.collection, label), {})
        return sorted(found, key=found.__getitem__)


def _place(watch: Watch) -> tuple[str, str]:
    selector = watch.selector
    is_one_label = selector.count("=") == 1 and not set(selector) & set("!, ")
    return watch.collection, selector if is_one_label else ""
