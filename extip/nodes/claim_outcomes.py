"""The outcomes of this node's claims, for the parts that report them.

The owner task is `ClaimOutcomes.run`; the other methods are called from the event loop.
"""

from collections.abc import Callable, Collection, Mapping

from extip import log
from extip.addresses.links_in_use import LinksInUse
from extip.claims.policy.node_claims import NodeClaims, of_another_mask, outcomes, with_conflicts
from extip.claims.status import ClaimStatusWriter
from extip.clock import Clock
from extip.guard.policy.admission import Admission
from extip.net.interfaces import IPAddress
from extip.net.link_selection import LinkSelection
from extip.services.policy.requests import Masks

_LOOK_S = 2.5
"""Between two looks at what the passes over the interface came to, for those that failed."""


class ClaimOutcomes:
    """The outcomes of the claims of this node."""

    def __init__(
        self,
        statuses: ClaimStatusWriter,
        in_use: LinksInUse,
        *,
        problem: Callable[[], str],
        claims: Callable[[], NodeClaims],
        links: LinkSelection,
        clock: Clock,
    ) -> None:
        """`problem` returns why the last pass did not succeed, `claims` the claims to act on."""
        self._statuses = statuses
        self._in_use = in_use
        self._problem = problem
        self._claims = claims
        self._links = links
        self._handlers: list[Callable[[], None]] = []
        self._clock = clock
        self._admission: Admission | None = None
        self._conflicts: Mapping[IPAddress, str] = {}
        self._told: tuple[object, ...] | None = None

    def add_handler(self, handler: Callable[[], None]) -> None:
        """Have `handler` called after each pass, and when the outcomes differ."""
        self._handlers.append(handler)

    def on_admission(self, admission: Admission) -> None:
        """Take what a pass over the interface came to."""
        self._admission = admission
        self._look()

    def on_conflicts(
        self, conflicts: Mapping[IPAddress, str], _began: Collection[IPAddress]
    ) -> None:
        """Take the other stations that announce IPs which are up here."""
        self._conflicts = conflicts
        self._look()

    async def run(self) -> None:
        """Look now and then as well: passes that failed hand nothing on."""
        while True:
            await self._clock.sleep(_LOOK_S)
            if self._admission is None or self._state() != self._told:
                self._look()

    def _look(self) -> None:
        """Tell the claims what differs; costs next to nothing when nothing does."""
        for handler in self._handlers:
            handler()
        if self._admission is None:
            return
        state = self._state()
        if state == self._told:
            return
        self._told = state
        claims, up, problem = self._claims(), self._in_use.up, self._problem()
        found = outcomes(claims, self._admission, up=up, links=self._links, problem=problem)
        self._statuses.on_outcomes(with_conflicts(found, claims, self._conflicts))

    def _state(self) -> tuple[object, ...]:
        return self._claims(), self._admission, self._in_use.up, self._problem(), self._conflicts


class MaskWarning:
    """Says once that a prefix length is that of the claim, and not what this process was told.

    Schedulers write the claims, and a claim may be any node's next.
    """

    def __init__(self, masks: Masks, *, claims: Callable[[], NodeClaims]) -> None:
        self._masks = masks
        self._claims = claims
        self._seen: NodeClaims | None = None
        self._said = False
        self._log = log.get_logger("controller")

    def on_admission(self, _admission: Admission) -> None:
        """Look at the claims that a pass over the interface was about."""
        claims = self._claims()
        if self._said or claims is self._seen:
            return
        self._seen = claims
        other = of_another_mask(claims, self._masks)
        if other is not None:
            self._said = True
            self._log.warning(
                "mask_ignored",
                claim=other.name,
                address=other.cidr,
                reason="an IP has the prefix length of its claim: give --mask to the schedulers",
            )
