"""UDP clients that were sending before kube-proxy had its rules are answered all the same.

The kernel remembers of each UDP flow where it goes. What a client sends to an IP between the moment
that it comes up and the moment that kube-proxy's rules are there goes to the node itself, and so
does all that it sends from the same socket later: it keeps the entry alive. (TCP is reset, and its
next connection is a new flow.) So the entries of such flows are deleted: a moment after an IP came
up, and again and again, since services and endpoints change later, too. A flow that is the node's
own after all has another entry with its next packet.

It stands between the reconciler and the next announcer, so that it knows what is up.

The owner task is `FlowSweeper.run`; the other methods may be called from any task of the loop.
"""

import asyncio
from collections.abc import Collection, Iterable
from typing import Protocol

from extip import log
from extip.clock import Clock
from extip.plan.link import IPAddress, Link
from extip.reconcile.ports import Announcer

SOON_S = (1.0, 3.0)
"""After an IP came up: kube-proxy has its rules within a second, when it is well."""

EVERY_S, SELDOM_S = 10.0, 20.0
"""Between two looks; the longer one where they take long, be it that the machine is busy."""

_REST = 200.0
"""A look is followed by a rest this many times as long as it took: tables can be large."""

_TICK_S = 0.05
"""A timer may fire a moment early."""


class Flows(Protocol):
    """What the kernel remembers of flows."""

    async def drop_untranslated(self, ips: Collection[IPAddress]) -> int:
        """Delete the entries for UDP to these IPs that are not translated; return how many went."""


class FlowSweeper:
    """Takes the place of the announcer towards the reconciler."""

    def __init__(self, flows: Flows, *, announcer: Announcer, clock: Clock) -> None:
        self._flows = flows
        self._announcer = announcer
        self._clock = clock
        self._log = log.get_logger("flows")
        self._up: set[IPAddress] = set()
        self._due: list[float] = []
        self._woken = asyncio.Event()

    def set_link(self, link: Link | None) -> None:
        """Hand the interface on."""
        self._announcer.set_link(link)

    def announce(self, ips: Iterable[IPAddress]) -> None:
        """Hand on IPs that have come up, and look after their flows soon."""
        known = tuple(ips)
        self._announcer.announce(known)
        self._up.update(known)
        now = self._clock.monotonic()
        # Of many that come up one after the other each waits for its turn among the looks at all.
        if not self._due or self._due[-1] < now + SOON_S[-1] - SOON_S[0]:
            self._due += (now + soon_s for soon_s in SOON_S)
            self._due.sort()
            self._woken.set()

    def hold(self, ips: Iterable[IPAddress]) -> None:
        """Hand on IPs that were up before."""
        known = tuple(ips)
        self._announcer.hold(known)
        self._up.update(known)

    def withdraw(self, ips: Iterable[IPAddress]) -> None:
        """Hand on IPs that are not up any more."""
        gone = tuple(ips)
        self._announcer.withdraw(gone)
        self._up.difference_update(gone)

    async def run(self) -> None:
        """Look after the flows of all IPs that are up; until cancelled."""
        rest_s = EVERY_S
        while True:
            self._woken.clear()
            now = self._clock.monotonic()
            wait_s = min(rest_s, max(0.0, self._due[0] - now)) if self._due else rest_s
            try:
                async with asyncio.timeout(wait_s):
                    await self._woken.wait()
            except TimeoutError:
                rest_s = await self._sweep()
            else:
                rest_s = max(0.0, rest_s - (self._clock.monotonic() - now))

    async def _sweep(self) -> float:
        """Look once; return for how long to rest."""
        began = self._clock.monotonic()
        count = await self._flows.drop_untranslated(frozenset(self._up)) if self._up else 0
        if count:
            self._log.info("udp_flows_dropped", count=count, reason="they went to the node itself")
        now = self._clock.monotonic()
        self._due = [due for due in self._due if due > began + _TICK_S]
        return min(SELDOM_S, max(EVERY_S, _REST * (now - began)))
