"""What is on the wire: `with lab.observe([ip]) as observer:`."""

import bisect
import itertools
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import inf
from tempfile import NamedTemporaryFile
from typing import Literal, Self, cast

from tests.lab.anchor import python
from tests.lab.host import Host
from tests.lab.network import OBSERVER, lan_mac, lan_v4, lan_v6
from tests.lab.stream import LineStream
from tests.lab.wait import PATIENCE_S

INTERVAL_S = 0.010
LOST_AFTER = 3
"""Questions in a row without an answer from a MAC after which it no longer holds the address."""

Kind = Literal["request", "reply", "advertisement"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Announcement:
    """A gratuitous ARP (request or reply) or an unsolicited neighbour advertisement."""

    time_s: float
    ip: str
    mac: str
    node: str | None
    kind: Kind


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaseFencing:
    """A time in which one MAC answered for an address without a gap."""

    mac: str
    node: str | None
    first_s: float
    last_s: float


class Observer:
    """Listens to ARP and NDP from a host of its own and, with an interval, asks who has the IPs.

    Times are those of `time.monotonic`, stamped by the kernel as frames arrive.
    """

    def __init__(
        self,
        host: Host,
        ips: Sequence[str],
        node_of_mac: Callable[[str], str | None],
        *,
        interval_s: float = INTERVAL_S,
    ) -> None:
        self.ips = tuple(ips)
        self._node_of_mac = node_of_mac
        self._asked: list[float] = []
        self._answers: dict[str, list[tuple[float, str]]] = {ip: [] for ip in ips}
        self._announcements: dict[str, list[Announcement]] = {ip: [] for ip in ips}
        settings = {
            "ips": self.ips,
            "mac": lan_mac(OBSERVER),
            "ip": lan_v4(OBSERVER),
            "ip6": lan_v6(OBSERVER),
            "interval_s": interval_s,
        }
        # The kernel takes 128 KiB in one argument: MAX_ARG_STRLEN.
        with NamedTemporaryFile("w", dir=host.anchor.directory, delete=False) as file:
            json.dump(settings, file)
        argv = python("observer.py", file.name)
        self._stream = LineStream(host, argv, "observer", self._on_line)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _on_line(self, line: str) -> None:
        kind, time_s, *rest = line.split(" ")
        if kind == "q":
            self._asked.append(float(time_s))
        elif kind == "a":
            self._answers[rest[0]].append((float(time_s), rest[1]))
        else:
            announcement = Announcement(
                time_s=float(time_s),
                ip=rest[0],
                mac=rest[1],
                node=self._node_of_mac(rest[1]),
                kind=cast("Kind", rest[2]),
            )
            self._announcements[rest[0]].append(announcement)

    def stop(self) -> None:
        self._stream.stop()

    def announcements(self, ip: str, *, after_s: float = 0.0) -> list[Announcement]:
        """Return the announcements of an address from a time on, oldest first."""
        seen = self._announcements[ip]
        return self._stream.read(lambda: [a for a in seen if a.time_s >= after_s])

    def wait_for_announcement(
        self, ip: str, *, timeout: float = PATIENCE_S, after_s: float = 0.0, node: str | None = None
    ) -> Announcement:
        """Wait for an announcement of an address, by a given node or by anybody."""
        seen = self._announcements[ip]
        return self._stream.wait_for(
            lambda: next((a for a in seen if a.time_s >= after_s and node in (None, a.node)), None),
            f"announcement of {ip}",
            timeout,
        )

    def wait_for_owner(
        self, ip: str, node: str, *, timeout: float = PATIENCE_S, after_s: float = 0.0
    ) -> float:
        """Wait until a node answers for an address; returns when it did."""
        answers = self._answers[ip]
        return self._stream.wait_for(
            lambda: next(
                (t for t, mac in answers if t >= after_s and self._node_of_mac(mac) == node), None
            ),
            f"answer of {node} for {ip}",
            timeout,
        )

    def owners(self, ip: str) -> list[LeaseFencing]:
        """Return who answered for an address and from when to when, by start; may overlap.

        A MAC's time ends with its last answer when the next `LOST_AFTER` questions got none.
        """
        asked = self._stream.read(lambda: list(self._asked))
        answers = self._stream.read(lambda: sorted(self._answers[ip]))
        by_mac: dict[str, list[LeaseFencing]] = {}
        for time_s, mac in answers:
            times = by_mac.setdefault(mac, [])
            first_s = time_s
            if times and _asked_between(asked, times[-1].last_s, time_s) <= LOST_AFTER:
                first_s = times.pop().first_s
            node = self._node_of_mac(mac)
            times.append(LeaseFencing(mac=mac, node=node, first_s=first_s, last_s=time_s))
        everyone = [ownership for times in by_mac.values() for ownership in times]
        return sorted(everyone, key=lambda ownership: ownership.first_s)

    def questions(self, *, after_s: float) -> int:
        """Return how often it asked from a time on."""
        asked = self._stream.read(lambda: list(self._asked))
        return _asked_between(asked, after_s, inf)

    def worst_gap_s(self) -> float:
        """Return the longest time between two questions: within that, it cannot tell."""
        asked = self._stream.read(lambda: list(self._asked))
        return max((b - a for a, b in itertools.pairwise(asked)), default=inf)

    def double_ownership_s(self, ip: str) -> float:
        """Return for how long more than one MAC answered for an address, to within 10 ms."""
        edges = sorted(
            [(ownership.first_s, 1) for ownership in self.owners(ip)]
            + [(ownership.last_s, -1) for ownership in self.owners(ip)]
        )
        total, holders, since = 0.0, 0, 0.0
        for time_s, step in edges:
            if holders > 1:
                total += time_s - since
            holders += step
            since = time_s
        return total


def _asked_between(asked: Sequence[float], start_s: float, end_s: float) -> int:
    return bisect.bisect_left(asked, end_s) - bisect.bisect_right(asked, start_s)
