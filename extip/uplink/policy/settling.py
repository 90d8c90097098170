"""Interfaces that go down and come up x local time → the nodes whose IPs wait before a move. Pure.

A switch that restarts takes the interfaces of all its nodes down, and brings them up, at about the
same time. But each node reports only its own. A scheduler that acted on each report would move IPs
to nodes that are about to report the same. Later it would move IPs from nodes that are about to
return. So

- for `SETTLE_S` after an interface went down its IPs stay: its neighbours may go down with it;
- for `RETURN_S` after a node came back, it takes no IP from a node that is still cut off, which may
  come back with it. A node comes back by its carrier, when others answer it again, or when it is
  heard again.

An IP that waits so is on an interface that leads nowhere. The first wait costs a node whose fault
is its own that much. The second costs only the IPs of nodes whose ports stay dead.

All instants are seconds on one monotonic timeline.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from math import inf

SETTLE_S = 0.5
"""Longer than the kernels of several nodes take to report one event to a scheduler. Shorter than a
fail-over may last."""

RETURN_S = 5.0
"""Ports of one switch negotiate for some seconds. A node that is reached needs some rounds of
questions to find out."""

MOST = 64
"""Interfaces of a node that are remembered; it reports fewer at once, but pods' come and go."""


@dataclass(slots=True)
class _Uplink:
    up: bool
    changed_at: float = -inf
    """When it went down or came up; minus infinity for the state at the first report."""


@dataclass(slots=True)
class Uplinks:
    """The interfaces on which nodes bring IPs up, each judged by itself."""

    _nodes: dict[str, dict[str, _Uplink]] = field(default_factory=dict)
    _fallen: set[str] = field(default_factory=set)
    """Nodes that may be unsettled: no other one is looked at."""

    def on_link_state(self, node: str, *, link: str = "", up: bool, now: float) -> float | None:
        """Record a node's report; return the seconds until answers change, None for no change."""
        links = self._nodes.setdefault(node, {})
        links[link] = known = links.pop(link, None) or _Uplink(up)
        if len(links) > MOST:
            del links[next(iter(links))]  # reported longest ago
        if known.up == up:
            return None
        known.up, known.changed_at = up, now
        if not up:
            self._fallen.add(node)
        return RETURN_S if up else SETTLE_S

    def forget(self, node: str) -> None:
        """Drop a node whose record is gone."""
        self._nodes.pop(node, None)

    def back_at(self, node: str) -> float:
        """Return when its last interface came up after it was down; minus infinity for never."""
        links = self._nodes.get(node, {}).values()
        return max((link.changed_at for link in links if link.up), default=-inf)

    def unsettled(self, now: float) -> frozenset[str]:
        """Return the nodes of which an interface has just gone down."""
        found = frozenset(name for name in self._fallen if self._has_just_fallen(name, now))
        self._fallen = set(found)
        return found

    def _has_just_fallen(self, node: str, now: float) -> bool:
        links = self._nodes.get(node, {}).values()
        return any(not one.up and now - one.changed_at < SETTLE_S for one in links)


def returning(back_at: Iterable[tuple[str, float]], now: float) -> frozenset[str]:
    """Return the nodes that have just come back, given when each did."""
    return frozenset(name for name, at in back_at if now - at < RETURN_S)
