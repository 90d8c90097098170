"""Keeps the addresses of claims that left this node until another node has them up.

Guarantees: an address is kept at most `timeout_s`, and at most `UNKNOWN_S` when nothing is known
of its claim; one whose claim was deleted goes as soon as that is known.

The owner tasks are `Handover.run`, of which there may be several; the other methods may be called
from any task of the same loop.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from random import Random

from extip import log
from extip.api.ipcontroller_v1 import IpClaim
from extip.clock import Clock
from extip.errors import ApiError, NotFoundError
from extip.plan.handover import UNKNOWN_S, Fate, fate, keep_until, version_of
from extip.plan.node_claims import HeldClaim
from extip.workqueue import WorkQueue

_GRACE_S = 0.05
"""Time that the watch gets before the API server is asked."""


@dataclass(slots=True, kw_only=True)
class _Kept:
    claim: HeldClaim
    left_at: float
    version: int
    """What the watch shows from before this version is about an earlier move."""
    state: Fate = Fate.UNKNOWN


class Handover:
    """Addresses between two holders."""

    def __init__(  # noqa: PLR0913 - a composition of ports
        self,
        *,
        node: str,
        watched: Callable[[str], IpClaim | None],
        fetch: Callable[[str], Awaitable[IpClaim]],
        timeout_s: float,
        changed: Callable[[], None],
        clock: Clock,
        rng: Random,
    ) -> None:
        """Compose.

        `watched` returns a claim that `node` held before, as the watch last showed it; `fetch`
        asks the API server and raises ApiError. `changed` is called when less is kept.
        """
        self._node = node
        self._watched = watched
        self._fetch = fetch
        self._timeout_s = timeout_s
        self._changed = changed
        self._clock = clock
        self._queue: WorkQueue[str] = WorkQueue(rng=rng)
        self._kept: dict[str, _Kept] = {}
        self._log = log.get_logger("handover")

    def kept(self) -> list[HeldClaim]:
        """Return whose addresses are to stay, though their claims left."""
        return [kept.claim for kept in self._kept.values()]

    def left(self, claim: HeldClaim, *, version: int) -> None:
        """Keep the address of a claim that just left; `version` is the last one it had here."""
        now = self._clock.monotonic()
        self._kept[claim.name] = _Kept(claim=claim, left_at=now, version=version)
        self._log.info("handover_began", claim=claim.name)
        self.look(claim.name)
        self._queue.add_after(claim.name, _GRACE_S)

    def returned(self, name: str) -> None:
        """Forget a claim that is this node's again."""
        self._kept.pop(name, None)

    def look(self, name: str) -> None:
        """Look again at what the watch says of a claim (an informer's handler)."""
        kept = self._kept.get(name)
        if kept is None:
            return
        claim = self._seen(kept)
        if claim is None:
            self._queue.add(name)  # deleted, or moved once more: only the API server knows
        else:
            self._decide(kept, fate(claim, node=self._node))

    async def run(self) -> None:
        """Follow what is kept until it may go; until cancelled."""
        while True:
            name = await self._queue.get()
            try:
                await self._follow(name)
            finally:
                self._queue.done(name)

    async def _follow(self, name: str) -> None:
        kept = self._kept.get(name)
        if kept is None:
            return
        now = self._clock.monotonic()
        until = self._until(kept)
        if until is None or now >= until:
            self._drop(kept)
        elif self._seen(kept) is not None:
            self._queue.add_after(name, until - now)
        elif now < kept.left_at + _GRACE_S:
            self._queue.add_after(name, kept.left_at + _GRACE_S - now)
        else:
            await self._ask(kept, until - now)

    async def _ask(self, kept: _Kept, bound_s: float) -> None:
        try:
            async with asyncio.timeout(min(bound_s, UNKNOWN_S)):
                state = fate(await self._fetch(kept.claim.name), node=self._node)
        except NotFoundError:
            state = Fate.GONE
        except (ApiError, TimeoutError):
            state = kept.state
        if self._kept.get(kept.claim.name) is not kept:
            return  # it came back meanwhile
        self._decide(kept, state)
        self._queue.add_after(kept.claim.name, UNKNOWN_S / 2)

    def _decide(self, kept: _Kept, state: Fate) -> None:
        kept.state = state
        until = self._until(kept)
        now = self._clock.monotonic()
        if until is None or now >= until:
            self._drop(kept)
        else:
            self._queue.add_after(kept.claim.name, until - now)

    def _seen(self, kept: _Kept) -> IpClaim | None:
        claim = self._watched(kept.claim.name)
        return None if claim is None or version_of(claim) <= kept.version else claim

    def _until(self, kept: _Kept) -> float | None:
        return keep_until(kept.state, left_at=kept.left_at, timeout_s=self._timeout_s)

    def _drop(self, kept: _Kept) -> None:
        if self._kept.pop(kept.claim.name, None) is None:
            return
        took_s = self._clock.monotonic() - kept.left_at
        report = self._log.warning if kept.state is Fate.MOVING else self._log.info
        report(
            "handover_ended",
            claim=kept.claim.name,
            outcome=kept.state.value,
            after_s=round(took_s, 3),
        )
        self._changed()
