"""Standbys: the node that takes each IP when its own may not hold it any more. Pure.

The standbys of one node are chosen as placement would choose for its claims. *Fair* spreads them
over the eligible nodes, by the claims that those hold and the claims of that node that they are to
take. *First alive* keeps them together. A standby stays while it may take the IP.

`ScheduleState` tells of each decided IP. The choice itself is for quiet times: it compares all
eligible nodes.
"""

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from itertools import islice
from typing import NamedTuple

from extip.api.ipcontroller_v1 import IpClaim
from extip.claims.policy.claims import has_field_owners
from extip.scheduling.policy.indexes import KeysBy
from extip.scheduling.policy.placement import Placement
from extip.scheduling.policy.snapshot import needs_of
from extip.scheduling.policy.standing import Standing

_NODES, _CLAIMS = 4, 4
"""Nodes, and claims of each of them, that are tried for a better standby at once."""


@dataclass(frozen=True, slots=True)
class SetStandby:
    """Write the standby of a claim; an empty `node` is for none."""

    claim: IpClaim
    node: str


class _Row(NamedTuple):
    """A claim with its node and its standby."""

    name: str
    node: str
    standby: str


class Standbys:
    """The standbys of all claims at rest, chosen beforehand, and the claims that lack one."""

    def __init__(self) -> None:
        self._rows: dict[str, _Row] = {}
        self._takes: dict[str, Counter[str]] = {}
        """How many claims of a node each other node is to take, by that node."""
        self._by_standby = KeysBy[str]()
        """Claims by their standby, and by their node and standby."""
        self._lacking: dict[str, None] = {}
        self._hopeless: dict[str, None] = {}
        """Claims that no other node could take when they were looked at."""
        self._round: list[str] = []
        """The nodes whose standbys this round of `even_out` has still to look at."""

    def of(self, node: str) -> Collection[str]:
        """Return the claims that a node is to take, by name."""
        return self._by_standby.of(node)

    def forget(self, name: str) -> None:
        """Drop a claim that is decided anew, or gone."""
        row = self._rows.pop(name, None)
        if row is not None:
            self._takes[row.node][row.standby] -= 1
            self._by_standby.put(name, ())
        self._lacking.pop(name, None)
        self._hopeless.pop(name, None)

    def record(self, name: str, node: str, standby: str) -> None:
        """Take the decision about a claim at rest; an empty standby is to be chosen."""
        self.forget(name)
        if not standby:
            self._lacking[name] = None
            return
        self._rows[name] = _Row(name, node, standby)
        self._takes.setdefault(node, Counter())[standby] += 1
        self._by_standby.put(name, (standby, _pair(node, standby)))

    def expect(self, begun: SetStandby, claims: Mapping[str, IpClaim]) -> None:
        """Count a standby that is being written, also when the claim was decided anew meanwhile."""
        name, node = begun.claim.metadata.name, begun.claim.spec.node_name
        at_rest = name in self._rows or name in self._lacking
        if begun.node and at_rest and claims[name].spec.node_name == node:
            self.record(name, node, begun.node)

    def nodes_changed(self) -> None:
        """Look again at claims that no other node could take."""
        self._lacking |= self._hopeless
        self._hopeless.clear()

    def awaiting(self, claims: Iterable[IpClaim]) -> frozenset[str]:
        """Return the claims, by name, for which a standby is to be chosen."""
        names = (claim.metadata.name for claim in claims)
        return frozenset(name for name in names if name in self._lacking)

    def are_lacking(self, fixed: AbstractSet[str]) -> bool:
        """Whether standbys are to be chosen for claims other than the `fixed` ones."""
        return any(name not in fixed for name in self._lacking)

    def choose(
        self,
        claims: Mapping[str, IpClaim],
        standing: Standing,
        *,
        most: int,
        fixed: AbstractSet[str],
    ) -> tuple[SetStandby, ...]:
        """Choose standbys for up to `most` claims that lack one; `fixed` cannot be written now.

        The write also clears field owners: a claim with some gets one without a standby, too.
        """
        found: list[SetStandby] = []
        names = (name for name in self._lacking if name not in fixed)
        for name in list(islice(names, most)):
            claim = claims[name]
            node = claim.spec.node_name
            standby = self._best(claim, standing, _possible(claim, standing))
            self.record(name, node, standby)
            if not standby:
                del self._lacking[name]
                self._hopeless[name] = None
            if standby != claim.spec.standby or has_field_owners(claim):
                found.append(SetStandby(claim, standby))
        return tuple(found)

    def even_out(
        self,
        claims: Mapping[str, IpClaim],
        standing: Standing,
        *,
        steady: frozenset[str],
        fixed: AbstractSet[str],
    ) -> SetStandby | None:
        """Choose a better standby for a claim of one of the next nodes, if there is one.

        "Better" is nearer to the spread of the strategy; only `steady` nodes are chosen. A round of
        calls, until `is_round_over`, looks at all nodes.
        """
        if not self._round:
            self._round = sorted(node for node, takes in self._takes.items() if +takes)
        for node in self._round[-_NODES:]:
            crowded = self._crowded(node, standing.placement, steady)
            for name in tuple(islice(self._by_standby.of(_pair(node, crowded)), _CLAIMS)):
                better = "" if name in fixed else self._better(claims[name], standing, steady)
                if better:
                    self.record(name, node, better)
                    return SetStandby(claims[name], better)
        del self._round[-_NODES:]
        return None

    def _crowded(self, node: str, placement: Placement, steady: frozenset[str]) -> str:
        """Return the standby that takes too many of a node's claims; empty for none."""
        takes = self._takes[node]
        score = _scores(placement, takes)
        worst = max(+takes, key=score, default="")
        best = min((one for one in steady if one != node), key=score, default="")
        if not worst or not best:
            return ""
        without_one, _, _ = placement.entry(worst, takes[worst] - 1)
        return worst if score(best)[0] < without_one else ""

    @property
    def is_round_over(self) -> bool:
        """Whether `even_out` has looked at every node of this round."""
        return not self._round

    def _better(self, claim: IpClaim, standing: Standing, steady: frozenset[str]) -> str:
        row = self._rows[claim.metadata.name]
        takes = self._takes[row.node]
        takes[row.standby] -= 1  # without the claim itself
        best = self._best(claim, standing, _possible(claim, standing) & steady)
        score = _scores(standing.placement, takes)
        is_better = bool(best) and score(best)[0] < score(row.standby)[0]
        takes[row.standby] += 1
        return best if is_better else ""

    def _best(self, claim: IpClaim, standing: Standing, nodes: Iterable[str]) -> str:
        takes = self._takes.get(claim.spec.node_name, Counter())
        return min(nodes, key=_scores(standing.placement, takes), default="")


def _possible(claim: IpClaim, standing: Standing) -> frozenset[str]:
    """Return the nodes to choose from."""
    needs = needs_of(claim, standing.snapshot)
    if needs is None:
        return frozenset()
    nodes, group = standing.filters.standbys(needs, claim.spec.node_name), needs.group
    if not group:
        return nodes
    counts = {node: standing.placement.spread.count(group, node) for node in nodes}
    fewest = min(counts.values(), default=0)
    return frozenset(node for node, count in counts.items() if count == fewest)


def _scores(
    placement: Placement, takes: Mapping[str, int]
) -> Callable[[str], tuple[int, str, str]]:
    """Return the score of a node that gets one more of the claims that `takes` counts."""
    return lambda node: placement.entry(node, takes.get(node, 0))


def _pair(node: str, standby: str) -> str:
    return f"{node} {standby}"  # names have no blanks
