"""A sweep over all services, then over all addresses that no service of them had. Pure."""

from collections.abc import Iterable, Iterator

from extip.net.interfaces import IPAddress
from extip.pools.policy.allocation_part import Part


class Sweep:
    """Touches everything bit by bit: at once it would take long."""

    def __init__(self) -> None:
        self._services: list[str] = []
        self._ips: list[IPAddress] = []
        self._done: set[str | IPAddress] = set()
        """Services and addresses that were planned since the sweep began."""

    def __bool__(self) -> bool:
        return bool(self._services or self._ips)

    def begin(self, services: Iterable[Iterable[str]], ips: Iterable[IPAddress]) -> None:
        """Begin with these; a sweep that was under way has no more to do."""
        self._services = []
        for names in services:
            self._services.extend(names)
        self._ips = list(ips)
        self._done.clear()

    def services(self, most: int) -> Iterator[str]:
        """Take services; up to `most` are looked at."""
        while self._services and most > 0:
            most -= 1
            name = self._services.pop()
            if name not in self._done:
                yield name

    def ips(self, most: int) -> Iterator[IPAddress]:
        """Take addresses after all services; up to `most` are looked at."""
        while self._ips and not self._services and most > 0:
            most -= 1
            ip = self._ips.pop()
            if ip not in self._done:
                yield ip

    def has_done(self, part: Part) -> None:
        """Note what need not be touched any more."""
        if self:
            self._done.update(part.services)
            self._done.update(part.ips)
