"""Tells in each claim what became of it on this node: conditions, holder, since when.

Only what differs is written, a claim at a time, several at once; the address path never waits for
it. Conditions that others write stay: a write that is overtaken is made again from what is there.

The owner tasks are `ClaimStatusWriter.run`, as many as writes may be under way at once.
"""

import asyncio
from collections.abc import Mapping
from random import Random
from typing import Protocol

from extip import log
from extip.api.ipcontroller_v1 import IpClaim, IpClaimStatus
from extip.clock import Clock
from extip.errors import ApiError, ApiUnavailableError, ConflictError, NotFoundError
from extip.plan.backoff import Backoff
from extip.plan.node_claims import Outcome, reported, status_patch, stopped
from extip.supervisor import for_each
from extip.workqueue import WorkQueue

CONCURRENCY = 12
"""Writes at once."""

_STOP_S = 0.5
"""Bound on the last writes, of 2 s for the whole stop."""

_BACKOFF = Backoff(initial_s=0.02, cap_s=15.0)

_DOWN_S = 0.2
"""An address that is missing is looked at again before anybody is told: one whose prefix length
changes is gone for a moment."""

_FEW = 16
_QUIET_S = 0.3
_MAX_HOLD_S = 4.0
_TRICKLE_S = 0.5
"""When more than a few claims arrive in a row (a node with many has died), reports wait until no
more have come for a moment: the API server is then busy with moving the rest, and traffic waits for
that, not for reports. Not for longer than a drained node waits for them, though: from then on each
of the writers makes one so often."""

_CONFLICTS = 4
"""Times in a row that a claim is read again at once, before it has to wait."""


class ClaimStatusStore(Protocol):
    """Where claims are read and their status is written; every call raises ApiError."""

    async def get(self, name: str) -> IpClaim:
        """Return a claim as it is now. Raises NotFoundError."""

    async def patch_status(self, name: str, patch: object) -> IpClaim:
        """Merge into a claim's status. Raises ConflictError when the claim has changed."""


class _Arrivals:
    """Tells for how long reports are held back while many claims arrive."""

    def __init__(self) -> None:
        self._count = 0
        self._began_at = 0.0
        self._last_at = float("-inf")

    def note(self, count: int, now: float) -> None:
        """Note that the outcomes of so many claims have changed."""
        if now - self._last_at > _QUIET_S:
            self._began_at, self._count = now, 0
        self._count += count
        self._last_at = now

    def hold_s(self, now: float) -> float:
        """Return the seconds for which a report should wait now; not above 0 for none."""
        if not self.many(now):
            return 0.0
        return min(self._last_at + _QUIET_S, self._began_at + _MAX_HOLD_S) - now

    def many(self, now: float) -> bool:
        """Return whether many are arriving."""
        return self._count > _FEW and now - self._last_at < _QUIET_S


class ClaimStatusWriter:
    """Brings the status of this node's claims in line with what became of them."""

    def __init__(
        self,
        claims: Mapping[str, IpClaim],
        store: ClaimStatusStore,
        *,
        node: str,
        link: str,
        clock: Clock,
        rng: Random,
    ) -> None:
        self._claims = claims
        self._store = store
        self._node = node
        self._link = link
        self._clock = clock
        self._queue: WorkQueue[str] = WorkQueue(rng=rng, backoff=_BACKOFF)
        self._outcomes: dict[str, Outcome] = {}
        self._arrivals = _Arrivals()
        self._log = log.get_logger("claim-status")
        self._failing = ""

    def decided(self, outcomes: dict[str, Outcome]) -> None:
        """Take what became of all claims of this node; costs nothing for those that stay so."""
        before, self._outcomes = self._outcomes, outcomes
        changed = [name for name, outcome in outcomes.items() if before.get(name) != outcome]
        for name in changed:
            hesitates = outcomes[name].accepted and not outcomes[name].up
            self._queue.add_after(name, _DOWN_S if hesitates else 0.0)
        if changed:
            self._arrivals.note(len(changed), self._clock.monotonic())

    def look(self, name: str) -> None:
        """Compare a claim that has changed (an informer's handler)."""
        if name in self._outcomes:
            self._queue.add(name)

    async def run(self) -> None:
        """Write what differs; until cancelled."""
        while True:
            name = await self._queue.get()
            try:
                while (hold_s := self._arrivals.hold_s(self._clock.monotonic())) > 0:
                    await self._clock.sleep(hold_s)
                await self._report(name)
                if self._arrivals.many(self._clock.monotonic()):
                    await self._clock.sleep(_TRICKLE_S)
            except ApiError as error:
                self._failed(name, error)
            else:
                self._queue.forget(name)
                self._succeeded()
            finally:
                self._queue.done(name)

    async def stop(self) -> None:
        """Say of all claims that their addresses were removed; after `run` was cancelled.

        Bounded; what cannot be written is logged.
        """
        self._outcomes = {name: stopped(outcome) for name, outcome in self._outcomes.items()}
        try:
            async with asyncio.timeout(_STOP_S):
                await for_each(tuple(self._outcomes), self._report_last, limit=CONCURRENCY)
        except TimeoutError:
            self._log.warning("status_not_written", error=f"no time left after {_STOP_S} s")

    async def _report_last(self, name: str) -> None:
        try:
            await self._report(name)
        except ApiError as error:
            self._log.warning("status_not_written", claim=name, error=str(error))

    async def _report(self, name: str) -> None:
        claim = self._claims.get(name)
        for _ in range(_CONFLICTS):
            status = None if claim is None else self._status(claim)
            if claim is None or status is None:
                return
            try:
                await self._store.patch_status(name, status_patch(claim, status))
            except ConflictError:
                claim = await self._fresh(name)
            except NotFoundError:
                return
            else:
                return
        raise ApiUnavailableError(f"claim {name} was changed again and again")

    def _status(self, claim: IpClaim) -> IpClaimStatus | None:
        """Return the status to write, None for none: it is right, or not this node's to tell."""
        outcome = self._outcomes.get(claim.metadata.name)
        if outcome is None or outcome.cidr != claim.spec.cidr:
            return None  # the next pass decides about it
        if claim.spec.node_name != self._node:
            return None
        now = self._clock.utcnow().strftime("%Y-%m-%dT%H:%M:%SZ")
        return reported(claim, outcome, node=self._node, link=self._link, now=now)

    async def _fresh(self, name: str) -> IpClaim | None:
        try:
            return await self._store.get(name)
        except NotFoundError:
            return None

    def _failed(self, name: str, error: ApiError) -> None:
        """Log trouble once when it begins; what could not be written is tried again."""
        report = self._log.debug if self._failing else self._log.warning
        report("status_not_written", claim=name, error=str(error))
        self._failing = str(error)
        self._queue.retry(name)

    def _succeeded(self) -> None:
        if self._failing:
            self._log.info("status_written_again")
            self._failing = ""
