"""Writes the outcome of each claim on this node into its status: conditions, holder, since.

Only a status that differs is written: one write for a claim at a time, several claims at once. The
address path never waits for a write. Conditions of other writers stay: after a conflict the claim
is read again, and the write is made over the new version.

The owner tasks are `ClaimStatusWriter.run`, one for each of `CONCURRENCY` writes.
"""

import asyncio
from collections.abc import Mapping
from itertools import islice
from random import Random

from extip import log
from extip.api.ipcontroller_v1 import IpClaim, IpClaimStatus
from extip.api.names import PREVIOUS_NODE_LABEL
from extip.api.resources import IP_CLAIMS
from extip.backoff import Backoff
from extip.claims.policy.node_claims import Outcome, status_after, status_patch, stopped
from extip.clock import Clock
from extip.errors import ApiError, ApiUnavailableError, ConflictError, NotFoundError
from extip.kube.client import ApiClient
from extip.supervisor import for_each
from extip.workqueue import WorkQueue
from extip.writes.policy.burst import Burst
from extip.writes.policy.rewrites import Rewrites

CONCURRENCY = 12
"""Writes at once."""

_STOP_S = 0.5
"""Seconds for the last writes; the whole stop has 2 s."""

_BACKOFF = Backoff(initial_s=0.02, cap_s=15.0)

_DOWN_S = 0.2
"""Seconds before a missing address is reported: it is gone for a moment when its prefix length
changes."""

_FEW = 16
_QUIET_S = 0.3
_MAX_HOLD_S = 4.0
_TRICKLE_S = 0.5
"""Many claims arrive in a row when a node with many claims has died. The API server is then busy
with the moves of the rest, and traffic waits for those, not for reports. So after more than `_FEW`
arrivals reports wait for `_QUIET_S` without another one. The wait ends after `_MAX_HOLD_S`, since a
drained node waits for the reports; from then on each writer makes one report in `_TRICKLE_S`."""

_RELEASE_S = 0.05
_NEW_QUIET_S = 1.0
_NEW_MAX_HOLD_S = 60.0
"""Many new IPs come up in a row when many services are created. Nobody waits for a report of an IP
that no node had before, while the API server is busy with the rest of the services. So these
reports may wait for longer. Then `CONCURRENCY` of them are made in `_RELEASE_S`, in `_TRICKLE_S`
while more new IPs come up."""

_CONFLICTS = 4
"""Conflicts in a row after which a write has to wait."""

_CONTESTED_S = 15.0
"""The longest delay of a report that somebody undoes each time, in seconds."""


class ClaimStatusWriter:
    """Keeps the status of this node's claims equal to their outcomes."""

    def __init__(
        self,
        claims: Mapping[str, IpClaim],
        client: ApiClient,
        *,
        node: str,
        clock: Clock,
        rng: Random,
    ) -> None:
        self._claims = claims
        self._client = client
        self._node = node
        self._clock = clock
        self._queue: WorkQueue[str] = WorkQueue(rng=rng, backoff=_BACKOFF)
        self._outcomes: dict[str, Outcome] = {}
        self._arrivals = Burst(few=_FEW, quiet_s=_QUIET_S, longest_s=_MAX_HOLD_S)
        self._newcomers = Burst(few=_FEW, quiet_s=_NEW_QUIET_S, longest_s=_NEW_MAX_HOLD_S)
        self._held_back: dict[str, None] = {}
        """New IPs that are up, and are reported once no more come."""
        self._release_at: asyncio.TimerHandle | None = None
        self._rng = rng
        self._rewrites = Rewrites(_CONTESTED_S)
        self._log = log.get_logger("claim-status")
        self._failing = ""

    def on_outcomes(self, outcomes: dict[str, Outcome]) -> None:
        """Take the outcomes of all claims of this node; an unchanged outcome costs nothing."""
        before, self._outcomes = self._outcomes, outcomes
        changed = [name for name, outcome in outcomes.items() if before.get(name) != outcome]
        new = {name for name in changed if self._nobody_waits_for(name)}
        now = self._clock.monotonic()
        self._arrivals.note(len(changed) - len(new), now)
        self._newcomers.note(len(new), now)
        hold_s = self._newcomers.hold_s(now)
        for name in changed:
            if name in new and hold_s > 0:
                self._held_back[name] = None
                self._release_in(hold_s)
            else:
                self._held_back.pop(name, None)
                hesitates = outcomes[name].accepted and not outcomes[name].up
                self._queue.add_after(name, _DOWN_S if hesitates else 0.0)

    def on_claim(self, name: str) -> None:
        """Compare a claim that has changed with its outcome; an informer's handler."""
        if name in self._outcomes and name not in self._held_back:
            self._queue.add(name)

    async def run(self) -> None:
        """Write each status that differs, until cancelled."""
        while True:
            name = await self._queue.get()
            try:
                while (hold_s := self._arrivals.hold_s(self._clock.monotonic())) > 0:
                    await self._clock.sleep(hold_s)
                if name in self._held_back:
                    continue
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
        """Report for all claims that their addresses were removed, after `run` was cancelled.

        It takes at most `_STOP_S`. A status that cannot be written is logged.
        """
        if self._release_at is not None:
            self._release_at.cancel()
        self._outcomes = {name: stopped(outcome) for name, outcome in self._outcomes.items()}
        try:
            async with asyncio.timeout(_STOP_S):
                await for_each(tuple(self._outcomes), self._report_last, limit=CONCURRENCY)
        except TimeoutError:
            self._log.warning("status_not_written", error=f"no time left after {_STOP_S} s")

    def _nobody_waits_for(self, name: str) -> bool:
        """Whether an IP is up that no other node had: no node waits for the report."""
        claim = self._claims.get(name)
        if claim is None or claim.status.holder or not self._outcomes[name].up:
            return False
        return PREVIOUS_NODE_LABEL not in (claim.metadata.labels or {})

    def _release_in(self, seconds: float) -> None:
        """Report what is held back after that time, unless more new IPs come meanwhile."""
        if self._release_at is None:
            loop = asyncio.get_running_loop()
            self._release_at = loop.call_later(seconds, self._release)

    def _release(self) -> None:
        """Let a few reports go: others, for which nodes may wait, must not be behind many."""
        self._release_at = None
        now = self._clock.monotonic()
        hold_s = self._newcomers.hold_s(now)
        if hold_s <= 0:
            for name in tuple(islice(self._held_back, CONCURRENCY)):
                del self._held_back[name]
                self._queue.add(name)
            hold_s = _TRICKLE_S if self._newcomers.many(now) else _RELEASE_S
        if self._held_back:
            self._release_in(hold_s)

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
            content = claim.metadata.uid, claim.metadata.generation, self._outcomes[name]
            wait_s = self._rewrites.due_s(name, content) - self._clock.monotonic()
            if wait_s > 0:  # somebody undoes it each time
                self._queue.add_after(name, wait_s)
                return
            try:
                patch = status_patch(claim, status)
                await self._client.patch(IP_CLAIMS, patch, name=name, subresource="status")
            except ConflictError:
                claim = await self._fresh(name)
            except NotFoundError:
                return
            else:
                now, chance = self._clock.monotonic(), self._rng.random()
                self._rewrites.wrote(name, content, now=now, chance=chance)
                return
        raise ApiUnavailableError(f"claim {name} was changed again and again")

    def _status(self, claim: IpClaim) -> IpClaimStatus | None:
        """Return the status to write; None when it is right, or when another node writes it."""
        outcome = self._outcomes.get(claim.metadata.name)
        if outcome is None or outcome.cidr != claim.spec.cidr:
            return None  # the next pass decides about it
        if claim.spec.node_name != self._node:
            return None
        now = self._clock.utcnow().strftime("%Y-%m-%dT%H:%M:%SZ")
        return status_after(claim, outcome, node=self._node, now=now)

    async def _fresh(self, name: str) -> IpClaim | None:
        try:
            return await self._client.get(IP_CLAIMS, name=name)
        except NotFoundError:
            return None

    def _failed(self, name: str, error: ApiError) -> None:
        """Log the first of several failures, and try the write again later."""
        report = self._log.debug if self._failing else self._log.warning
        report("status_not_written", claim=name, error=str(error))
        self._failing = str(error)
        self._queue.retry(name)

    def _succeeded(self) -> None:
        if self._failing:
            self._log.info("status_written_again")
            self._failing = ""
