"""The moves of claims, as the API server has them, and the load of each node."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any

from extip.api.resources import IP_CLAIMS
from extip.net.interfaces import IPAddress
from tests.fakes.cluster_api import ClusterApi
from tests.fakes.cluster_objects import Change
from tests.fakes.world import now_s


@dataclass(frozen=True)
class Move:
    """A claim that had a node gets another one."""

    at_s: float
    ip: IPAddress
    source: str
    target: str
    gap: int
    """How many claims more the source had than the target, this one included."""
    joins: bool
    """No node had more claims than the target."""


class Moves:
    """The last one of each IP, and who looks at each."""

    def __init__(self, api: ClusterApi) -> None:
        self.last: dict[IPAddress, Move] = {}
        self.on_move: list[Callable[[Move], None]] = []
        self._api = api
        api.on_change.append(self._on_change)

    def loads(self) -> Counter[str]:
        """Return how many claims each node has."""
        claims = self._api.collections.get(IP_CLAIMS.path(), {}).values()
        return Counter(filter(None, map(_node_of, claims)))

    def _on_change(self, change: Change) -> None:
        source, target = _node_of(change.before), _node_of(change.after)
        if change.collection != IP_CLAIMS.path() or not source or not target or source == target:
            return
        loads = self.loads()
        loads.update({source: 1, target: -1})  # as it was before
        ip = ip_address((change.after or {})["spec"]["cidr"].partition("/")[0])
        joins = loads[target] == max(loads.values())
        move = Move(now_s(), ip, source, target, loads[source] - loads[target], joins)
        self.last[ip] = move
        for look in self.on_move:
            look(move)


def _node_of(claim: dict[str, Any] | None) -> str:
    node: str = (claim or {}).get("spec", {}).get("nodeName", "")
    return node
