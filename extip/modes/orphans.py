"""Claims that went with their kind, once it is back: a controller's, and what a scheduler does.

The scheduler that leads makes them again as they were, with their nodes, those that people made
included: nobody deleted them. A controller keeps the addresses until it hears what became of each.
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
from extip.errors import (
    ApiError,
    ApiUnavailableError,
    ConflictError,
    NotFoundError,
)
from extip.kube.kind_watch import KindWatch
from extip.supervisor import for_each

PATIENCE_S = 60.0
"""So long after the kind came back, what is not there again is not wanted: a scheduler has had time
to be elected and to make a thousand claims twice over."""

_LOOK_S = 2.0
_ASK_S = 1.0
_ASKED_AT_ONCE = 4
_MADE_AT_ONCE = 16
_MAKE_S = 4.0


class Orphans:
    """Of one process; both tasks may run beside each other."""

    def __init__(
        self,
        kind: KindWatch,
        *,
        settled: Callable[[], None] = lambda: None,
        clock: Clock,
        rng: Random,
    ) -> None:
        """Compose; `settled` is called when a scheduler is done with them."""
        self.vanished: Vanished[IpClaim] = Vanished(kind, keep=True)
        """For the informer of claims."""
        self._kind = kind
        self._settled = settled
        self._clock = clock
        self._rng = rng
        self._back_at: float | None = None
        self._unmade: set[str] = set()
        """What could not be made again so far: nothing else waits for those."""
        self._log = log.get_logger("orphans")

    @property
    def pending(self) -> bool:
        """Whether there is no telling yet which claims there are.

        One that is not made at once counts as it was: what is decided about it fails until it is.
        """
        return bool(self._kind.missing) or not self._unmade.issuperset(self.vanished.orphans)

    async def adopt(self, node: str, fetch: Callable[[str], Awaitable[IpClaim]]) -> None:
        """Find out who has the claims of a node now; until cancelled."""
        while True:
            late = await self._wait()
            each = partial(self._ask, node, fetch, late=late)
            await for_each(tuple(self.vanished.orphans), each, limit=_ASKED_AT_ONCE)

    async def restore(
        self, get: Callable[[str], IpClaim | None], create: Callable[[IpClaim], Awaitable[IpClaim]]
    ) -> None:
        """Make the claims again; until cancelled. For who leads alone."""

        async def make(name: str) -> None:
            claim = get(name)
            if claim is not None:
                await self._make(claim, create)

        while True:
            if self.vanished.orphans and not self._kind.missing:
                self._unmade &= {*self.vanished.orphans}
                await for_each(tuple(self.vanished.orphans), make, limit=_MADE_AT_ONCE)
                self._settled()
            elif self._kind.missing:
                self._unmade.clear()
            await self._clock.sleep(_LOOK_S / 10)

    async def expire(self) -> None:
        """Forget what nobody made again; until cancelled."""
        while True:
            if await self._wait():
                self.vanished.drop(tuple(self.vanished.orphans))
                self._settled()

    async def _wait(self) -> bool:
        """Wait while there is nothing to do; return whether it is late by now."""
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
    """Return what to write: what people and schedulers said of it, not what servers did."""
    meta = claim.metadata
    return IpClaim(
        metadata=FullObjectMeta(name=meta.name, labels=meta.labels, annotations=meta.annotations),
        spec=claim.spec,
    )
