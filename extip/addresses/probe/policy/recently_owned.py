"""IPs to add x IPs that this node had up → the IPs that are new to this process. Pure.

An address that a person removed a moment ago is not new: it was this node's, and nobody else can
have taken it. The same holds for one that could not be put back yet. It holds for one address
lifetime. After that an address that ran out (this process stood still) may be its successor's.

The caller (`prober`) also passes over the IPs that earlier processes had up: addresses with our
mark on the interface, and claims with a holder.
"""

from collections.abc import Set as AbstractSet

from extip.net.interfaces import IPAddress


class RecentlyOwned:
    """Remembers the IPs that were this node's; a plain value that takes the time in seconds."""

    def __init__(self, *, ttl_s: float) -> None:
        self._ttl_s = ttl_s
        self._owned: dict[IPAddress, float] = {}
        self._looked_at = 0.0

    def update(
        self, missing: AbstractSet[IPAddress], up: AbstractSet[IPAddress], now: float
    ) -> None:
        """Record the IPs to add now, and the IPs that were up after the last pass.

        An IP that is neither is forgotten: when it is wanted again it is new.
        """
        owned = {ip: at for ip, at in self._owned.items() if ip in missing}
        owned.update(dict.fromkeys(missing & up, self._looked_at))
        self._owned = {ip: now for ip, at in owned.items() if now - at <= self._ttl_s}
        self._looked_at = now

    def mark_owned(self, ips: AbstractSet[IPAddress], now: float) -> None:
        """Record IPs that are being added now."""
        self._owned.update(dict.fromkeys(ips, now))

    def new_among(self, ips: AbstractSet[IPAddress]) -> frozenset[IPAddress]:
        """Return the IPs that were not this node's at the last update."""
        return frozenset(ips - self._owned.keys())
