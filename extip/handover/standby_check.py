"""Checks beforehand whether this node would refuse the IPs whose standby it is.

It reports in its IpNode what it would refuse, and the scheduler chooses another standby. So an IP
does not go, when its node dies, to a node where it would stay down. A refused IP is looked at again
and again, also when this node is its standby no more, until nothing speaks against it.

The owner task is `StandbyCheck.run`; the other methods may be called from any task of the loop.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence

from extip import log
from extip.api.ipcontroller_v1 import IpClaim
from extip.cache.changes import ChangedKeys
from extip.claims.policy.node_claims import held_claim
from extip.clock import Clock
from extip.errors import LinkError
from extip.net.interfaces import IPInterface
from extip.services.policy.refusal import Refusal
from extip.services.policy.requests import Masks
from extip.trigger import Trigger

SETTLE_S = 0.5
"""Seconds after a change: many claims get their standbys one after the other."""

Refusals = Callable[[Sequence[IPInterface]], Awaitable[Mapping[IPInterface, Refusal]]]
"""Returns which IPs this node would refuse; raises LinkError."""


class StandbyCheck:
    """Knows which IPs this node would refuse."""

    def __init__(
        self,
        claims: Mapping[str, IpClaim],
        *,
        refusals: Refusals,
        masks: Masks,
        resync_s: float,
        clock: Clock,
    ) -> None:
        """`claims` are those whose standby this node is; `masks` are the controller's flags."""
        self._claims = claims
        self._refusals = refusals
        self._masks = masks
        self._resync_s = resync_s
        self._handlers: list[Callable[[], None]] = []
        self._clock = clock
        self._refused: Mapping[IPInterface, Refusal] = {}
        self._changed = ChangedKeys[str]()
        """Claims to look at; each of thousands changes when their node dies."""
        self._triggered = Trigger()
        self._log = log.get_logger("standby")

    def add_handler(self, handler: Callable[[], None]) -> None:
        """Have `handler` called when other IPs are refused than before."""
        self._handlers.append(handler)

    def refused(self) -> tuple[str, ...]:
        """Return the IPs that this node would refuse, in CIDR form and in order."""
        return tuple(sorted(interface.with_prefixlen for interface in self._refused))

    def on_claim(self, name: str) -> None:
        """Look at the claim soon (an informer's handler)."""
        self._changed.note(name)
        self._triggered.set()

    async def run(self) -> None:
        """Look at claims that have changed, and at all once a resync interval; until cancelled."""
        now = self._clock.monotonic
        all_at = now() + self._resync_s
        while True:
            await self._triggered.wait_at_most(all_at - now())
            await self._clock.sleep(SETTLE_S)
            self._triggered.clear()
            if now() >= all_at:
                self._changed.forget()
                all_at = now() + self._resync_s
            try:
                await self._check()
            except LinkError as error:
                self._changed.forget()
                self._log.debug("standby_not_checked", error=str(error))

    async def _check(self) -> None:
        names = self._changed.take(self._claims)
        claims = (self._claims[name] for name in names if name in self._claims)
        known = (held_claim(claim, self._masks).interface for claim in claims)
        asked = {one for one in known if one is not None} | self._refused.keys()
        found = await self._refusals(sorted(asked, key=str)) if asked else {}
        before, self._refused = self._refused, found
        for interface in found.keys() - before.keys():
            reason = found[interface].message
            self._log.warning("standby_refuses", address=str(interface.ip), reason=reason)
        if found.keys() != before.keys():
            for handler in self._handlers:
                handler()
