"""Orphans: claims that vanished with their definition, on a controller and on a scheduler.

When the definition is back, the leading scheduler makes them again with their nodes. That includes
claims of persons, since nobody deleted them. A controller keeps their addresses until it has read
each claim again.
"""

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from random import Random

from extip import log
from extip.api.ipcontroller_v1 import IpClaim
from extip.api.meta_v1 import FullObjectMeta
from extip.cache.vanished import Vanished
from extip.clock import Clock
from extip.definitions.kind_watch import KindWatch
from extip.errors import (
    ApiError,
    ApiUnavailableError,
    ConflictError,
    NotFoundError,
)
from extip.supervisor import for_each

PATIENCE_S = 60.0
"""Seconds after the return of the definition. A claim that was not made again by then is not
wanted: a scheduler had time to be elected, and to make a thousand claims twice."""

_LOOK_S = 2.0
_ASK_S = 1.0
_ASKED_AT_ONCE = 4
_MADE_AT_ONCE = 16
_MAKE_S = 4.0


class Orphans:
    """The orphans of one process. Its two tasks may run at the same time."""

    def __init__(
        self,
        kind: KindWatch,
        *,
        on_settled: Callable[[], None] = lambda: None,
        patience_s: float = 0.0,
        clock: Clock,
        rng: Random,
    ) -> None:
        """`on_settled` is called when a scheduler has made all of them again.

        `patience_s` is that of `Vanished`.
        """
        self.vanished: Vanished[IpClaim] = Vanished(kind, keep=True, patience_s=patience_s)
        """The port of the informer of claims."""
        self._kind = kind
        self._on_settled = on_settled
        self._clock = clock
        self._rng = rng
        self._back_at: float | None = None
        self._unmade: set[str] = set()
        """Claims that could not be made again so far; no other claim waits for them."""
        self._log = log.get_logger("orphans")

    @property
    def pending(self) -> bool:
        """Whether there is no telling yet which claims there are.

        One that is not made at once counts as it was: what is decided about it fails until it is.
        """
        return bool(self._kind.missing) or not self._unmade.issuperset(self.vanished.orphans)

    async def adopt(self, node: str, fetch: Callable[[str], Awaitable[IpClaim]]) -> None:
        """Read the claims of a node again, until cancelled."""
        while True:
            late = await self._wait()
            each = partial(self._ask, node, fetch, late=late)
            await for_each(tuple(self.vanished.orphans), each, limit=_ASKED_AT_ONCE)

    async def restore(
        self, get: Callable[[str], IpClaim | None], create: Callable[[IpClaim], Awaitable[IpClaim]]
    ) -> None:
        """Make the claims again, until cancelled. Only the leader runs it."""

        async def make(name: str) -> None:
            claim = get(name)
            if claim is not None:
                await self._make(claim, create)

        while True:
            await self.vanished.wait_orphans()
            if not self._kind.missing:
                self._unmade &= {*self.vanished.orphans}
                await for_each(tuple(self.vanished.orphans), make, limit=_MADE_AT_ONCE)
                self._on_settled()
            else:
                self._unmade.clear()
            await self._clock.sleep(_LOOK_S / 10)

    async def expire(self) -> None:
        """Forget claims that were not made again in time, until cancelled."""
        while True:
            if await self._wait():
                self.vanished.drop(tuple(self.vanished.orphans))
                self._on_settled()

    async def _wait(self) -> bool:
        """Wait until there are orphans; return whether their time is over."""
        while True:
            await self._clock.sleep(_LOOK_S * (1 - self._rng.random() / 4))
            if not self.vanished.orphans or self._kind.missing:
                self._back_at = None
                continue
            now = self._clock.monotonic()
            self._back_at = now if self._back_at is None else self._back_at
            return now - self._back_at > PATIENCE_S

    async def _ask(
        self, node: str, fetch: Callable[[str], Awaitable[IpClaim]], name: str, *, late: bool
    ) -> None:
        try:
            async with asyncio.timeout(_ASK_S):
                claim = await fetch(name)
        except NotFoundError:
            if late:
                self._log.warning("orphan_dropped", claim=name, after_s=PATIENCE_S)
                self.vanished.drop([name])
        except (ApiError, TimeoutError):
            return
        else:
            if claim.spec.node_name == node:
                self.vanished.seen(name)
            else:
                self.vanished.drop([name])

    async def _make(self, claim: IpClaim, create: Callable[[IpClaim], Awaitable[IpClaim]]) -> None:
        name = claim.metadata.name
        try:
            async with asyncio.timeout(_MAKE_S):
                await create(_as_it_was(claim))
        except (ApiUnavailableError, NotFoundError, TimeoutError) as error:
            # Of several API servers one may know the kind before another one does.
            self._unmade.add(name)
            self._log.debug("claim_not_restored", claim=name, error=str(error))
        except ConflictError:
            self.vanished.seen(name)  # it is there already
        except ApiError as error:
            self._log.warning("claim_not_restored", claim=name, error=str(error))
            self.vanished.drop([name])
        else:
            self.vanished.seen(name)
            self._log.info("claim_restored", claim=name, node=claim.spec.node_name)


def _as_it_was(claim: IpClaim) -> IpClaim:
    """Return the claim to write: without the fields that the API server sets."""
    meta = claim.metadata
    return IpClaim(
        metadata=FullObjectMeta(name=meta.name, labels=meta.labels, annotations=meta.annotations),
        spec=claim.spec,
    )
