"""Resilient hashing on a router: routes of a table of its own become groups of next hops.

A routing daemon exports its routes into that table, in which the kernel never looks. Each of
them has a route in the main table, over a group of its own. A group keeps the next hop of each
hash as long as the group has that next hop. This is what routers in hardware call resilient or
consistent hashing.
"""

import json
import socket
import subprocess
import sys
import time
from typing import Any

BUCKETS, IDLE_S = 128, 120
"""A next hop that comes back is given hashes without a packet for IDLE_S, and no others."""

SETTLED_S = 0.05
"""A daemon that replaces an IPv6 route deletes it first: it is gone for a moment."""

_ROUTES = 0x40 | 0x400  # RTMGRP_IPV4_ROUTE, RTMGRP_IPV6_ROUTE
Wanted = dict[tuple[str, str], frozenset[tuple[str, str]]]
"""By IP version and destination: the gateways, each with its interface."""


class Groups:
    """The next hops, the groups, and the routes over them."""

    def __init__(self) -> None:
        self._numbers: dict[object, int] = {}
        self._routes: Wanted = {}

    @property
    def routes(self) -> Wanted:
        return self._routes

    def follow(self, wanted: Wanted) -> None:
        for route in self._routes.keys() - wanted.keys():
            version, destination = route
            ip(version, "route", "del", destination)
            ip("nexthop", "del", "id", self._number(route))
        for route, hops in wanted.items():
            if hops != self._routes.get(route):
                self._replace(route, hops)
        self._routes = wanted

    def _replace(self, route: tuple[str, str], hops: frozenset[tuple[str, str]]) -> None:
        version, destination = route
        for hop in hops:
            if hop not in self._numbers:
                gateway, interface = hop
                number = self._number(hop)
                ip("nexthop", "add", "id", number, "via", gateway, "dev", interface)
        members = "/".join(sorted(self._number(hop) for hop in hops))
        group = self._number(route)
        timers = ["buckets", str(BUCKETS), "idle_timer", str(IDLE_S), "unbalanced_timer", "0"]
        ip("nexthop", "replace", "id", group, "group", members, "type", "resilient", *timers)
        if route not in self._routes:
            ip(version, "route", "replace", destination, "nhid", group)

    def _number(self, what: object) -> str:
        return str(self._numbers.setdefault(what, len(self._numbers) + 1))


def ip(*words: str) -> str:
    return subprocess.run(["ip", *words], check=True, capture_output=True, text=True).stdout


def read(table: str) -> Wanted:
    return {
        (version, route["dst"]): frozenset(
            (hop["gateway"], hop["dev"]) for hop in route.get("nexthops", [route])
        )
        for version in ("-4", "-6")
        for route in routes(version, table)
    }


def routes(version: str, table: str) -> list[dict[str, Any]]:
    command = ["ip", version, "-j", "route", "show", "table", table]
    told = subprocess.run(command, check=False, capture_output=True, text=True)
    # A table that has never had a route is an error.
    found: list[dict[str, Any]] = [] if told.returncode else json.loads(told.stdout or "[]")
    return found


def main(table: str) -> None:
    notices = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE)
    notices.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
    notices.bind((0, _ROUTES))
    groups = Groups()
    while True:
        wanted = read(table)
        if groups.routes.keys() - wanted.keys():
            time.sleep(SETTLED_S)
            wanted = read(table)
        groups.follow(wanted)
        notices.recv(1 << 16)


main(sys.argv[1])
