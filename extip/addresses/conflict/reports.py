"""Brings the conflicts on all interfaces together, for those that report them.

It owns no task: the watch of each interface calls it.
"""

from collections.abc import Collection, Mapping
from functools import partial

from extip.addresses.conflict.watch import ConflictHandler
from extip.net.interfaces import IPAddress


class ConflictReports:
    """The conflicts on all interfaces."""

    def __init__(self) -> None:
        self._handlers: list[ConflictHandler] = []
        self._found: dict[str, Mapping[IPAddress, str]] = {}

    def add_handler(self, handler: ConflictHandler) -> None:
        """Have `handler` called with all conflicts when some begin or end."""
        self._handlers.append(handler)

    def of(self, link: str) -> ConflictHandler:
        """Return what takes the conflicts on one interface."""
        return partial(self._take, link)

    def _take(
        self, link: str, found: Mapping[IPAddress, str], began: Collection[IPAddress]
    ) -> None:
        self._found[link] = found
        every = {ip: mac for each in self._found.values() for ip, mac in each.items()}
        for handler in self._handlers:
            handler(every, began)
