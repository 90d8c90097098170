"""The free addresses of pools, from first to last, while a plan gives them. Pure."""

from collections.abc import Iterator, Mapping

from extip.net.interfaces import IPAddress
from extip.pools.policy.allocation_index import Facts
from extip.pools.policy.pools import Cursor, Pool, Pools
from extip.pools.policy.set_aside import free_of


class FreeAddresses:
    """The search of one plan; `Facts.cursors` keep how far it came."""

    def __init__(self, pools: Pools, users: Mapping[IPAddress, object], facts: Facts) -> None:
        """`users` grows while the plan gives addresses."""
        self._pools = pools
        self._users = users
        self._facts = facts
        self._free: dict[tuple[str, int], Iterator[IPAddress]] = {}
        self._found: dict[tuple[str, int], list[IPAddress]] = {}
        """Free addresses that were found, and are not held yet."""

    def within(self, pool: Pool, version: int) -> Iterator[IPAddress]:
        """Yield the free addresses of a pool, also to others until somebody holds them."""
        users, facts, key = self._users, self._facts, (pool.name, version)
        if key not in self._free:
            again = (
                ip
                for ip in facts.aside.again
                if ip.version == version and ip not in users and self._pools.of(ip) is pool
            )
            cursor = facts.cursors.setdefault(key, Cursor())
            freed = facts.freed.within(pool.name)
            unused = pool.free(version, users, freed, cursor=cursor, released=facts.released)
            self._free[key] = free_of(unused, facts.aside, again=again)
        found = self._found[key] = [ip for ip in self._found.get(key, ()) if ip not in users]
        yield from tuple(found)
        for ip in self._free[key]:
            found.append(ip)
            yield ip

    def give_back(self) -> None:
        """Let the next search begin at the first address that was found, and that nobody holds.

        A service that waits for both families may have found some of one, and holds none.
        """
        for (name, version), found in self._found.items():
            cursor, pool = self._facts.cursors[name, version], self._pools.by_name[name]
            for ip in found:
                if ip in self._users or ip in self._facts.freed:
                    continue
                place = None if ip in self._facts.aside.avoided else pool.place(ip)
                if place is not None:
                    cursor.at = min(cursor.at, place)
