"""Keeps the addresses of claims that left this node until another node has them up.

Guarantees: an address is kept at most `timeout_s`, and at most `UNKNOWN_S` while the fate of its
claim is unknown. Time in which the API server takes no heartbeats does not count: the next holder
may not have heard of its claim. Then the wire decides (`extip.fencing`), and an address that made
way is not kept any more. An address whose claim was deleted goes as soon as that is known. It does
not guarantee that the next holder is up by then.

The owner tasks are several of `Handover.run`; the other methods may be called from any task of the
same loop.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from random import Random

from extip import log
from extip.api.ipcontroller_v1 import IpClaim
from extip.claims.policy.node_claims import HeldClaim
from extip.clock import Clock
from extip.errors import ApiError, NotFoundError
from extip.handover.policy import UNKNOWN_S, Fate, fate, keep_until, version_of
from extip.net.interfaces import IPAddress
from extip.workqueue import WorkQueue

_GRACE_S = 0.05
"""Seconds that the watch gets before the API server is asked."""

_AGAIN_S, _UNCHANGED_S = UNKNOWN_S / 2, 2 * UNKNOWN_S
"""Seconds until the API server is asked again, and where the claim did not change at all."""


@dataclass(slots=True, kw_only=True)
class _Kept:
    claim: HeldClaim
    left_at: float
    since: float
    """The time from which on `timeout_s` counts."""
    version: int
    """The last version of the claim while it was here; older news are about an earlier move."""
    state: Fate = Fate.UNKNOWN
    alone: bool = False
    """The API server was away when its time was over."""


class Handover:
    """The addresses between two holders."""

    def __init__(  # noqa: PLR0913 - a composition of parts
        self,
        *,
        node: str,
        watched: Callable[[str], IpClaim | None],
        fetch: Callable[[str], Awaitable[IpClaim]],
        timeout_s: float,
        is_up: Callable[[IPAddress], bool],
        is_heard: Callable[[], bool],
        on_change: Callable[[], None],
        clock: Clock,
        rng: Random,
    ) -> None:
        """Compose.

        `watched` returns a claim that `node` held before, as the watch showed it last. `fetch` asks
        the API server and raises ApiError. `is_up` tells whether an IP is on an interface, and
        `is_heard` whether the API server takes this node's heartbeats. `on_change` is called when
        an address is not kept any more.
        """
        self._node = node
        self._watched = watched
        self._fetch = fetch
        self._timeout_s = timeout_s
        self._is_up = is_up
        self._is_heard = is_heard
        self._on_change = on_change
        self._clock = clock
        self._queue: WorkQueue[str] = WorkQueue(rng=rng)
        self._kept: dict[str, _Kept] = {}
        self._log = log.get_logger("handover")

    def kept(self) -> list[HeldClaim]:
        """Return the claims whose addresses stay, although the claims left."""
        return [kept.claim for kept in self._kept.values() if self._is_there(kept)]

    def begin(self, claim: HeldClaim, *, version: int) -> None:
        """Keep the address of a claim that just left; `version` is the last one it had here."""
        now = self._clock.monotonic()
        self._kept[claim.name] = _Kept(claim=claim, left_at=now, since=now, version=version)
        self._log.info("handover_began", claim=claim.name)
        self.on_claim(claim.name)
        self._queue.add_after(claim.name, _GRACE_S)

    def cancel(self, name: str) -> None:
        """Forget a claim that is this node's again."""
        self._kept.pop(name, None)

    def on_claim(self, name: str) -> None:
        """Take a change of a claim that this node held before (an informer's handler)."""
        kept = self._kept.get(name)
        if kept is None:
            return
        claim = self._seen(kept)
        if claim is None:
            self._queue.add(name)  # deleted or moved once more: ask the API server
        else:
            self._decide(kept, fate(claim, node=self._node))

    async def run(self) -> None:
        """Follow kept claims until their addresses may go; until cancelled."""
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
            self._end(kept, now)
        elif self._seen(kept) is not None:
            self._queue.add_after(name, until - now)
        elif now < kept.left_at + _GRACE_S:
            self._queue.add_after(name, kept.left_at + _GRACE_S - now)
        else:
            await self._ask(kept, until - now)

    async def _ask(self, kept: _Kept, bound_s: float) -> None:
        unchanged = False
        try:
            async with asyncio.timeout(min(bound_s, UNKNOWN_S)):
                claim = await self._fetch(kept.claim.name)
            # An unchanged claim has no report of the next holder, but perhaps an old one of it.
            unchanged = version_of(claim) == kept.version
            state = Fate.MOVING if unchanged else fate(claim, node=self._node)
        except NotFoundError:
            state = Fate.GONE
        except (ApiError, TimeoutError):
            state = kept.state
        if self._kept.get(kept.claim.name) is not kept:
            return  # it came back while the API server was asked
        self._decide(kept, state)
        self._queue.add_after(kept.claim.name, _UNCHANGED_S if unchanged else _AGAIN_S)

    def _decide(self, kept: _Kept, state: Fate) -> None:
        kept.state = state
        until = self._until(kept)
        now = self._clock.monotonic()
        if until is None or now >= until:
            self._end(kept, now)
        else:
            self._queue.add_after(kept.claim.name, until - now)

    def _end(self, kept: _Kept, now: float) -> None:
        """Let an address go whose time is over, if the next holder could hear of its claim."""
        was_alone, kept.alone = kept.alone, not self._is_heard()
        counts = kept.state is not Fate.MOVING or not (was_alone or kept.alone)
        if counts or not self._is_there(kept):
            self._drop(kept)
        else:
            pause_s = max(self._timeout_s, UNKNOWN_S)  # `--drain-timeout 0s` is allowed
            kept.since = now + pause_s - self._timeout_s
            self._queue.add_after(kept.claim.name, pause_s)

    def _is_there(self, kept: _Kept) -> bool:
        return kept.claim.interface is not None and self._is_up(kept.claim.interface.ip)

    def _seen(self, kept: _Kept) -> IpClaim | None:
        claim = self._watched(kept.claim.name)
        return None if claim is None or version_of(claim) <= kept.version else claim

    def _until(self, kept: _Kept) -> float | None:
        return keep_until(kept.state, left_at=kept.since, timeout_s=self._timeout_s)

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
        self._on_change()
