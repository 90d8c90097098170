"""A sweep over all services, then over all addresses that no service of them had. Pure."""

from collections.abc import Collection, Iterable, Iterator

from extip.net.interfaces import IPAddress
from extip.pools.policy.allocation_part import Part


class Sweep:
    """Touches everything bit by bit: at once it would take long.

    Also what is to be touched is looked up bit by bit. What comes meanwhile is touched anyway.
    """

    def __init__(self) -> None:
        self._sources: list[Iterable[str]] = []
        """Services that are to be looked up yet."""
        self._services: list[str] = []
        self._users: Collection[IPAddress] = ()
        """Addresses that are to be looked up yet."""
        self._ips: list[IPAddress] = []
        self._done: set[str | IPAddress] = set()
        """Services and addresses that were planned since the sweep began."""

    def __bool__(self) -> bool:
        return bool(self._sources or self._services or self._users or self._ips)

    def begin(self, services: Iterable[Iterable[str]], ips: Collection[IPAddress]) -> None:
        """Begin with these; a sweep that was under way has no more to do."""
        self._sources, self._services = list(services), []
        self._users, self._ips = ips, []
        self._done.clear()

    def services(self, most: int) -> Iterator[str]:
        """Take services; up to `most` are looked at."""
        while most > 0 and (self._services or self._sources):
            if not self._services:
                self._services = list(self._sources.pop())
                continue
            most -= 1
            name = self._services.pop()
            if name not in self._done:
                yield name

    def ips(self, most: int) -> Iterator[IPAddress]:
        """Take addresses after all services; up to `most` are looked at."""
        if self._services or self._sources:
            return
        if self._users:
            self._ips, self._users = list(self._users), ()
        while self._ips and most > 0:
            most -= 1
            ip = self._ips.pop()
            if ip not in self._done:
                yield ip
        if not self:
            self._done.clear()  # it may be large, and so may be what the next sweep begins with

    def has_done(self, part: Part) -> None:
        """Note what need not be touched any more."""
        if self:
            self._done.update(part.services)
            self._done.update(part.ips)
