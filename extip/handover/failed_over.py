"""The claims of dead nodes that this node takes as their standby, and its own that others took.

The IpNode of a node that died with many claims names them (`extip.scheduling.failovers`). This node
takes those whose standby it is, without waiting until each claim names it. It keeps such a claim
until its own watch has it, or another one shows it elsewhere.

The claims that its own IpNode names are not this node's any more. When the IpNode names none again,
the watch of claims may be behind: it gets `_LATE_S` to tell whose they are. A claim that names this
node even then is read anew before this node acts on it.

A watch that was away tells of the past. So a node takes nothing in this way for `SETTLED_S` after a
silence: it waits until the claims themselves name it. What it took before the silence it keeps only
as far as a reading confirms it, and until then.

It owns no task. The inputs of a controller call it.
"""

import asyncio
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

from extip import log
from extip.api.ipcontroller_v1 import IpClaim, IpNode
from extip.claims.policy.assignment import is_failed_over, standby_of

_LATE_S = 5.0
"""Seconds by which a watch of claims may be later than that of IpNodes."""


class _Taken(NamedTuple):
    """The right to a claim."""

    node: str
    """The dead node."""
    generation: int
    """That of the claim which its IpNode names."""


class _Lost(NamedTuple):
    """A claim of this node that others took."""

    generation: int
    uid: str
    """That of the claim as the watch had it; empty for none. Another one may get its name."""


class FailedOver:
    """Knows which claims are whose while a fail-over is under way."""

    def __init__(  # noqa: PLR0913 - caches and callbacks
        self,
        node: str,
        records: Mapping[str, IpNode],
        own: Mapping[str, IpClaim],
        to_take: Mapping[str, IpClaim],
        *,
        settled: Callable[[], bool],
        look: Callable[[str], None],
        read_anew: Callable[[], None],
    ) -> None:
        """Compose; `own` are the claims that name this node, `to_take` those whose standby it is.

        `settled` tells whether this node has been in contact for `SETTLED_S`. `look` is called with
        a claim that may have become this node's, or another's, and `read_anew` asks for a reading.
        """
        self._node = node
        self._records = records
        self._own = own
        self._to_take = to_take
        self._settled = settled
        self._look = look
        self._read_anew = read_anew
        self._named: dict[str, Mapping[str, int]] = {}
        """The claims that IpNodes name, by node."""
        self._taken: dict[str, _Taken] = {}
        self._lost: Mapping[str, _Lost] = {}
        """This node's own claims that others took, by name."""
        self._log = log.get_logger("failed-over")

    def on_record(self, name: str) -> None:
        """Take an IpNode that has changed (an informer's handler)."""
        record = self._records.get(name)
        named = _named_by(record)
        before = self._named.pop(name, {})
        if named:
            self._named[name] = named
        late = name == self._node and not named and bool(self._lost)  # by a reading, not by a watch
        if named == before and not late:
            return
        if record is None or not named:
            self._is_over(name)
        elif name == self._node:
            self.note_own(record)
        elif self._settled():
            self._take_from(record)

    def note_own(self, record: IpNode | None) -> None:
        """Take this node's own IpNode as it is now."""
        before, named = self._lost, _named_by(record)
        self._lost = {name: self._lost_one(name, number) for name, number in named.items()}
        for name in before.keys() | self._lost.keys():
            self._look(name)

    def _lost_one(self, name: str, generation: int) -> _Lost:
        before, claim = self._lost.get(name), self._own.get(name)
        if before is not None and before.uid and before.generation == generation:
            return before
        if claim is None or claim.metadata.generation != generation:
            return _Lost(generation, "")
        return _Lost(generation, claim.metadata.uid)

    def _take_from(self, record: IpNode) -> None:
        node = record.metadata.name
        found = [
            claim
            for name in self._to_take.keys() & self._named[node].keys()
            if (claim := self._to_take[name]).spec.node_name == node
            and standby_of(claim) == self._node
            and is_failed_over(claim, record)
        ]
        for claim in found:
            self._taken[claim.metadata.name] = _Taken(node, claim.metadata.generation)
        if found:
            self._log.info("claims_failed_over", node=node, claims=len(found))
        for claim in found:
            self._look(claim.metadata.name)

    def _is_over(self, node: str) -> None:
        """Forget soon what an IpNode names no more; let go of what does not name this node then."""
        if node == self._node:
            if self._lost:
                asyncio.get_running_loop().call_later(_LATE_S, self._forget_lost)
            return
        left = {name: right for name, right in self._taken.items() if right.node == node}
        if left:
            asyncio.get_running_loop().call_later(_LATE_S, self._let_go_late, left)

    def _let_go_late(self, rights: Mapping[str, _Taken]) -> None:
        """Let go of what does not name this node by now, once its watches can tell."""
        if self._settled():
            self._let_go({n: right for n, right in rights.items() if not self._names_us(n)})
        else:
            asyncio.get_running_loop().call_later(_LATE_S, self._let_go_late, rights)

    def _names_us(self, name: str) -> bool:
        claim = self._to_take.get(name)
        return claim is not None and claim.spec.node_name == self._node

    def _forget_lost(self) -> None:
        """Believe the watch of claims again; have them read when it tells of no other holder."""
        if self._node in self._named:
            return  # another fail-over is under way
        claims = [claim for name in self._lost if (claim := self._own.get(name)) is not None]
        if all(self.is_ours(claim) for claim in claims):
            self._lost = {}
        else:
            self._read_anew()

    def is_lost(self, name: str) -> bool:
        """Whether a fail-over took this node's own claim, as the watch shows it.

        It took no later version of the claim, and no later claim of that name.
        """
        claim = self._own.get(name)
        return claim is not None and self._took(claim)

    def _took(self, claim: IpClaim) -> bool:
        meta = claim.metadata
        lost = self._lost.get(meta.name)
        if lost is None or lost.generation != meta.generation:
            return False
        return lost.uid in ("", meta.uid)

    def _let_go(self, rights: Mapping[str, _Taken]) -> None:
        for name, right in rights.items():
            if self._taken.get(name) is right:
                del self._taken[name]
                self._look(name)

    def arrived(self, name: str) -> None:
        """Note that this node's own watch has a claim: from now on that one tells of it."""
        self._taken.pop(name, None)

    def elsewhere(self, name: str) -> None:
        """Note that the API server shows a claim elsewhere, whatever the watches still tell."""
        if right := self._taken.get(name):
            self._let_go({name: right})

    def taken(self, name: str) -> IpClaim | None:
        """Return a claim that this node has taken and that its own watch does not have yet."""
        right, claim = self._taken.get(name), self._to_take.get(name)
        if right is None:
            return None
        if claim is not None and self._has_right(claim, right):
            return claim
        del self._taken[name]
        return None

    def dead_nodes(self) -> frozenset[str]:
        """Return the nodes from which this node has taken claims that do not name it yet."""
        return frozenset(right.node for right in self._taken.values())

    def confirm(self, records: Mapping[str, IpNode], claims: Iterable[IpClaim]) -> None:
        """Keep only what a reading confirms: others may have gone on without this node.

        `records` are the IpNodes of `dead_nodes`, and `claims` those to take, read after them.
        """
        confirmed = {
            claim.metadata.name
            for claim in claims
            if claim.spec.node_name == self._node
            or is_failed_over(claim, records.get(claim.spec.node_name))
        }
        self._let_go({n: right for n, right in self._taken.items() if n not in confirmed})

    def is_ours(self, claim: IpClaim) -> bool:
        """Whether a claim, as it was read, is this node's."""
        name = claim.metadata.name
        if claim.spec.node_name == self._node:
            return not (self._took(claim) and standby_of(claim))
        right = self._taken.get(name)
        return right is not None and self._has_right(claim, right)

    def _has_right(self, claim: IpClaim, right: _Taken) -> bool:
        if claim.spec.node_name == self._node:
            return True
        unchanged = claim.metadata.generation == right.generation
        return unchanged and claim.spec.node_name == right.node


def _named_by(record: IpNode | None) -> Mapping[str, int]:
    return {} if record is None else record.status.failed_over or {}
