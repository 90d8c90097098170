"""Freed addresses: others get the oldest first, and a user gets its last one back. Pure."""

from collections.abc import Collection, Iterable, Iterator
from itertools import islice

from extip.net.interfaces import IPAddress
from extip.pools.policy.pools import Pools

MAX = 1 << 13
"""The number of freed addresses that are remembered; the oldest are forgotten."""


class Freed:
    """Addresses that nobody has any more, in the order in which they were freed.

    Each pool has its own order, so that a search in one pool looks at no address of another one.
    """

    def __init__(self, pools: Pools | None = None) -> None:
        self._pools = Pools() if pools is None else pools
        self._users: dict[IPAddress, str] = {}
        self._of: dict[str, dict[IPAddress, None]] = {}
        self._within: dict[str, dict[IPAddress, None]] = {}

    def __iter__(self) -> Iterator[IPAddress]:
        """Return the addresses, the oldest first."""
        return iter(self._users)

    def __contains__(self, ip: object) -> bool:
        """Whether an address was freed."""
        return ip in self._users

    def __len__(self) -> int:
        """Return the number of addresses."""
        return len(self._users)

    def put(self, ip: IPAddress, user: str) -> list[IPAddress]:
        """Note that an address is free again; return those that are forgotten for it."""
        self.drop(ip)
        self._users[ip] = user
        self._of.setdefault(user, {})[ip] = None
        self._note_pool(ip)
        forgotten = list(islice(self._users, max(0, len(self._users) - MAX)))
        for oldest in forgotten:
            self.drop(oldest)
        return forgotten

    def drop(self, ip: IPAddress) -> None:
        """Forget an address: somebody has it."""
        user = self._users.pop(ip, None)
        if user is not None:
            del self._of[user][ip]
            if not self._of[user]:
                del self._of[user]
            pool = self._pools.of(ip)
            if pool is not None:
                del self._within[pool.name][ip]

    def of(self, user: str) -> Iterable[IPAddress]:
        """Return the addresses that the user had last."""
        return tuple(self._of.get(user, ()))

    def within(self, pool: str) -> Collection[IPAddress]:
        """Return the addresses of a pool, the oldest first."""
        return self._within.get(pool, {}).keys()

    def regroup(self, pools: Pools) -> None:
        """Take other pools: an address may be of another one now."""
        if pools is not self._pools:
            self._pools = pools
            self._within.clear()
            for ip in self._users:
                self._note_pool(ip)

    def _note_pool(self, ip: IPAddress) -> None:
        pool = self._pools.of(ip)
        if pool is not None:
            self._within.setdefault(pool.name, {})[ip] = None
