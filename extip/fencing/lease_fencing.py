"""Fencing by Lease and claims: how long this node may hold its IPs, and which it has yielded.

With ``--on-api-loss hold`` addresses live on whatever the API server does, and the wire decides.
With ``release`` they end at most `LIFETIME_END_S` after their TTL. The TTL counts from the sending
of the last heartbeat that the API server took. The Lease tells schedulers to wait that long.

It owns no task: the reconciler and the conflict watch call it.
"""

from collections.abc import Awaitable, Callable, Collection
from math import floor, inf

from extip.fencing.cache_freshness import CacheFreshness
from extip.net.interfaces import IPAddress

_MARGIN_S = 0.3
"""Seconds between heartbeat and refresh that cost no whole second of lifetime. The Lease is a
second longer than a lifetime. The rest of that second is for the kernel, which is up to 0.3 s late.
"""


_TAKEOVER_S = 3.0
"""Seconds that a takeover may last beyond an ordered handover. A killed node leaves its addresses
to its kernel's clock, and a stale one takes time to find out."""

_NEWS_S = 0.3
"""Seconds in which the news of a moved claim arrive, as a rule; else the API server is asked."""


class LeaseFencing:
    """The `Fencing` of a controller."""

    def __init__(  # noqa: PLR0913 - a composition of parts and plain values
        self,
        freshness: CacheFreshness,
        *,
        leaving: Callable[[], Collection[IPAddress]],
        is_ours: Callable[[IPAddress], Awaitable[bool]],
        heartbeat_age_s: Callable[[], float | None],
        unheard: Callable[[], bool] = lambda: False,
        lease_s: float,
        ttl_s: int,
        releases: bool,
        handover_s: float,
        on_change: Callable[[], None],
    ) -> None:
        """Compose.

        `freshness` is that of this node's claims. `leaving` and `is_ours` are as in `Fencing`, by
        these claims. `heartbeat_age_s` returns the seconds since the last heartbeat that the API
        server took was sent. `unheard` tells whether nobody heard this node on the segment at some
        time since then. `releases`: without heartbeats, addresses are left to their lifetime.
        `handover_s` is how long a node keeps an IP for its next holder; other nodes have the same
        setting.
        `on_change` is called when IPs are to be removed.
        """
        self._freshness = freshness
        self._leaving = leaving
        self._is_ours = is_ours
        self._heartbeat_age_s = heartbeat_age_s
        self._unheard = unheard
        self._lease_s = lease_s
        self._ttl_s = ttl_s
        self._releases = releases
        self._on_change = on_change
        self._yielded: dict[IPAddress, int] = {}
        self.grace_s = handover_s + _TAKEOVER_S
        self.settle_s = _NEWS_S
        self.wanted_valid_s = freshness.limit_s

    def lifetime_s(self) -> int:
        """Return how long addresses may live from now on, in whole seconds; 0: no longer."""
        if not self._releases:
            return self._ttl_s
        age_s = self._heartbeat_age_s()
        if age_s is None or not self._freshness.is_fresh():
            return 0
        return min(self._ttl_s, max(0, floor(self._ttl_s + _MARGIN_S - age_s)))

    def yielded(self) -> frozenset[IPAddress]:
        """Return the IPs that were left to another station since the claims were last read."""
        # A later reading says again which IPs are this node's, so older yields end with it.
        readings = self._freshness.readings
        self._yielded = {ip: when for ip, when in self._yielded.items() if when == readings}
        return frozenset(self._yielded)

    def stale_in_s(self) -> float:
        """Return the seconds until the IPs may be another node's; 0 or less when they may be.

        They may be at once when nobody heard this node: others may have taken it for dead.
        """
        age_s = self._heartbeat_age_s()
        return 0.0 if age_s is None or self._unheard() else self._lease_s - age_s

    def leaving(self) -> Collection[IPAddress]:
        """Return the IPs that are being handed over."""
        return self._leaving()

    async def is_ours(self, ip: IPAddress) -> bool:
        """Return whether an IP is still this node's. Raises ApiError."""
        return await self._is_ours(ip)

    def yield_ips(self, ips: Collection[IPAddress]) -> None:
        """Have the IPs removed, until the claims were read anew after another heartbeat."""
        self._yielded |= dict.fromkeys(ips, self._freshness.readings)
        self._freshness.invalidate()
        self._on_change()


class NoFencing:
    """The `Fencing` of simple mode, without claims and Leases: each wanted IP is this node's."""

    def __init__(self, ttl_s: int) -> None:
        self._ttl_s = ttl_s
        self.grace_s = self.settle_s = 0.0
        self.wanted_valid_s = inf

    def lifetime_s(self) -> int:
        """Return how long addresses may live from now on, in whole seconds."""
        return self._ttl_s

    def yielded(self) -> frozenset[IPAddress]:
        """Return nothing: no IP is left to other stations."""
        return frozenset()

    def stale_in_s(self) -> float:
        """Return infinity: no other node is given the IPs."""
        return inf

    def leaving(self) -> Collection[IPAddress]:
        """Return nothing: no IP is handed over."""
        return ()

    async def is_ours(self, _ip: IPAddress) -> bool:
        """Return True: services want it."""
        return True

    def yield_ips(self, _ips: Collection[IPAddress]) -> None:
        """Do nothing; it is never called."""
