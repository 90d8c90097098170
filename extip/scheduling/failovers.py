"""Fails the claims of a dead node over by one write, in place of one for each claim.

The write names the claims in the IpNode of the dead node (`status.failedOver`). Each standby takes
its share at once (`extip.handover.failed_over`). The claims themselves are assigned after
`patched_after_s`. Then the IpNode is cleared. Until then the node counts as dead, also when it is
back: it has none of these claims.

A standby that was away a moment ago acts on no IpNode: its claims are assigned at once.

Where the write fails, each claim is assigned at once. A claim that no other node may take gives up
its standby when that one has died, too, or when its node is back: it is its node's again. A claim
that cannot be written keeps its node from being cleared for `PATIENCE_S` after it is back. So does
a watch of claims that is behind.

The calls come from the passes of `ClaimScheduler`.
"""

import asyncio
from collections.abc import Callable, Iterable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from math import inf

from extip import log
from extip.api.ipcontroller_v1 import IpClaim, IpNode
from extip.api.resources import IP_NODES
from extip.claims.policy.assignment import SETTLED_S, is_failed_over, standby_of
from extip.claims.policy.claims import SetServices
from extip.clock import Clock
from extip.kube.client import ApiClient
from extip.scheduling.policy.schedule import AssignClaim, Decided, SetWithdrawn, Write
from extip.scheduling.policy.snapshot import Snapshot
from extip.scheduling.policy.standbys import SetStandby
from extip.writes.lanes import Lane, LaneContext

LEAST = 17
"""Claims of a dead node from which on one write is quicker: fewer are assigned side by side."""

MOST = 20_000
"""Claims that one IpNode names: they fit an object of etcd. The others are assigned at once."""

PATCHED_AFTER_S = 0.2
EACH_S = 0.0003
"""The patches of claims wait so many seconds, and so many more for each claim."""

PATIENCE_S = 30.0
"""Seconds for which a node that is back waits for claims that cannot be written."""

ACTS_AFTER_S = SETTLED_S + 1.0
"""Seconds after which a standby that was away acts on an IpNode. It may count from a bit later."""

_PRUNED_S = 600.0
"""Seconds after which a server is tried again that does not know the field."""

_TICK_S = 0.001
"""A timer may fire a moment early."""

_PLACES = 4
_RETRY_S = 15.0


@dataclass(frozen=True, slots=True)
class SetFailedOver:
    """Name the claims of a dead node that their standbys take, or none any more."""

    record: IpNode
    claims: Mapping[str, int] | None
    """The generation of each, by name."""


class Failovers:
    """The nodes whose claims fail over."""

    def __init__(
        self,
        records: Mapping[str, IpNode],
        client: ApiClient,
        claims: Mapping[str, IpClaim],
        *,
        since: Callable[[str], float | None],
        clock: Clock,
    ) -> None:
        """Compose; `records` and `claims` are those of the cache: without writes on their way.

        `since` returns the time since which a node is alive, or dead.
        """
        self._records = records
        self._client = client
        self._claims = claims
        self._since = since
        self._clock = clock
        self._gathered: dict[str, dict[str, int]] = {}
        """Claims to name, by their dead node."""
        self._named: dict[str, IpNode] = {}
        """IpNodes that name claims."""
        self._left: dict[str, dict[str, str]] = {}
        """The claims that are their standbys' yet, by their dead node, each with its standby."""
        self._held_until: dict[str, float] = {}
        """The time until which the claims wait, by their dead node."""
        self._back_since: dict[str, float] = {}
        """The time since which a node is back whose claims have failed over."""
        self._pruned_at = -inf
        self._log = log.get_logger("failovers")

    def begin(self, context: LaneContext, trigger: Callable[[], None]) -> Lane[SetFailedOver]:
        """Make the lane of the writes, and return it; `trigger` asks for a pass."""
        self._trigger = trigger
        self.lane = Lane(
            "failovers",
            self._write,
            context,
            places=_PLACES,
            longest_s=_RETRY_S,
            made=trigger,
        )
        return self.lane

    def forget(self) -> None:
        """Forget what was gathered and written: another process may lead meanwhile."""
        self._gathered.clear()
        self._held_until.clear()
        self._back_since.clear()
        for name in self._records:
            self.on_record(name)

    def on_record(self, name: str) -> None:
        """Take an IpNode that has changed (an informer's handler)."""
        record = self._records.get(name)
        if record is not None and record.status.failed_over:
            self._take(record)
        else:
            self._drop(name)

    def on_claim(self, name: str) -> None:
        """Take a claim that has changed (an informer's handler)."""
        claim = self._claims.get(name)
        for node, left in self._left.items():
            left.pop(name, None)
            if claim is not None and _may_be_left(claim, self._named[node]):
                left[name] = claim.spec.standby

    def _take(self, record: IpNode) -> None:
        before = self._named.get(record.metadata.name)
        self._named[record.metadata.name] = record
        if before is not None and before.status.failed_over == record.status.failed_over:
            return  # `on_claim` has kept up
        found = ((name, self._claims.get(name)) for name in record.status.failed_over or ())
        self._left[record.metadata.name] = {
            name: claim.spec.standby
            for name, claim in found
            if claim is not None and _may_be_left(claim, record)
        }

    def _drop(self, node: str) -> None:
        self._named.pop(node, None)
        self._left.pop(node, None)

    def gather(self, decided: Decided, snapshot: Snapshot) -> None:
        """Gather the claims that leave a dead node for their standbys."""
        leaving: dict[str, dict[str, int]] = {}
        for write in decided.schedule.writes:
            if not isinstance(write, AssignClaim):
                continue
            claim, node = write.claim, write.claim.spec.node_name
            if write.node == standby_of(claim) and self._is_settled(write.node):
                leaving.setdefault(node, {})[claim.metadata.name] = claim.metadata.generation
            else:
                self._gathered.get(node, {}).pop(claim.metadata.name, None)
        if not leaving or self._clock.monotonic() < self._pruned_at + _PRUNED_S:
            return
        dead = {one.name for one in snapshot.nodes if not one.alive}
        for node in leaving.keys() & dead:
            if node in self._records and node not in self._named:
                self._gathered.setdefault(node, {}).update(leaving[node])

    def _is_settled(self, standby: str) -> bool:
        since = self._since(standby)
        return since is not None and self._clock.monotonic() - since >= ACTS_AFTER_S

    def step(self, claims: Mapping[str, IpClaim], snapshot: Snapshot) -> Iterable[SetStandby]:
        """Offer the writes that are due, after all due IPs are decided.

        Return claims that give up the standby which has taken them: it is dead by now, or their
        node is back and no other node may have them. A claim that another node may take is assigned
        to that one, and needs no such write.
        """
        if not self._gathered and not self._named:
            return ()
        alive = {one.name for one in snapshot.nodes if one.alive} | snapshot.unknown
        back = {one.name for one in snapshot.nodes if one.back}
        self._name_claims(alive)
        self._clear(back)
        given_up = (
            (claims.get(name), node)
            for node, left in self._left.items()
            if node in back or not alive.issuperset(left.values())
            for name, standby in left.items()
            if node in back or standby not in alive
        )
        return tuple(
            SetStandby(claim, "")
            for claim, node in given_up
            if claim is not None and _is_left(claim, self._named[node])
        )

    def _name_claims(self, alive: AbstractSet[str]) -> None:
        """Offer the gathered claims, except those of nodes that were heard again meanwhile."""
        for node, names in list(self._gathered.items()):
            if self.lane.has(node):
                continue
            del self._gathered[node]
            record = self._records.get(node)
            if record is None or len(names) < LEAST or node in alive:
                continue  # each is assigned by itself
            named = dict(sorted(names.items())[:MOST])
            if self.lane.revise(node, SetFailedOver(record, named)):
                self._gathered[node] = named
                delay_s = patched_after_s(len(named))
                self._held_until[node] = self._clock.monotonic() + delay_s
                self._look_in(delay_s)

    def _clear(self, back: AbstractSet[str]) -> None:
        """Offer to clear the IpNodes whose claims all name their new nodes, or that waited long."""
        now = self._clock.monotonic()
        if back - self._back_since.keys():
            self._look_in(PATIENCE_S)
        self._back_since = {node: self._back_since.get(node, now) for node in back}
        for node, record in self._named.items():
            late = now - self._back_since.get(node, now) >= PATIENCE_S
            if not self.lane.has(node) and (late or not self._left[node]):
                newest = self._records.get(node, record)
                self.lane.revise(node, SetFailedOver(newest, None))

    @property
    def busy(self) -> bool:
        """Whether standbys are about to take claims that are not assigned yet."""
        return bool(self._gathered) or any(self._rest_s(node) > 0 for node in self._held_until)

    def holds_back(self, write: Write) -> bool:
        """Whether a write of a claim waits: its IP is on its way by the IpNode.

        One that gives it to another node than its standby does not: nobody else does so. A write
        that changes the claim otherwise than by a new node would end its fail-over.
        """
        claim = write.claim
        node = claim.spec.node_name
        if isinstance(write, AssignClaim):
            if write.node != standby_of(claim):
                return False
            if claim.metadata.name in self._gathered.get(node, ()):
                return node not in self._held_until or self._rest_s(node) > 0
            return self._rest_s(node) > 0 and is_failed_over(claim, self._named.get(node))
        return isinstance(write, SetServices | SetWithdrawn) and is_failed_over(
            claim, self._named.get(node)
        )

    def _look_in(self, delay_s: float) -> None:
        asyncio.get_running_loop().call_later(delay_s + _TICK_S, self._trigger)

    def _rest_s(self, node: str) -> float:
        return self._held_until.get(node, -inf) - self._clock.monotonic()

    async def _write(self, write: SetFailedOver) -> None:
        node = write.record.metadata.name
        patch = {
            "metadata": {"resourceVersion": write.record.metadata.resource_version},
            "status": {"failedOver": write.claims},
        }
        named = False
        try:
            written = await self._client.patch(IP_NODES, patch, name=node, subresource="status")
            named = bool(written.status.failed_over)
        finally:
            self._gathered.pop(node, None)
            if not named:
                self._held_until.pop(node, None)
        if write.claims is None:
            self._drop(node)
            self._log.info("failover_over", node=node)
        elif named:
            self._take(written)
            self._log.info("node_failed_over", node=node, claims=len(write.claims))
        else:
            self._pruned_at = self._clock.monotonic()
            self._log.warning(
                "failover_dropped",
                node=node,
                reason="the definition of IpNode is an older one; apply that of `extip crds`",
            )


def patched_after_s(claims: int) -> float:
    """Return for how many seconds the standbys have the API server and their watches to themselves.

    They count from the write on, answered or not: a slow server delays the claims by no more. Each
    patch of a claim is an event for its standby, which is to bring up the others meanwhile.
    """
    return PATCHED_AFTER_S + EACH_S * claims


def _is_left(claim: IpClaim, record: IpNode) -> bool:
    """Whether the claim has failed over from the node of the IpNode, and names that one still."""
    return claim.spec.node_name == record.metadata.name and is_failed_over(claim, record)


def _may_be_left(claim: IpClaim, record: IpNode) -> bool:
    """Whether the cache does not show that a named claim has left: it may be behind our writes."""
    generation = (record.status.failed_over or {}).get(claim.metadata.name, 0)
    behind = claim.metadata.generation < generation
    return _is_left(claim, record) or (behind and claim.spec.node_name == record.metadata.name)
