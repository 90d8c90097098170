"""Writes to claims for the lanes of the scheduler, one write for a claim at a time.

The answer of the API server counts at once, before the watch delivers it. Every write creates a
claim, or carries the version that was decided over.
"""

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from math import inf
from random import Random

import msgspec

from extip import log
from extip.api.conditions import with_condition
from extip.api.ipcontroller_v1 import IpClaim
from extip.api.meta_v1 import Condition
from extip.cache.mutation import Overlay
from extip.claims.policy.assignment import assignment_patch, standby_patch
from extip.claims.policy.claims import (
    Delete,
    SetServices,
    has_field_owners,
    metadata_patch,
    prefix_annotation,
    service_labels,
    services_patch,
    with_annotations,
)
from extip.claims.policy.history import Placed, placed
from extip.claims.policy.same_ip import DUPLICATE, is_refused
from extip.clock import Clock
from extip.metrics import Metrics
from extip.scheduling.claim_store import ClaimStore
from extip.scheduling.events import PlacementEvents
from extip.scheduling.newcomers import Newcomers
from extip.scheduling.policy.assigned import assigned_condition
from extip.scheduling.policy.schedule import AssignClaim, CreateClaim, Decided, SetWithdrawn, Write
from extip.scheduling.policy.standbys import SetStandby
from extip.scheduling.policy.withdrawal import withdrawal_patch
from extip.writes.policy.rewrites import Rewrites


@dataclass(frozen=True, slots=True)
class Explain:
    """Write the condition of a claim: its node, or the reason for which it waits."""

    claim: IpClaim
    condition: Condition

    @property
    def is_urgent(self) -> bool:
        """Whether it refuses a claim, or ends a refusal: by it an IP on two nodes goes down."""
        return self.condition.reason == DUPLICATE or is_refused(self.claim)

    @property
    def content(self) -> object:
        """The same twice in a row means that somebody has undone it: nobody changed the claim."""
        meta = self.claim.metadata
        return meta.uid, meta.generation, self.condition


@dataclass(frozen=True, slots=True)
class ClearFieldOwners:
    """Clear the field owners (`managedFields`) of a claim.

    Only a write of the whole object does that, not a write of its status (Kubernetes 1.20). It is
    not urgent, but it makes a later move of many claims faster.
    """

    claim: IpClaim


@dataclass(frozen=True, slots=True)
class Mark:
    """Write what an older version did not: whether the prefix length was told, and labels."""

    claim: IpClaim
    labels: Mapping[str, str | None]
    annotations: Mapping[str, str | None]


Chore = Explain | Mark | SetStandby | ClearFieldOwners
"""A write that nothing depends on."""


_CONTESTED_S = 15.0
"""The longest delay of a write that somebody undoes each time, in seconds. The IP may be down
meanwhile."""


class ClaimWriter:
    """Makes the writes, reports them, and knows which chores are left."""

    def __init__(  # noqa: PLR0913 - a composition of parts and plain values
        self,
        *,
        claims: Overlay[IpClaim],
        store: ClaimStore,
        events: PlacementEvents,
        explicit_masks: AbstractSet[int] = frozenset(),
        clock: Clock,
        rng: Random,
        metrics: Metrics,
    ) -> None:
        """`explicit_masks` has the IP versions whose prefix length a person said."""
        self._claims = claims
        self._explicit_masks = explicit_masks
        self._store = store
        self._events = events
        self._clock = clock
        self._metrics = metrics
        self._log = log.get_logger("scheduling")
        self._rng = rng
        self._rewrites = Rewrites(_CONTESTED_S)
        self._explained = Rewrites(_CONTESTED_S)
        self._marked = Rewrites()
        self._prepared = Rewrites()
        self.pruned_at = -inf
        """When the API server last dropped a standby: its definition of IpClaim is an older one."""
        self._contested: set[str] = set()
        self._placed: dict[str, Placed] = {}
        self._cleared: set[str] = set()
        self.newcomers = Newcomers(clock)

    def forget(self) -> None:
        """Forget all moves and writes: another process may have led meanwhile."""
        self._placed.clear()
        self.newcomers.clear()
        self._rewrites, self._marked = Rewrites(_CONTESTED_S), Rewrites()
        self._prepared = Rewrites()
        self._explained = Rewrites(_CONTESTED_S)

    def is_due(self, write: Write) -> bool:
        """Whether the write need not wait. One that somebody undoes comes ever more rarely."""
        now = self._clock.monotonic()
        self._rewrites.forget(now)
        return self._rewrites.due_s(write.claim.metadata.name, _content(write)) <= now

    def waiting(self) -> dict[str, float]:
        """Return the claims whose writes somebody undoes, with the seconds that the next waits."""
        waiting = self._rewrites.waiting(self._clock.monotonic())
        return {str(name): wait_s for name, wait_s in waiting.items()}

    def unprepared(self) -> dict[str, float]:
        """Return the claims whose standby somebody removes, with the seconds that it waits."""
        waiting = self._prepared.waiting(self._clock.monotonic())
        return {str(name): wait_s for name, wait_s in waiting.items()}

    def wait_s(self, chore: Chore) -> float:
        """Return the seconds that a condition waits, as somebody removes it each time, or 0.

        A refusal never waits, nor its end: by it an IP that may be on two nodes goes down.
        """
        if not isinstance(chore, Explain) or chore.is_urgent:
            return 0.0
        due_s = self._explained.due_s(chore.claim.metadata.name, chore.content)
        return max(0.0, due_s - self._clock.monotonic())

    async def write(self, write: Write) -> IpClaim | None:
        """Make a write; return the new version, None after a deletion. Raises ApiError."""
        written = await self._make(write)
        if written is not None:
            self._claims.wrote(written)
        name, content = write.claim.metadata.name, _content(write)
        if not self._rewrites.is_fight(name, content):
            self._contested.discard(name)
        elif name not in self._contested:
            self._contested.add(name)
            self._log.warning("claim_contested", claim=name)
            self._events.contested(write.claim)
        now = self._clock.monotonic()
        self._rewrites.wrote(name, content, now=now, chance=self._rng.random())
        return written

    async def _make(self, write: Write) -> IpClaim | None:
        match write:
            case CreateClaim(claim=claim):
                marks = prefix_annotation(claim, self._explicit_masks)
                created = await self._store.create(with_annotations(claim, marks))
                name, node = claim.metadata.name, claim.spec.node_name
                self.newcomers.created(name, node=node)
                self._log.info("claim_created", claim=name, node=node)
                return created
            case AssignClaim():
                return await self._assign(write)
            case SetServices(claim=claim):
                return await self._store.patch(claim, services_patch(write))
            case SetWithdrawn():
                return await self._set_withdrawn(write)
            case Delete(claim=claim):
                await self._store.delete(claim)
                self._claims.deleted(claim)
                self._placed.pop(claim.metadata.name, None)
                self.newcomers.drop(claim.metadata.name)
                self._cleared.discard(claim.metadata.uid)
                self._log.info("claim_deleted", claim=claim.metadata.name)
                return None

    async def _assign(self, write: AssignClaim) -> IpClaim:
        claim, node, why = write.claim, write.node, write.why
        name, before = claim.metadata.name, claim.spec.node_name
        assigned = await self._store.patch(claim, assignment_patch(claim, node))
        if node == before:
            self._log.info("claim_labelled", claim=name, node=node)
            return assigned
        self.newcomers.drop(name)
        self._placed[name] = placed(node, before=before, why=why, now=self._now())
        self._log.info("claim_assigned", claim=name, node=node, before=before, reason=why)
        self._events.moved(claim, node, why)
        self._metrics.claims_moved.inc()
        return assigned

    async def _set_withdrawn(self, write: SetWithdrawn) -> IpClaim:
        claim = await self._store.patch(write.claim, withdrawal_patch(write))
        event = "claim_withdrawn" if write.withdrawn else "claim_restored"
        self._log.info(event, claim=claim.metadata.name, node=claim.spec.node_name)
        if write.withdrawn:
            self._events.withdrawn(write.claim)
        return claim

    def chores(self, decided: Decided) -> dict[str, Chore]:
        """Return the chores that are left, by the name of the claim, the most urgent first.

        The write of a standby clears the field owners, too, so one that is to come is enough.
        """
        explained: list[Explain] = []
        later: dict[str, Chore] = {}
        for claim in decided.claims:
            name = claim.metadata.name
            if claim.status.conditions:
                self.newcomers.reported(name)
            condition = assigned_condition(claim, decided.schedule, past=self._placed.get(name))
            if condition is not None:
                explained.append(Explain(claim, condition))
            elif (mark := self._mark(claim)) is not None:
                later[name] = mark
            elif self.is_to_be_cleared(claim) and name not in decided.unprepared:
                later[name] = ClearFieldOwners(claim)
        explained.sort(key=lambda one: not one.is_urgent)
        return {one.claim.metadata.name: one for one in explained} | later

    def is_to_be_cleared(self, claim: IpClaim) -> bool:
        """Whether to clear the field owners of a claim: once, as a server may ignore the request.

        Another program may set them again, too.
        """
        return has_field_owners(claim) and claim.metadata.uid not in self._cleared

    def _mark(self, claim: IpClaim) -> Mark | None:
        labels = service_labels(claim, claim.spec.services or ()) if claim.managed else {}
        annotations = prefix_annotation(claim, self._explicit_masks)
        if not labels and not annotations:
            return None
        # An admission webhook may strip them from each write: then they come ever more rarely.
        due_s = self._marked.due_s(claim.metadata.name, (labels, annotations))
        return Mark(claim, labels, annotations) if due_s <= self._clock.monotonic() else None

    async def do(self, chore: Chore) -> None:
        """Make a chore; raises ApiError."""
        claim = chore.claim
        metadata = metadata_patch(claim)
        match chore:
            case Explain(condition=condition):
                conditions = with_condition(claim.status.conditions, condition, now=self._now())
                patch = {"metadata": metadata, "status": {"conditions": conditions}}
                self._claims.wrote(await self._store.patch_status(claim, patch))
                now, chance = self._clock.monotonic(), self._rng.random()
                self._explained.wrote(claim.metadata.name, chore.content, now=now, chance=chance)
            case Mark(labels=labels, annotations=annotations):
                patch = {"metadata": {**metadata, "labels": labels, "annotations": annotations}}
                self._claims.wrote(await self._store.patch(claim, patch))
                now, chance = self._clock.monotonic(), self._rng.random()
                content = labels, annotations
                self._marked.wrote(claim.metadata.name, content, now=now, chance=chance)
            case SetStandby(node=node):
                self._claims.wrote(await self._prepare(claim, node))
            case ClearFieldOwners():
                self._claims.wrote(await self._store.patch(claim, {"metadata": metadata}))
                self._cleared.add(claim.metadata.uid)

    async def _prepare(self, claim: IpClaim, node: str) -> IpClaim:
        written = await self._store.patch(claim, standby_patch(claim, node))
        name, now = claim.metadata.name, self._clock.monotonic()
        self._prepared.wrote(name, node, now=now, chance=self._rng.random())
        self._cleared.add(claim.metadata.uid)  # the same write does that
        if written.spec.standby != node:
            self.pruned_at = now
            reason = "the definition of IpClaim is an older one; apply that of `extip crds`"
            self._log.warning("standby_dropped", claim=name, reason=reason)
        return written

    def _now(self) -> str:
        return self._clock.utcnow().strftime("%Y-%m-%dT%H:%M:%SZ")


def _content(write: Write) -> object:
    """Return the content of a write: the same content twice in a row means an undone write."""
    match write:
        case AssignClaim(node=node):
            return "node", node
        case SetServices(services=services, pool=pool, ports=ports, link=link):
            return "services", services, pool, ports, link
        case SetWithdrawn(withdrawn=withdrawn):
            return "withdrawn", withdrawn
        case CreateClaim() | Delete():
            return type(write)


def assumed(claim: IpClaim | None, begun: Write) -> IpClaim | None:
    """Return a claim as it is after a write that is on its way; None for no claim.

    So a decision counts that write, and is still right when it is made.
    """
    if isinstance(begun, CreateClaim):
        return begun.claim if claim is None else claim
    if isinstance(begun, AssignClaim) and claim is not None:
        spec = msgspec.structs.replace(claim.spec, node_name=begun.node)
        return msgspec.structs.replace(claim, spec=spec)
    return claim
