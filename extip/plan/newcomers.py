"""IPs that are to be added x what this node had up → which of them nobody of us has.

An address that a person removed, or that could not be put back yet, is no new one: it was ours a
moment ago, and nobody else can have taken it. That holds for as long as an address lives unseen:
one that has run out (this process stood still) may be its successor's by now.
"""

from collections.abc import Set as AbstractSet

from extip.plan.link import IPAddress


class Newcomers:
    """Remembers what was ours; a plain value that takes the time, in seconds on any clock."""

    def __init__(self, *, ttl_s: float) -> None:
        self._ttl_s = ttl_s
        self._ours: dict[IPAddress, float] = {}
        self._looked_at = 0.0

    def look(self, missing: AbstractSet[IPAddress], up: AbstractSet[IPAddress], now: float) -> None:
        """Take what is to be added now, and what was up after the last look.

        What is neither any more is forgotten: when it is wanted again it is new.
        """
        ours = {ip: at for ip, at in self._ours.items() if ip in missing}
        ours.update(dict.fromkeys(missing & up, self._looked_at))
        self._ours = {ip: now for ip, at in ours.items() if now - at <= self._ttl_s}
        self._looked_at = now

    def let_through(self, ips: AbstractSet[IPAddress], now: float) -> None:
        """Note what is being added now."""
        self._ours.update(dict.fromkeys(ips, now))

    def among(self, ips: AbstractSet[IPAddress]) -> frozenset[IPAddress]:
        """Return which of the IPs were not ours at the last look."""
        return frozenset(ips - self._ours.keys())
