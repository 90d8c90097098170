"""Somebody else keeps writing what is ours to write: ever more patience, and one Event.

Not to write it back at all would leave a service without its address for good, as soon as two
programs were at odds once.
"""

from collections.abc import Iterable
from random import Random
from typing import Protocol

from extip import log
from extip.clock import Clock
from extip.errors import ApiError
from extip.plan.publication import Publication, SetIngress
from extip.plan.requests import Owner
from extip.plan.rewrites import Rewrites

_Key = tuple[str, Owner]


class Witness(Protocol):
    """Who wrote last."""

    async def rival(self, publication: Publication) -> str:
        """Return which other field manager owns what the publication writes; empty: not known.

        Raises ApiError.
        """


class ContentionReporter(Protocol):
    """Tells users, where they look."""

    def contested(self, owner: Owner, field: str, rival: str) -> None:
        """Record that another program keeps changing a field of the service."""


class Contention:
    """Paces writes of the same to the same service, each for itself."""

    def __init__(
        self, witness: Witness, reporter: ContentionReporter, *, clock: Clock, rng: Random
    ) -> None:
        self._witness = witness
        self._reporter = reporter
        self._clock = clock
        self._rng = rng
        self._rewrites = Rewrites()
        self._told: set[_Key] = set()
        self._log = log.get_logger("allocation")

    def forget(self) -> None:
        """Forget what was written: another may have led meanwhile."""
        self._rewrites = Rewrites()
        self._told.clear()

    def due(
        self, publications: Iterable[Publication]
    ) -> tuple[tuple[Publication, ...], float | None]:
        """Return what may be written now, and the seconds until there is more of it."""
        now = self._clock.monotonic()
        self._rewrites.forget(now)
        found: list[Publication] = []
        later: list[float] = []
        for one in publications:
            due_s = self._rewrites.due_s(_key(one), _content(one))
            if due_s <= now:
                found.append(one)
            else:
                later.append(due_s - now)
        return tuple(found), min(later, default=None)

    async def look(self, one: Publication) -> None:
        """Before a write: tell once of each fight, while it can still be read who wrote last."""
        key = _key(one)
        if not self._rewrites.is_fight(key, _content(one)):
            self._told.discard(key)
            return
        if key in self._told:
            return
        self._told.add(key)
        try:
            rival = await self._witness.rival(one)
        except ApiError:
            rival = ""
        field = field_of(one)
        self._log.warning("field_contested", service=str(one.owner), field=field, rival=rival)
        self._reporter.contested(one.owner, field, rival)

    def wrote(self, one: Publication) -> None:
        """Note that it was written."""
        now = self._clock.monotonic()
        self._rewrites.wrote(_key(one), _content(one), now=now, chance=self._rng.random())


def field_of(publication: Publication) -> str:
    """Return the field of the service that it writes."""
    return "status.loadBalancer" if isinstance(publication, SetIngress) else "spec.externalIPs"


def _key(one: Publication) -> _Key:
    return field_of(one), one.owner


def _content(one: Publication) -> object:
    return one.ingress if isinstance(one, SetIngress) else (one.external_ips, one.allocated)
