"""At most one scheduler acts at a time, by what arrives at the API server."""

from collections.abc import Iterable

from extip.api.resources import IP_CLAIM_POOLS, IP_CLAIMS, LEASES, SERVICES
from tests.fakes.cluster_objects import Change
from tests.simulation.invariants import Invariant
from tests.simulation.world import World

LEASE = "extip-scheduler"

_OF_LEADERS = tuple(kind.plural for kind in (IP_CLAIMS, IP_CLAIM_POOLS, SERVICES))
_WRITES = ("create", "update", "patch", "delete")

THAWED_S = 0.5
"""A leader that was frozen may send what it had begun, until it looks at its clock."""

RESTORED_S = 20.0
"""After etcd went back, the Lease may be that of an earlier leader until it runs out."""


class OneLeaderActs(Invariant):
    """A scheduler sends writes that decide something only while the Lease is its own."""

    def __init__(self, world: World) -> None:
        super().__init__(world)
        self._terms: list[tuple[float, str]] = []
        """When the Lease was given to whom."""
        self._seen = 0
        self._restored_s = -1e9
        world.api.on_change.append(self._on_change)
        world.api.on_restore.append(self._on_restore)

    def look(self) -> Iterable[str]:
        requests, since = self.world.api.requests, self._seen
        self._seen = len(requests)
        for at_s, who, text in requests[since:]:
            verb, _, about = text.partition(" ")
            decides = verb in _WRITES and about.startswith(_OF_LEADERS)
            if decides and who in self.world.scheduler_hosts and not self._may(who, at_s):
                yield f"{who} sent {text} at {at_s:.2f}, and the Lease was {self._at(at_s)}'s"

    def _may(self, who: str, at_s: float) -> bool:
        if self._at(at_s) == who or at_s - self._restored_s < RESTORED_S:
            return True
        # It may be another life by now.
        lives = (one for one in self.world.lives if one.life.name == who)
        return any(at_s - one.thawed_at_s < THAWED_S for one in lives)

    def _at(self, at_s: float) -> str:
        return next((who for since, who in reversed(self._terms) if since <= at_s), "")

    def _on_change(self, change: Change) -> None:
        lease = change.after
        if change.collection != LEASES.path() or lease is None:
            return
        if lease["metadata"]["name"] == LEASE:
            who = lease["spec"].get("holderIdentity", "").partition("_")[0]
            if who and (not self._terms or self._terms[-1][1] != who):
                self._terms.append((self.world.now, who))

    def _on_restore(self) -> None:
        self._restored_s = self.world.now
