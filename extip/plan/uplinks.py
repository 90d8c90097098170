"""Interfaces that go down and come up x local time → whose IPs are not to move just now.

A switch that is started again takes the interfaces of all its nodes down, and brings them up, at
about the same time; but each node says so for itself. Who heard of them one by one would move IPs
to nodes that are about to say that they are down as well, and later, from nodes that are about to
be back. So

- for `SETTLE_S` after an interface went down its IPs stay: its neighbours may go down with it;
- for `RETURN_S` after a node has come back, by its carrier, because others answer it again or since
  it is heard again, it takes nothing from nodes that are still cut off: they may come back with it.

An IP that waits so has an interface that leads nowhere, whoever is to have it: the first costs a
node that is alone with its fault that much, the second costs only those whose ports stay dead.

All instants are seconds on one monotonic timeline.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from math import inf

SETTLE_S = 0.5
"""Longer than the same event takes from the kernels of several nodes to a scheduler, and shorter
than anybody waits for a fail-over."""

RETURN_S = 5.0
"""Ports of one switch negotiate for some seconds, and a node that is reached needs some rounds of
questions to find out."""


@dataclass(slots=True)
class _Uplink:
    up: bool
    changed_at: float = -inf
    """When it went down or came up; minus infinity for what it was when it was first seen."""


@dataclass(slots=True)
class Uplinks:
    """The interfaces that nodes bring IPs up on."""

    _nodes: dict[str, _Uplink] = field(default_factory=dict)

    def told(self, node: str, *, up: bool, now: float) -> float | None:
        """Take a node's word on its interface; return after how long to look again, if at all."""
        known = self._nodes.setdefault(node, _Uplink(up))
        if known.up == up:
            return None
        known.up, known.changed_at = up, now
        return RETURN_S if up else SETTLE_S

    def forget(self, node: str) -> None:
        """Drop a node whose record is gone."""
        self._nodes.pop(node, None)

    def back_at(self, node: str) -> float:
        """Return when its interface came up after it was down; minus infinity for never."""
        known = self._nodes.get(node)
        return known.changed_at if known is not None and known.up else -inf

    def unsettled(self, now: float) -> frozenset[str]:
        """Return the nodes whose interface has just gone down."""
        return frozenset(
            name
            for name, known in self._nodes.items()
            if not known.up and now - known.changed_at < SETTLE_S
        )


def returning(back_at: Iterable[tuple[str, float]], now: float) -> frozenset[str]:
    """Return which nodes have just come back, from when each did."""
    return frozenset(name for name, at in back_at if now - at < RETURN_S)
