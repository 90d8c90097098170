"""Another program keeps changing a field that extip writes: rarer writes, and one Event.

extip never gives up: after one dispute between two programs the service would stay without its
address for ever.
"""

from collections.abc import Iterable
from random import Random

from extip import log
from extip.clock import Clock
from extip.errors import ApiError
from extip.pools.policy.service_update import ServiceUpdate, SetIngress, field_of
from extip.pools.publisher import AllocationEvents, AllocationWriter
from extip.services.policy.requests import Owner
from extip.writes.policy.rewrites import Rewrites

_Key = tuple[str, Owner]


class Contention:
    """Paces writes of the same content to a service, each service for itself."""

    def __init__(
        self, writer: AllocationWriter, events: AllocationEvents, *, clock: Clock, rng: Random
    ) -> None:
        self._writer = writer
        self._events = events
        self._clock = clock
        self._rng = rng
        self._rewrites = Rewrites()
        self._told: set[_Key] = set()
        self._log = log.get_logger("allocation")

    def forget(self) -> None:
        """Forget all writes: another process may have led meanwhile."""
        self._rewrites = Rewrites()
        self._told.clear()

    def due(
        self, service_updates: Iterable[ServiceUpdate]
    ) -> tuple[tuple[ServiceUpdate, ...], float | None]:
        """Return the writes of now, and the seconds until the next one has waited long enough."""
        now = self._clock.monotonic()
        self._rewrites.forget(now)
        found: list[ServiceUpdate] = []
        later: list[float] = []
        for one in service_updates:
            due_s = self._rewrites.due_s(_key(one), _content(one))
            if due_s <= now:
                found.append(one)
            else:
                later.append(due_s - now)
        return tuple(found), min(later, default=None)

    async def report(self, one: ServiceUpdate) -> None:
        """Report a contested field once, before our write replaces its last owner."""
        key = _key(one)
        if not self._rewrites.is_fight(key, _content(one)):
            self._told.discard(key)
            return
        if key in self._told:
            return
        self._told.add(key)
        try:
            rival = await self._writer.rival(one)
        except ApiError:
            rival = ""
        field = field_of(one)
        self._log.warning("field_contested", service=str(one.owner), field=field, rival=rival)
        self._events.contested(one.owner, field, rival)

    def wrote(self, one: ServiceUpdate) -> None:
        """Count a write."""
        now = self._clock.monotonic()
        self._rewrites.wrote(_key(one), _content(one), now=now, chance=self._rng.random())


def _key(one: ServiceUpdate) -> _Key:
    return field_of(one), one.owner


def _content(one: ServiceUpdate) -> object:
    return one.ingress if isinstance(one, SetIngress) else (one.external_ips, one.allocated)
