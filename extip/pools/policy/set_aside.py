"""Allocated addresses that another station has → the addresses to set aside, and for how long.

A controller finds such an address by a probe, or by a route of its node to a station elsewhere (a
pod). It finds it before the address comes up, or moments after that, and reports it in the claim.
The claims tell the truth of now. The pool's status remembers taken addresses longer than their
claims, so that a new scheduler does not give them again at once. If the status is lost, the probe
finds them again.

An address that was up, and that a station took later, is in conflict, as the claim tells. It is not
set aside, since clients and name servers know it. Nor is an address set aside that a service asks
for by name.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime

from extip.api.conditions import find_condition, is_true
from extip.api.ipcontroller_v1 import (
    ACCEPTED,
    CONFLICT,
    IpClaim,
    IpClaimPool,
)
from extip.api.pool_parts import SetAsideAddress
from extip.claims.policy.claims import parse_cidr, pool_of
from extip.net.interfaces import IPAddress
from extip.services.policy.refusal import TAKEN
from extip.services.policy.requests import parse_ip

KEEP_S = 600.0
"""Seconds after which a taken address is as good as any other."""

AGAIN_S = 60.0
"""Seconds between two tries of a taken address while nothing else is free."""

MOST = 256
"""Addresses of one pool. Where a router answers for every address, it is no use to try them all."""


def taken(claim: IpClaim) -> str:
    """Return why an address of a pool stays down that was never up; empty when it does not."""
    if not (claim.managed and pool_of(claim)) or is_true(claim.status.conditions, CONFLICT):
        return ""
    accepted = find_condition(claim.status.conditions, ACCEPTED)
    if accepted is None or accepted.status != "False" or accepted.reason not in TAKEN:
        return ""
    return accepted.message


@dataclass(frozen=True, slots=True, kw_only=True)
class Aside:
    """The addresses that are not given now."""

    taken: frozenset[IPAddress] = frozenset()
    """Claimed but not up. A service that did not ask for it by name gets another one."""
    avoided: frozenset[IPAddress] = frozenset()
    """All addresses that are set aside, claimed or not."""
    again: tuple[IPAddress, ...] = ()
    """The addresses to try again when no other one is free, the longest untried first."""


NOTHING = Aside()


@dataclass(slots=True)
class _Entry:
    pool: str
    message: str
    time: str
    """RFC 3339, when it was found taken last."""
    tried_s: float
    """The same on the clock of this process."""


class SetAside:
    """Remembers; a plain value that takes the time, in seconds on any clock."""

    def __init__(self) -> None:
        self._entries: dict[IPAddress, _Entry] = {}
        self._taken: dict[IPAddress, str] = {}
        self._learned: set[str] = set()

    def __bool__(self) -> bool:
        """Whether any address is set aside."""
        return bool(self._entries)

    def learn(self, pools: Iterable[IpClaimPool], now_s: float, now: datetime) -> None:
        """Take what the status of each pool says, once; later it is only written."""
        for pool in pools:
            name = pool.metadata.name
            if name in self._learned:
                continue
            self._learned.add(name)
            for text, shown in (pool.status.set_aside or {}).items():
                ip, age_s = parse_ip(text), seconds_since(shown.time, now)
                if ip is not None and 0 <= age_s < KEEP_S:
                    entry = _Entry(name, shown.message, shown.time, now_s - age_s)
                    self._entries.setdefault(ip, entry)

    def update(self, claims: Iterable[IpClaim], now_s: float, now: str) -> dict[IPAddress, str]:
        """Read the claims; return the addresses that are newly set aside, each with the reason.

        Needed are the claims of addresses that are set aside, and those that are `taken`.
        """
        self._expire(now_s)
        counts = Counter(entry.pool for entry in self._entries.values())
        news: dict[IPAddress, str] = {}
        found: dict[IPAddress, str] = {}
        for claim in claims:
            message = taken(claim)
            interface = parse_cidr(claim.spec.cidr) if message or self._entries else None
            if interface is None:
                continue
            ip, pool = interface.ip, pool_of(claim)
            if not message:
                if claim.status.holder:
                    self._entries.pop(ip, None)  # it is up, hence free
            elif ip in self._entries or counts[pool] < MOST:
                if ip not in self._entries:
                    counts[pool] += 1
                if ip not in self._taken:
                    news[ip] = message
                    self._entries[ip] = _Entry(pool, message, now, now_s)
                found[ip] = message
        self._taken = found
        return news

    def view(self, now_s: float) -> Aside:
        """Return what not to give now."""
        if not self._entries:
            return NOTHING
        self._expire(now_s)
        ready = [
            (entry.tried_s, ip.version, int(ip), ip)
            for ip, entry in self._entries.items()
            if now_s - entry.tried_s >= AGAIN_S and ip not in self._taken
        ]
        return Aside(
            taken=frozenset(self._taken),
            avoided=frozenset(self._entries),
            again=tuple(ip for _, _, _, ip in sorted(ready)),
        )

    def next_s(self, now_s: float) -> float | None:
        """Return in how many seconds `view` differs without news; None for never."""
        ages = [now_s - e.tried_s for ip, e in self._entries.items() if ip not in self._taken]
        due = [limit - age for age in ages for limit in (AGAIN_S, KEEP_S) if limit > age]
        return min(due) if due else None

    def listed(self) -> Mapping[IPAddress, SetAsideAddress]:
        """Return what the pools' statuses should say."""
        return {
            ip: SetAsideAddress(message=entry.message, time=entry.time)
            for ip, entry in self._entries.items()
        }

    def _expire(self, now_s: float) -> None:
        old = [
            ip
            for ip, entry in self._entries.items()
            if now_s - entry.tried_s >= KEEP_S and ip not in self._taken
        ]
        for ip in old:
            del self._entries[ip]


def free_of(
    unused: Iterator[IPAddress], aside: Aside, *, again: Iterable[IPAddress]
) -> Iterator[IPAddress]:
    """Yield what is `unused` and not set aside, then the addresses to try `again`."""
    for ip in unused:
        if ip not in aside.avoided:
            yield ip
    yield from again


def seconds_since(time: str, now: datetime) -> float:
    """Return how long ago that was; less than 0 when nobody can tell."""
    try:
        return (now - datetime.fromisoformat(time)).total_seconds()
    except (ValueError, TypeError):
        return -1.0
