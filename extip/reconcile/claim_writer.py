"""Writes to claims, one at a time each, as the lanes of the scheduler ask for them.

What the API server answers counts at once, before the watch shows it. Every write creates, or
carries the version that it was decided over.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from random import Random

import msgspec

from extip import log
from extip.api.ipcontroller_v1 import IpClaim
from extip.api.meta_v1 import Condition
from extip.cache.mutation import Overlay
from extip.clock import Clock
from extip.metrics import Metrics
from extip.plan.assigned import assigned_condition
from extip.plan.claims import (
    Delete,
    SetServices,
    assignment_patch,
    has_field_owners,
    metadata_patch,
    services_patch,
)
from extip.plan.conditions import with_condition
from extip.plan.duplicates import DUPLICATE, is_refused
from extip.plan.history import Placed, placed
from extip.plan.rewrites import Rewrites
from extip.plan.schedule import AssignClaim, CreateClaim, Schedule, Write
from extip.reconcile.scheduling_ports import ClaimStore, Historian


@dataclass(frozen=True, slots=True)
class Explain:
    """Say of a claim where it was put, or why it waits."""

    claim: IpClaim
    condition: Condition


@dataclass(frozen=True, slots=True)
class ClearFieldOwners:
    """Have the API server forget who owns the fields of a claim.

    Only a write of the whole object does that, not one of its status (Kubernetes 1.20 at least).
    It has time, but is worth it before many claims have to move at once.
    """

    claim: IpClaim


Chore = Explain | ClearFieldOwners
"""A write that nothing depends on."""


_CONTESTED_S = 15.0
"""The longest that a write waits which somebody undoes each time: an IP may be down meanwhile."""


class ClaimWriter:
    """Makes the writes, logs and tells them, and knows which are left to make."""

    def __init__(
        self,
        *,
        claims: Overlay[IpClaim],
        store: ClaimStore,
        historian: Historian,
        clock: Clock,
        rng: Random,
        metrics: Metrics,
    ) -> None:
        self._claims = claims
        self._store = store
        self._historian = historian
        self._clock = clock
        self._metrics = metrics
        self._log = log.get_logger("scheduling")
        self._rng = rng
        self._rewrites = Rewrites(_CONTESTED_S)
        self._contested: set[str] = set()
        self._placed: dict[str, Placed] = {}
        self._cleared: set[str] = set()

    def forget(self) -> None:
        """Forget who was moved why, and what was written: another may have led meanwhile."""
        self._placed.clear()
        self._rewrites = Rewrites(_CONTESTED_S)

    def due(self, writes: Iterable[Write]) -> tuple[tuple[Write, ...], float | None]:
        """Return what may be written now, and the seconds until there is more of it.

        What somebody undoes each time comes ever more rarely.
        """
        now = self._clock.monotonic()
        self._rewrites.forget(now)
        found: list[Write] = []
        later: list[float] = []
        for write in writes:
            due_s = self._rewrites.due_s(write.claim.metadata.name, _content(write))
            if due_s <= now:
                found.append(write)
            else:
                later.append(due_s - now)
        return tuple(found), min(later, default=None)

    def waiting(self) -> dict[str, float]:
        """Return the claims in which somebody undoes what is written, with the seconds to wait."""
        waiting = self._rewrites.waiting(self._clock.monotonic())
        return {str(name): wait_s for name, wait_s in waiting.items()}

    async def write(self, write: Write) -> IpClaim | None:
        """Make one of the writes of a plan; return what is there then. Raises ApiError."""
        written = await self._make(write)
        if written is not None:
            self._claims.wrote(written)
        name, content = write.claim.metadata.name, _content(write)
        if not self._rewrites.is_fight(name, content):
            self._contested.discard(name)
        elif name not in self._contested:
            self._contested.add(name)
            self._log.warning("claim_contested", claim=name)
            self._historian.contested(write.claim)
        now = self._clock.monotonic()
        self._rewrites.wrote(name, content, now=now, chance=self._rng.random())
        return written

    async def _make(self, write: Write) -> IpClaim | None:
        match write:
            case CreateClaim(claim=claim):
                created = await self._store.create(claim)
                name, node = claim.metadata.name, claim.spec.node_name
                self._log.info("claim_created", claim=name, node=node)
                return created
            case AssignClaim():
                return await self._assign(write)
            case SetServices(claim=claim):
                return await self._store.patch(claim, services_patch(write))
            case Delete(claim=claim):
                await self._store.delete(claim)
                self._claims.deleted(claim)
                self._placed.pop(claim.metadata.name, None)
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
        self._placed[name] = placed(node, before=before, why=why, now=self._now())
        self._log.info("claim_assigned", claim=name, node=node, before=before, reason=why)
        self._historian.moved(claim, node, why)
        self._metrics.claims_moved.inc()
        return assigned

    def chores(self, claims: Iterable[IpClaim], schedule: Schedule) -> dict[str, Chore]:
        """Return what is left to write of each claim, by its name, the most urgent first.

        Owners of fields are tried once for each claim: whoever books them again, or a server that
        does not listen, has the last word.
        """
        explained: list[Explain] = []
        cleared: dict[str, Chore] = {}
        for claim in claims:
            past = self._placed.get(claim.metadata.name)
            condition = assigned_condition(claim, schedule, past=past)
            if condition is not None:
                explained.append(Explain(claim, condition))
            elif has_field_owners(claim) and claim.metadata.uid not in self._cleared:
                cleared[claim.metadata.name] = ClearFieldOwners(claim)
        # First what brings an IP up, or down, that may be on another node as well.
        explained.sort(
            key=lambda one: one.condition.reason != DUPLICATE and not is_refused(one.claim)
        )
        return {one.claim.metadata.name: one for one in explained} | cleared

    async def do(self, chore: Chore) -> None:
        """Make one of them; raises ApiError."""
        claim = chore.claim
        metadata = metadata_patch(claim)
        match chore:
            case Explain(condition=condition):
                conditions = with_condition(claim.status.conditions, condition, now=self._now())
                patch = {"metadata": metadata, "status": {"conditions": conditions}}
                self._claims.wrote(await self._store.patch_status(claim, patch))
            case ClearFieldOwners():
                self._claims.wrote(await self._store.patch(claim, {"metadata": metadata}))
                self._cleared.add(claim.metadata.uid)

    def _now(self) -> str:
        return self._clock.utcnow().strftime("%Y-%m-%dT%H:%M:%SZ")


def _content(write: Write) -> object:
    """Return what is wanted of a claim: written twice in a row, somebody has undone it."""
    match write:
        case AssignClaim(node=node):
            return "node", node
        case SetServices(services=services, pool=pool, ports=ports):
            return "services", services, pool, ports
        case CreateClaim() | Delete():
            return type(write)


def assumed(claims: Mapping[str, IpClaim], begun: Iterable[Write]) -> list[IpClaim]:
    """Return the claims as they are once those writes are made that are on their way.

    So what is decided meanwhile counts them, and is the same when they are there.
    """
    found = {claim.metadata.name: claim for claim in claims.values()}
    for write in begun:
        name = write.claim.metadata.name
        if isinstance(write, CreateClaim):
            found.setdefault(name, write.claim)
        elif isinstance(write, AssignClaim) and name in found:
            spec = msgspec.structs.replace(found[name].spec, node_name=write.node)
            found[name] = msgspec.structs.replace(found[name], spec=spec)
    return list(found.values())
