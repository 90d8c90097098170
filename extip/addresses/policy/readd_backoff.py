"""How soon an address that another program keeps removing is added again."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from extip.net.interfaces import IPAddress

AT_ONCE = 5
"""Removals in a row after which an address is added again at once. A person at work, or an agent
that restarts, removes it no more often."""

CALM_S = 60.0
"""After these seconds on the interface the removals of an address are forgotten."""

FIRST_DELAY_S = 1.0
"""Seconds for which an address stays away after `AT_ONCE` removals; doubled each time."""


@dataclass(slots=True)
class _Removals:
    count: int
    back_at: float
    """When it may be added again, or might have been."""


@dataclass(slots=True)
class ReaddBackoff:
    """Counts removals by other programs; a plain value that takes the time in seconds.

    A program that removes an address again and again means it, or knows only its own addresses.
    Adding the address at once each time would keep two programs busy for ever. So it comes back
    ever more slowly, in the end every `slowest_s`. After a calm time it comes back at once again.
    """

    slowest_s: float
    _removals: dict[IPAddress, _Removals] = field(default_factory=dict)

    def on_removed(self, ips: Iterable[IPAddress], now: float) -> list[IPAddress]:
        """Record removed addresses; return those that may be added again at once."""
        at_once = []
        self._forget(now)
        for ip in ips:
            removals = self._removals.setdefault(ip, _Removals(0, now))
            removals.count += 1
            too_many = removals.count - AT_ONCE
            delay_s = FIRST_DELAY_S * 2.0 ** min(too_many - 1, 20) if too_many > 0 else 0.0
            removals.back_at = now + min(delay_s, self.slowest_s)
            if too_many <= 0:
                at_once.append(ip)
        return at_once

    def waiting(self, now: float) -> frozenset[IPAddress]:
        """Return the addresses that stay away for now."""
        return frozenset(ip for ip, removals in self._removals.items() if removals.back_at > now)

    def next_at(self, now: float) -> float | None:
        """Return when the first of those may be added again; None when there are none."""
        return min((f.back_at for f in self._removals.values() if f.back_at > now), default=None)

    def contested(self, now: float) -> list[IPAddress]:
        """Return the addresses that are added again slowly, whether they are up now or not."""
        self._forget(now)
        return [ip for ip, removals in self._removals.items() if removals.count > AT_ONCE]

    def describe(self, now: float) -> str:
        """Return one line about those addresses; empty when there are none."""
        contested = self.contested(now)
        if not contested:
            return ""
        return (
            f"another program keeps removing addresses, first {min(contested, key=str)}; they are "
            f"put back ever more slowly, in the end every {self.slowest_s:g} s"
        )

    def _forget(self, now: float) -> None:
        over = [ip for ip, removals in self._removals.items() if now - removals.back_at >= CALM_S]
        for ip in over:
            del self._removals[ip]
