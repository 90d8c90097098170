"""Drops connection-tracking entries of UDP flows that began before kube-proxy had its rules.

The kernel records for each UDP flow where it goes. A datagram to an IP that is up, but has no rules
yet, goes to the node itself. All later ones from the same socket do so too, since they keep the
entry alive. (TCP is reset, and its next connection is a new flow.)

So the entries of such flows are deleted: soon after an IP came up, and then regularly, since
services and endpoints change later, too. A flow that really is for the node gets a new entry with
its next packet.

It does not guarantee how soon an entry goes: where connection tracking is large, a sweep comes
every `SELDOM_S`.

The owner task is `FlowSweeper.run`; the other methods may be called from any task of the loop.
"""

from collections.abc import Awaitable, Callable, Collection, Iterable

from extip import log
from extip.addresses.local_addresses import AddressListener
from extip.clock import Clock
from extip.net.interfaces import IPAddress
from extip.trigger import Trigger

SOON_S = (1.0, 3.0)
"""Seconds after an IP came up: kube-proxy has its rules within a second, when it is well."""

EVERY_S, SELDOM_S = 10.0, 20.0
"""Seconds between two sweeps; the longer one where a sweep takes long, for whatever reason."""

_REST = 200.0
"""A sweep is followed by a rest of this many times its duration, up to `SELDOM_S`."""

_TICK_S = 0.05
"""A timer may fire this many seconds early."""


class FlowSweeper(AddressListener):
    """Drops the flows of the IPs that are up."""

    def __init__(
        self,
        drop: Callable[[Collection[IPAddress]], Awaitable[int]],
        *,
        up: Callable[[], frozenset[IPAddress]],
        clock: Clock,
    ) -> None:
        """`drop` deletes the untranslated UDP entries of IPs, and returns their number."""
        self._drop = drop
        self._up = up
        self._clock = clock
        self._log = log.get_logger("flows")
        self._due: list[float] = []
        self._triggered = Trigger()
        self._told = False
        """Such flows were logged, and each sweep since then has found some."""

    def announce(self, _ips: Iterable[IPAddress]) -> None:
        """Look after the flows of IPs that have come up, soon."""
        now = self._clock.monotonic()
        # When many IPs come up one after the other, they share sweeps: not each gets its own.
        if not self._due or self._due[-1] < now + SOON_S[-1] - SOON_S[0]:
            self._due += (now + soon_s for soon_s in SOON_S)
            self._due.sort()
            self._triggered.set()
            self._told = False  # flows of these are news

    async def run(self) -> None:
        """Sweep the flows of all IPs that are up; until cancelled."""
        rest_s = EVERY_S
        while True:
            self._triggered.clear()
            now = self._clock.monotonic()
            wait_s = min(rest_s, max(0.0, self._due[0] - now)) if self._due else rest_s
            if await self._triggered.wait_at_most(wait_s):
                rest_s = max(0.0, rest_s - (self._clock.monotonic() - now))
            else:
                rest_s = await self._sweep()

    async def _sweep(self) -> float:
        """Sweep once; return the seconds to rest."""
        began = self._clock.monotonic()
        up = self._up()
        count = await self._drop(up) if up else 0
        if count:
            report = self._log.debug if self._told else self._log.info
            report("udp_flows_dropped", count=count, reason="they went to the node itself")
        self._told = count > 0
        now = self._clock.monotonic()
        self._due = [due for due in self._due if due > began + _TICK_S]
        return min(SELDOM_S, max(EVERY_S, _REST * (now - began)))
