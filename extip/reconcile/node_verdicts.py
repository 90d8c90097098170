"""Tells in each IpNode what the scheduler that leads concludes of the node: its condition Ready.

Runs only while this process leads, and has time: it waits until things have settled, writes one
IpNode after the other, and no more than a few a second, since every controller watches them all. At
rest it does nothing. Decisions come from `extip.plan.node_verdict`.

The owner task is `NodeVerdicts.run`.
"""

import asyncio
from collections.abc import Callable, Mapping
from random import Random
from typing import Protocol

from extip import log
from extip.api.ipcontroller_v1 import IpNode
from extip.api.meta_v1 import Condition
from extip.clock import Clock
from extip.errors import ApiError, ConflictError, NotFoundError
from extip.plan.backoff import Backoff
from extip.plan.eligibility import Obstacle
from extip.plan.node_verdict import NOT_FOUND, differs, verdict_patch

SETTLE_S = 1.0
"""What is over sooner is not written; neither is a node that registers told of its missing Lease,
which comes at the same time."""

PACE_S = 0.2
"""Between two writes."""

WRITE_S = 4.0
"""Bound on a write, as for all others of a leader."""

_RETRY = Backoff(initial_s=1.0, cap_s=30.0)

_WRONG = frozenset({NOT_FOUND, Obstacle.NO_NODE.value})
"""Reasons that a person has to mend."""


class NodeStatusStore(Protocol):
    """IpNodes at the API server."""

    async def patch_status(self, name: str, patch: object) -> IpNode:
        """Merge into its status. Raises ConflictError when it has changed, and ApiError."""


class NodeVerdicts:
    """Brings the condition Ready of IpNodes in line with what is known of their nodes."""

    def __init__(
        self,
        records: Mapping[str, IpNode],
        judge: Callable[[str], Condition | None],
        store: NodeStatusStore,
        *,
        clock: Clock,
        rng: Random,
    ) -> None:
        """`judge` returns None while nothing can be said of a node; `trigger` follows then."""
        self._records = records
        self._judge = judge
        self._store = store
        self._clock = clock
        self._rng = rng
        self._triggered = asyncio.Event()
        self._failures = 0
        self._failed: set[str] = set()
        """IpNodes that could not be written: they come last, and keep no other waiting."""
        self._log = log.get_logger("verdicts")

    def trigger(self) -> None:
        """Look at all nodes soon: something about one has changed."""
        self._triggered.set()

    async def run(self) -> None:
        """Write what differs whenever something may; until cancelled."""
        self._failures = 0
        self._failed.clear()
        self.trigger()
        while True:
            await self._triggered.wait()
            await self._clock.sleep(SETTLE_S)
            self._triggered.clear()
            if not await self._write_all():
                self._failures += 1
                self.trigger()
                await self._clock.sleep(_RETRY.delay_s(self._failures, self._rng.random()))
            else:
                self._failures = 0

    async def _write_all(self) -> bool:
        """Write to all that differ, those first that may not hold IPs; return whether it went."""
        stale = [
            (name in self._failed, condition.status == "True", name)
            for name, record in self._records.items()
            if (condition := self._judge(name)) is not None and differs(record, condition)
        ]
        self._failed &= {name for _, _, name in stale}
        for _, _, name in sorted(stale):
            if not await self._write(name):
                self._failed.add(name)
                return False
            self._failed.discard(name)
            await self._clock.sleep(PACE_S)
        return True

    async def _write(self, name: str) -> bool:
        record, condition = self._records.get(name), self._judge(name)
        if record is None or condition is None or not differs(record, condition):
            return True  # meanwhile
        now = self._clock.utcnow().strftime("%Y-%m-%dT%H:%M:%SZ")
        try:
            async with asyncio.timeout(WRITE_S):
                await self._store.patch_status(name, verdict_patch(record, condition, now=now))
        except (ConflictError, NotFoundError):
            self.trigger()  # the watch is behind
        except (ApiError, TimeoutError) as error:
            report = self._log.debug if self._failures else self._log.warning
            report("verdict_not_written", node=name, error=str(error) or "timed out")
            return False
        else:
            report = self._log.warning if condition.reason in _WRONG else self._log.info
            report(
                "node_judged",
                node=name,
                state=condition.status,
                reason=condition.message or condition.reason,
            )
        return True
