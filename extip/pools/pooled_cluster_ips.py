"""The cluster IPs of services that lie in pools: no pool gives them."""

from extip.guard.addresses_in_use import ClusterIps
from extip.net.interfaces import IPAddress
from extip.pools.policy.pools import Pools

_NONE: frozenset[IPAddress] = frozenset()


class PooledClusterIps(ClusterIps):
    """Cluster IPs, of which few lie in pools, as a rule none."""

    _pools = Pools()
    _pooled = _NONE

    def pooled(self, pools: Pools) -> frozenset[IPAddress]:
        """Return the cluster IPs in pools; the same object until one changes.

        Other pools cost a look at each cluster IP only when a pool reaches into their range.
        """
        if pools is not self._pools:
            self._pools = pools
            near = any(pools.meet(version, *span) for version, span in self.spans.items())
            self._pooled = frozenset(ip for ip in self._count if pools.of(ip)) if near else _NONE
        return self._pooled

    def _came(self, ips: frozenset[IPAddress]) -> None:
        super()._came(ips)
        if pooled := self._in_pools(ips) - self._pooled:
            self._pooled |= pooled
            self._on_change()

    def _went(self, ips: frozenset[IPAddress]) -> None:
        if not self._pooled.isdisjoint(ips):
            self._pooled -= ips
            self._on_change()

    def _in_pools(self, ips: frozenset[IPAddress]) -> frozenset[IPAddress]:
        return frozenset(ip for ip in ips if self._pools.of(ip) is not None)
