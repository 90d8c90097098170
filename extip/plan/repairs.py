"""How soon an address that others keep removing is put back."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from extip.plan.link import IPAddress

AT_ONCE = 5
"""Times in a row that an address is put back at once: a person at work, an agent that restarts."""

CALM_S = 60.0
"""An address that has been up for so long is nobody's concern any more."""

FIRST_DELAY_S = 1.0
"""First time that an address stays away after `AT_ONCE`; doubled each time."""


@dataclass(slots=True)
class _Fight:
    losses: int
    back_at: float
    """When it may be put back, or might have been."""


@dataclass(slots=True)
class Repairs:
    """Remembers which addresses were removed from outside; a plain value that takes the time.

    Whoever removes an address again and again means it, or is a program that knows only its own:
    to put it back each time at once would make two programs turn for ever. So it comes back ever
    more slowly, in the end every `slowest_s`, and at once again after a calm time.
    """

    slowest_s: float
    _fights: dict[IPAddress, _Fight] = field(default_factory=dict)

    def lost(self, ips: Iterable[IPAddress], now: float) -> list[IPAddress]:
        """Note that these are gone; return those that are put back at once."""
        at_once = []
        self._forget(now)
        for ip in ips:
            fight = self._fights.setdefault(ip, _Fight(0, now))
            fight.losses += 1
            too_many = fight.losses - AT_ONCE
            delay_s = FIRST_DELAY_S * 2.0 ** min(too_many - 1, 20) if too_many > 0 else 0.0
            fight.back_at = now + min(delay_s, self.slowest_s)
            if too_many <= 0:
                at_once.append(ip)
        return at_once

    def held(self, now: float) -> frozenset[IPAddress]:
        """Return the addresses that stay away for now."""
        return frozenset(ip for ip, fight in self._fights.items() if fight.back_at > now)

    def next_at(self, now: float) -> float | None:
        """Return when the first of those may be put back; None when there are none."""
        return min((f.back_at for f in self._fights.values() if f.back_at > now), default=None)

    def contested(self, now: float) -> list[IPAddress]:
        """Return the addresses that are put back slowly, whether or not they are up now."""
        self._forget(now)
        return [ip for ip, fight in self._fights.items() if fight.losses > AT_ONCE]

    def _forget(self, now: float) -> None:
        over = [ip for ip, fight in self._fights.items() if now - fight.back_at >= CALM_S]
        for ip in over:
            del self._fights[ip]
