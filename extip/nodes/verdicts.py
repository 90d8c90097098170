"""Writes the verdict of the leading scheduler into each IpNode: its condition Ready.

It runs only while this process leads, and is not urgent. After a change it waits for `SETTLE_S`. It
writes one IpNode after the other, and only a few a second, since every controller watches all of
them. At rest it does nothing. `policy.verdict` decides.

The owner task is `NodeVerdicts.run`.
"""

import asyncio
from collections.abc import Callable, Mapping
from random import Random

from extip import log
from extip.api.ipcontroller_v1 import IpNode
from extip.api.meta_v1 import Condition
from extip.api.resources import IP_NODES
from extip.backoff import Backoff
from extip.clock import Clock
from extip.errors import ApiError, ConflictError, NotFoundError
from extip.kube.client import ApiClient
from extip.nodes.policy.verdict import NOT_FOUND, differs, verdict_patch
from extip.scheduling.policy.filters import Unfit
from extip.writes.backoff import Failure, WriteBackoff
from extip.writes.lanes import is_away

SETTLE_S = 1.0
"""Seconds. A change that is over sooner is not written. A node that registers is not told of its
missing Lease, which comes at the same time."""

PACE_S = 0.2
"""Seconds between two writes."""

WRITE_S = 4.0
"""Seconds for a write, as for all writes of a leader."""

_LONGEST_RETRY_S = 30.0
"""The longest delay of a failed write."""

_AWAY = 2
"""Unanswered writes in a row, of different IpNodes, after which the server is away. Then one is
tried at a time, ever more rarely."""

_RETRY = Backoff(initial_s=1.0, cap_s=_LONGEST_RETRY_S)

_TICK_S = 0.001
"""A timer may fire a moment early."""

_WRONG = frozenset({NOT_FOUND, Unfit.NO_NODE.value})
"""Reasons that a person has to mend."""


class NodeVerdicts:
    """Brings the condition Ready of IpNodes in line with what is known of their nodes."""

    def __init__(
        self,
        records: Mapping[str, IpNode],
        judge: Callable[[str], Condition | None],
        client: ApiClient,
        *,
        clock: Clock,
        rng: Random,
    ) -> None:
        """`judge` returns None while nothing can be said of a node; `trigger` follows then."""
        self._records = records
        self._judge = judge
        self._client = client
        self._clock = clock
        self._rng = rng
        self._triggered = asyncio.Event()
        self._backoff = WriteBackoff(clock=clock, rng=rng, longest_s=_LONGEST_RETRY_S)
        self._unanswered = 0
        """Writes in a row."""
        self._log = log.get_logger("verdicts")

    def trigger(self) -> None:
        """Look at all nodes soon: something about one has changed."""
        self._triggered.set()

    async def run(self) -> None:
        """Write what differs whenever something may; until cancelled."""
        self._unanswered = 0
        self._backoff.clear()
        self.trigger()
        while True:
            await self._triggered.wait()
            await self._clock.sleep(SETTLE_S)
            self._triggered.clear()
            await self._write_all()
            if self._unanswered >= _AWAY:
                delay_s = _RETRY.delay_s(self._unanswered - 1, self._rng.random())
                await self._clock.sleep(delay_s)
                self.trigger()

    async def _write_all(self) -> None:
        """Write to all IpNodes that differ and need not wait, until the server seems to be away.

        Nodes that may not hold IPs come first. IpNodes whose last write was not answered come last.
        """
        stale = [
            (self._backoff.is_suspect(name), condition.status == "True", name)
            for name, record in self._records.items()
            if (condition := self._judge(name)) is not None and differs(record, condition)
        ]
        for _, _, name in sorted(stale):
            if not self._backoff.is_waiting(name):
                await self._write(name)
                if self._unanswered >= _AWAY:
                    return
                await self._clock.sleep(PACE_S)

    async def _write(self, name: str) -> None:
        record, condition = self._records.get(name), self._judge(name)
        if record is None or condition is None or not differs(record, condition):
            return  # meanwhile
        now = self._clock.utcnow().strftime("%Y-%m-%dT%H:%M:%SZ")
        try:
            async with asyncio.timeout(WRITE_S):
                patch = verdict_patch(record, condition, now=now)
                await self._client.patch(IP_NODES, patch, name=name, subresource="status")
        except (ConflictError, NotFoundError):
            self._answered()
            self.trigger()  # the watch is behind
        except ApiError as error:
            if is_away(error):
                self._failed(name, Failure.UNANSWERED, str(error))
            else:
                self._answered()
                self._failed(name, Failure.REFUSED, str(error))
        except TimeoutError:
            self._failed(name, Failure.UNANSWERED, "timed out")
        else:
            self._answered()
            self._backoff.done(name)
            report = self._log.warning if condition.reason in _WRONG else self._log.info
            report(
                "node_judged",
                node=name,
                state=condition.status,
                reason=condition.message or condition.reason,
            )

    def _answered(self) -> None:
        if self._unanswered >= _AWAY:
            self._backoff.hasten()
            self.trigger()
        self._unanswered = 0

    def _failed(self, name: str, failure: Failure, error: str) -> None:
        """Have the write made again later; it delays no other. Say so once."""
        self._unanswered += failure is Failure.UNANSWERED
        delay_s = self._backoff.failed(name, failure, error)
        asyncio.get_running_loop().call_later(delay_s + _TICK_S, self.trigger)
        is_news = self._backoff.news(name) and self._unanswered < _AWAY
        report = self._log.warning if is_news else self._log.debug
        report("verdict_not_written", node=name, error=error)
