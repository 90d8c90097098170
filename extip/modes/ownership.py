"""What a controller's hold on its IPs is worth: the Lease, the claims, and what it left to others.

It answers to two parts. The reconciler asks how long addresses may live (a `Fence`), the conflict
watch whether this node may have been replaced (a `Standing`).

With ``--on-api-loss hold`` addresses live on whatever the API server does, and the wire is the
judge. With ``release`` they end at most `LIFETIME_END_S` after their TTL, counted from when the
last heartbeat that the API server took was sent, and the Lease tells schedulers to wait so long.
"""

from collections.abc import Callable, Collection
from math import floor, inf
from typing import Protocol

from extip.plan.link import IPAddress
from extip.reconcile.trust import CacheTrust

_MARGIN_S = 0.3
"""Of the second by which the Lease is longer than a lifetime, this much may pass between heartbeat
and refresh before whole seconds are taken off; the rest is for the kernel, up to 0.3 s late."""


_TAKEOVER_S = 3.0
"""Beyond an ordered handover: what a node that was killed leaves to its kernel's clock, and one
that is stale takes to find out."""

_NEWS_S = 0.3
"""A claim that was moved is seen here by then, as a rule; else the API server is asked."""


class Claims(Protocol):
    """What is known of this node's claims."""

    trust: CacheTrust

    def leaving(self) -> Collection[IPAddress]:
        """Return the IPs that are kept for their next holder."""

    async def is_ours(self, ip: IPAddress) -> bool:
        """Return whether the API server says now that an IP is this node's. Raises ApiError."""


class Ownership:
    """Of a controller."""

    def __init__(  # noqa: PLR0913 - a composition of ports and plain values
        self,
        claims: Claims,
        *,
        heartbeat_age_s: Callable[[], float | None],
        lease_s: float,
        ttl_s: int,
        releases: bool,
        handover_s: float,
        changed: Callable[[], None],
    ) -> None:
        """Compose.

        `heartbeat_age_s` returns how long ago the last heartbeat that the API server took was sent.
        `releases`: addresses are left to their lifetime without one. `handover_s` is how long a
        node keeps an IP for its next holder, other nodes having the same setting. `changed` is
        called when IPs are to be removed.
        """
        self._claims = claims
        self._heartbeat_age_s = heartbeat_age_s
        self._lease_s = lease_s
        self._ttl_s = ttl_s
        self._releases = releases
        self._changed = changed
        self._yielded: dict[IPAddress, int] = {}
        self.grace_s = handover_s + _TAKEOVER_S
        self.settle_s = _NEWS_S
        self.trust_s = claims.trust.limit_s

    def lifetime_s(self) -> int:
        """Return how long addresses may live from now on, in whole seconds; 0: not longer."""
        if not self._releases:
            return self._ttl_s
        age_s = self._heartbeat_age_s()
        if age_s is None or not self._claims.trust.holds():
            return 0
        return min(self._ttl_s, max(0, floor(self._ttl_s + _MARGIN_S - age_s)))

    def yielded(self) -> frozenset[IPAddress]:
        """Return the IPs that were left to another station since the claims were last read."""
        readings = self._claims.trust.readings
        self._yielded = {ip: when for ip, when in self._yielded.items() if when == readings}
        return frozenset(self._yielded)

    def stale_in_s(self) -> float:
        """Return the seconds until the IPs may be another node's; 0 or less when they may be."""
        age_s = self._heartbeat_age_s()
        return 0.0 if age_s is None else self._lease_s - age_s

    def leaving(self) -> Collection[IPAddress]:
        """Return the IPs that are being handed over."""
        return self._claims.leaving()

    async def is_ours(self, ip: IPAddress) -> bool:
        """Return whether an IP is still this node's. Raises ApiError."""
        return await self._claims.is_ours(ip)

    def give_up(self, ips: Collection[IPAddress]) -> None:
        """Have the IPs removed, until the claims were read anew after another heartbeat."""
        trust = self._claims.trust
        self._yielded |= dict.fromkeys(ips, trust.readings)
        trust.doubt()
        self._changed()


class Sole:
    """Of a mode without claims and Leases: what services ask for is this node's, come what may."""

    def __init__(self, ttl_s: int) -> None:
        self._ttl_s = ttl_s
        self.grace_s = self.settle_s = 0.0
        self.trust_s = inf

    def lifetime_s(self) -> int:
        """Return how long addresses may live from now on, in whole seconds."""
        return self._ttl_s

    def yielded(self) -> frozenset[IPAddress]:
        """Return nothing: no IP is left to others."""
        return frozenset()

    def stale_in_s(self) -> float:
        """Return infinity: nobody else is ever given the IPs."""
        return inf

    def leaving(self) -> Collection[IPAddress]:
        """Return nothing: no IP is handed over."""
        return ()

    async def is_ours(self, _ip: IPAddress) -> bool:
        """Return True: services ask for it."""
        return True

    def give_up(self, _ips: Collection[IPAddress]) -> None:
        """Do nothing; it is never called."""
