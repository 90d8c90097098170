"""A node's fencing that does what a test says; by default as if no other node existed."""

from extip.fencing.lease_fencing import NoFencing
from extip.net.interfaces import IPAddress


class FakeFencing(NoFencing):
    """`LeaseFencing` without Lease and claims."""

    def __init__(self, ttl_s: int = 6) -> None:
        super().__init__(ttl_s)
        self.lifetime = ttl_s
        self.wanted_valid_s = 2.0
        self.left_to_others: frozenset[IPAddress] = frozenset()

    def lifetime_s(self) -> int:
        return self.lifetime

    def yielded(self) -> frozenset[IPAddress]:
        return self.left_to_others
