"""Resilient hashing on a router: routes of a table of its own become groups of next hops.

A routing daemon exports its routes into that table, in which the kernel never looks. Each of
them has a route in the main table, over a group of its own. A group keeps the next hop of each
hash as long as the group has that next hop. This is what routers in hardware call resilient or
consistent hashing.

A second table has a route by way of each node that BFD finds alive. A living node that withdraws
a route goes on to serve the connections that it has. So it stays in the group for the hashes that
have traffic, and gets no others, until the last of them has fallen silent. A dead one leaves at
once.
"""

import json
import socket
import subprocess
import sys
import time
from contextlib import suppress
from typing import Any

BUCKETS = 128

FULL, LEAST = "255", "1"
"""Weights in a group. As long as as many stay as leave, those that leave want no bucket of 128."""

SETTLED_S = 0.05
"""A daemon that replaces an IPv6 route deletes it first: it is gone for a moment."""

LOOK_S = 1.0
"""The time between two looks at the hashes of nodes that leave: nobody tells of their silence."""

_ROUTES = 0x40 | 0x400  # RTMGRP_IPV4_ROUTE, RTMGRP_IPV6_ROUTE
Route = tuple[str, str]
"""IP version and destination."""

Hop = tuple[str, str]
"""Gateway and interface."""


class Groups:
    """The next hops, the groups, and the routes over them.

    A hash without a packet for `idle_s` may get another next hop. One that leaves is out after
    `longest_s`, also when its hashes have traffic then.
    """

    def __init__(self, idle_s: float, longest_s: float) -> None:
        self._idle_s = idle_s
        self._longest_s = longest_s
        self._numbers: dict[object, int] = {}
        self._weights: dict[Route, dict[Hop, str]] = {}
        self._leaving: dict[tuple[Route, Hop], float] = {}

    @property
    def some_leave(self) -> bool:
        return bool(self._leaving)

    def lost(self, wanted: dict[Route, set[Hop]]) -> set[Route]:
        """Return the routes that there are, and that nobody wants any more."""
        return self._weights.keys() - wanted.keys()

    def follow(self, wanted: dict[Route, set[Hop]], alive: set[Hop]) -> None:
        for route in self.lost(wanted):
            version, destination = route
            ip(version, "route", "del", destination)
            ip("nexthop", "del", "id", self._number(route))
            del self._weights[route]
        self._leaving = self._find_leaving(wanted, alive)
        for route, hops in wanted.items():
            weights = dict.fromkeys(sorted(hops), FULL)
            # They come last: the kernel rounds in the order of the group, and for them down.
            weights |= {hop: LEAST for left, hop in self._leaving if left == route}
            if weights != self._weights.get(route):
                self._replace(route, weights)

    def _find_leaving(
        self, wanted: dict[Route, set[Hop]], alive: set[Hop]
    ) -> dict[tuple[Route, Hop], float]:
        """Return the next hops that stay for their connections, and since when."""
        now = time.monotonic()
        left = {
            (route, hop): self._leaving.get((route, hop), now)
            for route, hops in wanted.items()
            for hop in (self._weights.get(route, {}).keys() - hops) & alive
        }
        busy = self._busy() if left else set()
        return {
            (route, hop): since
            for (route, hop), since in left.items()
            if now - since < self._longest_s and (self._number(route), self._number(hop)) in busy
        }

    def _busy(self) -> set[tuple[str, str]]:
        """Return the groups and next hops with a hash that has traffic, by their numbers."""
        told = json.loads(ip("-j", "nexthop", "bucket", "list") or "[]")
        return {
            (str(one["id"]), str(one["bucket"]["nhid"]))
            for one in told
            if one["bucket"]["idle_time"] < self._idle_s
        }

    def _replace(self, route: Route, weights: dict[Hop, str]) -> None:
        for hop in weights.keys() - self._numbers.keys():
            gateway, interface = hop
            ip("nexthop", "add", "id", self._number(hop), "via", gateway, "dev", interface)
        members = "/".join(f"{self._number(hop)},{weight}" for hop, weight in weights.items())
        group = self._number(route)
        timers = ["idle_timer", f"{self._idle_s:.0f}", "unbalanced_timer", "0"]
        kind = ["type", "resilient", "buckets", str(BUCKETS), *timers]
        ip("nexthop", "replace", "id", group, "group", members, *kind)
        if route not in self._weights:
            version, destination = route
            ip(version, "route", "replace", destination, "nhid", group)
        self._weights[route] = weights

    def _number(self, what: object) -> str:
        return str(self._numbers.setdefault(what, len(self._numbers) + 1))


def ip(*words: str) -> str:
    return subprocess.run(["ip", *words], check=True, capture_output=True, text=True).stdout


def read(table: str) -> dict[Route, set[Hop]]:
    return {
        (version, route["dst"]): {
            (hop["gateway"], hop["dev"]) for hop in route.get("nexthops", [route])
        }
        for version in ("-4", "-6")
        for route in routes(version, table)
    }


def routes(version: str, table: str) -> list[dict[str, Any]]:
    command = ["ip", version, "-j", "route", "show", "table", table]
    told = subprocess.run(command, check=False, capture_output=True, text=True)
    # A table that has never had a route is an error.
    found: list[dict[str, Any]] = [] if told.returncode else json.loads(told.stdout or "[]")
    return found


def main(table: str, alive_table: str, idle_s: str = "120", longest_s: str = "3600") -> None:
    notices = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE)
    notices.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
    notices.bind((0, _ROUTES))
    groups = Groups(float(idle_s), float(longest_s))
    while True:
        wanted = read(table)
        if groups.lost(wanted):
            time.sleep(SETTLED_S)
            wanted = read(table)
        groups.follow(wanted, {hop for hops in read(alive_table).values() for hop in hops})
        notices.settimeout(LOOK_S if groups.some_leave else None)
        with suppress(TimeoutError):
            notices.recv(1 << 16)


main(*sys.argv[1:])
