"""The decided writes that are not made yet: which lane has each of them, and which have to wait.

Each decision about an IP replaces the writes of the last one. Some writes cannot begin now: another
one of the claim is on its way, or failed, or is undone each time. They are offered again later.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping

from extip import log
from extip.api.ipcontroller_v1 import IpClaim
from extip.api.meta_v1 import Condition
from extip.claims.policy.claims import SetServices
from extip.metrics import Metrics
from extip.scheduling.claim_writer import Chore, ClaimWriter, Explain, assumed
from extip.scheduling.policy.schedule import AssignClaim, CreateClaim, Decided, SetWithdrawn, Write
from extip.scheduling.policy.standbys import SetStandby
from extip.scheduling.policy.state import ScheduleState
from extip.writes.lanes import Lane


class Backlog:
    """Hands the most urgent write of each claim to a lane, and chores after it."""

    def __init__(
        self,
        writer: ClaimWriter,
        *,
        moves: Lane[Write],
        changes: Lane[Write],
        chores: Lane[Chore],
        holds_back: Callable[[Write], bool],
        metrics: Metrics,
    ) -> None:
        """`holds_back` tells whether a write has to wait for another one."""
        self._writer = writer
        self._holds_back = holds_back
        self._metrics = metrics
        self._log = log.get_logger("scheduling")
        self._moves = moves
        self._changes = changes
        self._lane_of_chores = chores
        self._writes: dict[str, Write] = {}
        self._chores: dict[str, Chore] = {}
        self._withheld: dict[str, None] = {}
        self._later: dict[str, None] = {}
        self._assumed: dict[str, tuple[Write, IpClaim | None, IpClaim | None]] = {}

    def forget(self) -> None:
        """Forget all decisions."""
        for known in (self._writes, self._chores, self._withheld, self._later, self._assumed):
            known.clear()

    def audit(self, state: ScheduleState, most: int) -> None:
        """Decide some IPs anew, and count what differs: a change must have been overlooked."""
        decided = state.audit(most)
        if decided is None:
            return
        for name in self.differing(decided):
            self._log.error("decision_drifted", claim=name)
            self._metrics.scheduler_drift.inc()
        self.take(decided)

    def differing(self, decided: Decided) -> list[str]:
        """Return the claims about which something else is decided than before, by name.

        Another node for a claim that moves is no difference: loads change meanwhile.
        """
        writes = _most_urgent(decided)
        chores = self._writer.chores(decided)
        names = {claim.metadata.name for claim in decided.claims} | decided.before | writes.keys()
        return sorted(
            name
            for name in names
            if _gist(writes.get(name)) != _gist(self._writes.get(name))
            or _condition(chores.get(name)) != _condition(self._chores.get(name))
        )

    def take(self, decided: Decided) -> None:
        """Replace the writes of earlier decisions about the same IPs."""
        writes = _most_urgent(decided)
        claims = {claim.metadata.name: claim for claim in decided.claims}
        for name in decided.before - writes.keys():
            self._drop(name)
        self._writes |= writes
        for name in writes:
            self._offer(name)
        chores = self._writer.chores(decided)
        for name in claims.keys() | decided.before:
            if name not in chores and self._chores.pop(name, None) is not None:
                self._lane_of_chores.revise(name, None)
        self._chores |= chores
        for name in chores:
            self._offer_chore(name)

    def look_again(self, most: int) -> Iterator[None]:
        """Offer what had to wait, and yield each time before more than `most` offers."""
        waiting = [(self._offer, name) for name in self._withheld]
        chores = [*self._later, *self._writer.newcomers.over()]
        waiting += [(self._offer_chore, name) for name in chores]
        for number, (offer, name) in enumerate(waiting, start=1):
            offer(name)
            if number % most == 0 and number < len(waiting):
                yield

    def contested_s(self) -> float | None:
        """Return the seconds until something has waited long enough, or None."""
        newcomer_s = self._writer.newcomers.next_s()
        waits = self._writer.waiting() if self._withheld else {}
        waits_s = [wait_s for name, wait_s in waits.items() if name in self._withheld]
        waits_s += filter(None, (self._writer.wait_s(self._chores[name]) for name in self._later))
        waits_s += [] if newcomer_s is None else [newcomer_s]
        return min(waits_s, default=None)

    def assume(
        self, changes: Mapping[str, IpClaim | None], known: Callable[[str], IpClaim | None]
    ) -> Mapping[str, IpClaim | None]:
        """Return changed claims as they are after the writes that are on their way.

        Claims whose writes begin or end are added; `known` returns a claim by name.
        """
        begun = {**self._changes.in_flight, **self._moves.in_flight}
        if not begun and not self._assumed:
            return changes
        before, self._assumed = self._assumed, {}
        claims = {**{name: known(name) for name in before}, **changes}
        for name, write in begun.items():
            basis, again = known(name), before.get(name)
            if again is not None and again[0] is write and again[1] is basis:
                after = again[2]
            else:
                after = assumed(basis, write)
            self._assumed[name] = write, basis, after
            claims[name] = after
        return claims

    def prepare(self, standbys: Iterable[SetStandby]) -> None:
        """Offer standbys of claims about which nothing more urgent is decided."""
        for one in standbys:
            if one.claim.metadata.name not in self._writes:
                self._lane_of_chores.revise(one.claim.metadata.name, one, first=True)

    def _offer(self, name: str) -> None:
        """Put the write of a claim into its lane, and take it out of the other one.

        A write that cannot begin now is withheld, and offered again later.
        """
        self._withheld.pop(name, None)
        write = self._writes.get(name)
        if write is None:
            return
        lane, other = self._changes, self._moves
        if is_move(write):
            lane, other = other, lane
        other.revise(name, None)
        moving = lane is self._changes and name in self._moves.in_flight
        waits = moving or self._holds_back(write) or not self._writer.is_due(write)
        if waits or not lane.revise(name, write):
            lane.revise(name, None)
            self._withheld[name] = None
        elif name in self._chores:
            self._offer_chore(name)

    def _offer_chore(self, name: str) -> None:
        """Put the chore of a claim into its lane, unless a write of the claim comes first.

        One that somebody undoes comes ever more rarely.
        """
        self._later.pop(name, None)
        chore = self._chores.get(name)
        if chore is None:
            return
        urgent = _is_urgent(chore)
        if not urgent and self._writer.newcomers.is_new(name):
            self._lane_of_chores.revise(name, None)
            return
        held = self._moves.has(name) or self._changes.has(name)
        held |= self._writer.wait_s(chore) > 0
        if held or not self._lane_of_chores.revise(name, chore, first=urgent):
            self._lane_of_chores.revise(name, None)
            self._later[name] = None

    def _drop(self, name: str) -> None:
        self._writes.pop(name, None)
        self._withheld.pop(name, None)
        self._moves.revise(name, None)
        self._changes.revise(name, None)


def _most_urgent(decided: Decided) -> dict[str, Write]:
    """Return one write for each claim."""
    found: dict[str, Write] = {}
    for write in decided.schedule.writes:
        found.setdefault(write.claim.metadata.name, write)
    return found


def _gist(write: Write | None) -> tuple[object, ...]:
    """Return a write without the node that it chooses."""
    match write:
        case SetServices(services=services, pool=pool, ports=ports, link=link):
            return SetServices, services, pool, ports, link
        case SetWithdrawn(withdrawn=withdrawn):
            return SetWithdrawn, withdrawn
        case CreateClaim(claim=claim):
            return CreateClaim, claim.spec.cidr, claim.spec.services, claim.spec.link
        case AssignClaim():
            return AssignClaim, is_move(write)
        case _:
            return (type(write),)


def _condition(chore: Chore | None) -> Condition | None:
    """Return the condition that a chore writes. Other chores are due at a time, not by a change."""
    return chore.condition if isinstance(chore, Explain) else None


def is_move(write: Write) -> bool:
    """Whether the write gives a claim to another node."""
    return isinstance(write, AssignClaim) and write.node != write.claim.spec.node_name


def _is_urgent(chore: Chore) -> bool:
    return isinstance(chore, Explain) and chore.is_urgent
