"""IPs to add x IPs that this node had up → the IPs that are new to this process. Pure.

An address that a person removed a moment ago is not new: it was this node's, and nobody else can
have taken it. The same holds for one that could not be put back yet, for `LONGEST_S`: another
station may take it then. It holds for one address lifetime without a look. After that an address
that ran out (this process stood still) may be its successor's.

The caller (`prober`) also passes over the IPs that earlier processes had up: addresses with our
mark on the interface, and claims with a holder.
"""

from collections.abc import Set as AbstractSet
from typing import NamedTuple

from extip.net.interfaces import IPAddress

LONGEST_S = 120.0
"""Seconds for which an address that the kernel does not take counts as this node's."""


class _Owned(NamedTuple):
    since: float
    """When it was up for the last time, or was found to be free."""
    looked_at: float


class RecentlyOwned:
    """Remembers the IPs that were this node's; a plain value that takes the time in seconds."""

    def __init__(self, *, ttl_s: float) -> None:
        self._ttl_s = ttl_s
        self._owned: dict[IPAddress, _Owned] = {}
        self._looked_at = 0.0

    def update(
        self, missing: AbstractSet[IPAddress], up: AbstractSet[IPAddress], now: float
    ) -> None:
        """Record the IPs to add now, and the IPs that were up after the last pass.

        An IP that is neither is forgotten: when it is wanted again it is new.
        """
        owned = {ip: one for ip, one in self._owned.items() if ip in missing}
        owned.update(dict.fromkeys(missing & up, _Owned(self._looked_at, self._looked_at)))
        self._owned = {
            ip: _Owned(one.since, now)
            for ip, one in owned.items()
            if now - one.looked_at <= self._ttl_s and now - one.since <= LONGEST_S
        }
        self._looked_at = now

    def mark_owned(self, ips: AbstractSet[IPAddress], now: float) -> None:
        """Record IPs that are being added now."""
        new = _Owned(now, now)
        for ip in ips:
            self._owned[ip] = _Owned(self._owned.get(ip, new).since, now)

    def new_among(self, ips: AbstractSet[IPAddress]) -> frozenset[IPAddress]:
        """Return the IPs that were not this node's at the last update."""
        return frozenset(ips - self._owned.keys())
