"""Moves for balance x what the new nodes report → the moves to take back, and the nodes to avoid.

A node may pass all filters and still be unable to have an IP up: its controller refuses the IP, or
its kernel does. Nobody else knows before it tries. A move that was not necessary must not cost the
IP. The former node keeps the address for a while (`extip.handover`), so a move that is taken back
soon costs nothing.

It is a plain value that takes the time, in seconds on any clock.
"""

from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field

from extip.api.conditions import find_condition
from extip.api.ipcontroller_v1 import ACCEPTED, UP, IpClaim
from extip.claims.policy.same_ip import DUPLICATE
from extip.scheduling.policy.placement import Move
from extip.services.policy.arrivals import place_of

JUDGED_S = 1.0
"""Seconds that the new node gets: its first try may fail for a moment."""

AVOIDED_S = 600.0
"""Seconds for which a node gets no more such moves, unless it is away meanwhile."""

STAYS_S = 2 * AVOIDED_S
"""Seconds for which the claim stays where it is: other claims are tried first."""

_PATIENCE_S = 30.0
"""Seconds after which a move that nothing is heard of is not on trial any more."""

_TAKEN_BACK_S = 300.0
"""Seconds from the report for which a move is taken back: a write may fail, or have to wait."""


@dataclass(slots=True)
class _Trial:
    move: Move
    since: float
    """The time of the move, then of the claim with its new node, then of that node's report."""
    made: bool = False
    """The claim names its new node."""
    report: str = ""
    """Why its IP does not come up there."""


@dataclass(slots=True)
class MovesOnTrial:
    """The moves whose IPs are not up yet."""

    _trials: dict[str, _Trial] = field(default_factory=dict)
    _avoided: dict[str, float] = field(default_factory=dict)
    """Nodes that did not bring an IP up, each with the end of its time."""
    _staying: dict[str, float] = field(default_factory=dict)
    """The claims of these IPs, likewise."""

    @property
    def under_way(self) -> bool:
        """Whether `failed` may return a move later."""
        return bool(self._trials)

    def begin(self, move: Move, claim: IpClaim, now: float) -> None:
        """Take a move that is being made. An IP that is not up has nothing to lose."""
        if place_of(claim) is not None:
            self._trials[move.claim] = _Trial(move, now)

    def trusted(self, steady: frozenset[str], now: float) -> frozenset[str]:
        """Return the nodes that may get IPs; one that was away has begun anew."""
        self._avoided = {n: end for n, end in self._avoided.items() if n in steady and now < end}
        return steady.difference(self._avoided)

    def staying(self, now: float) -> AbstractSet[str]:
        """Return the claims that are not to be moved, by name."""
        self._staying = {name: end for name, end in self._staying.items() if now < end}
        return self._staying.keys()

    def again_s(self, now: float) -> float | None:
        """Return the seconds until a node is avoided no more; None for no such node."""
        return min((end - now for end in self._avoided.values()), default=None)

    def failed(
        self, claims: Mapping[str, IpClaim], steady: AbstractSet[str], now: float
    ) -> Iterable[tuple[Move, str]]:
        """Return the moves whose IPs do not come up, with the reports, and avoid their nodes.

        Each is returned until its claim has left the new node: the write may fail. The others go
        on, or are over. A move from a node that is not `steady` waits for it.
        """
        found: list[tuple[Move, str]] = []
        for name, trial in list(self._trials.items()):
            claim, move = claims.get(name), trial.move
            if claim is not None and claim.spec.node_name == move.target and not trial.made:
                trial.made, trial.since = True, now
            if claim is None or _is_elsewhere_or_up(claim, trial):
                del self._trials[name]
                continue
            self._judge(claim, trial, now)
            if now - trial.since > (_TAKEN_BACK_S if trial.report else _PATIENCE_S):
                del self._trials[name]
            elif trial.report and move.source in steady:
                found.append((move, trial.report))
        return found

    def _judge(self, claim: IpClaim, trial: _Trial, now: float) -> None:
        """Take the first report of the new node that speaks against the move, however late."""
        if trial.report or not trial.made or now - trial.since < JUDGED_S:
            return
        trial.report = _obstacle(claim)
        if trial.report:
            trial.since = now
            self._avoided[trial.move.target] = now + AVOIDED_S
            self._staying[trial.move.claim] = now + STAYS_S

    def forget(self) -> None:
        """Forget all: another process may have moved claims meanwhile."""
        self._trials.clear()
        self._avoided.clear()
        self._staying.clear()


def _is_elsewhere_or_up(claim: IpClaim, trial: _Trial) -> bool:
    move = trial.move
    elsewhere = claim.spec.node_name != (move.target if trial.made else move.source)
    return elsewhere or (trial.made and place_of(claim) is not None)


def _obstacle(claim: IpClaim) -> str:
    """Return why the claim's node does not have its IP up, as it reports; empty for nothing."""
    if claim.spec.withdrawn:
        return ""
    for kind in (ACCEPTED, UP):
        told = find_condition(claim.status.conditions, kind)
        of_now = told is not None and told.observed_generation == claim.metadata.generation
        if told is not None and of_now and told.status == "False" and told.reason != DUPLICATE:
            return told.message or told.reason
    return ""
