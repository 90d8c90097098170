"""The external IPs that services write themselves, kept up to date service by service."""

import sys
from collections.abc import Callable, Collection
from dataclasses import replace
from typing import Generic, TypeVar

from extip.cache.changes import ChangedKeys
from extip.cache.derived import Linger, Parts
from extip.net.interfaces import IPAddress, IPInterface
from extip.services.policy.refusal import Refusal
from extip.services.policy.requests import Owner, Request, Requests
from extip.services.policy.written_ips import WrittenIPs, collect_written

Object = TypeVar("Object")


class ExplicitIPs(Parts[Object, WrittenIPs], Generic[Object]):
    """The owners of each such IP, for one reader that takes what has changed.

    A change of a service costs the IPs of that service, however many services there are.
    """

    def __init__(
        self,
        *,
        get: Callable[[str], Object | None],
        extract: Callable[[Object], WrittenIPs | None],
        parse: Callable[[str], IPInterface | None],
        permit: Callable[[str, IPAddress], Refusal | None],
        on_change: Callable[[Collection[IPAddress]], None],
        linger: Linger | None = None,
    ) -> None:
        """Compose; `parse` and `permit` are those of `collect`.

        `on_change` gets the IPs whose owners differ. There may be none: only `rejected` differs.
        """
        super().__init__(get=get, extract=extract, on_change=lambda: None, linger=linger)
        self._parse = parse
        self._permit = permit
        self._on_ips = on_change
        self._changed = ChangedKeys[IPAddress]()
        self._asking: dict[str, tuple[Owner, tuple[IPAddress, ...]]] = {}
        self._rejecting: dict[str, None] = {}
        """The services that have malformed or denied requests."""
        self._rejected: Requests | None = Requests()
        self.by_ip: dict[IPAddress, Request] = {}
        """The IPs that somebody may have; always the same object."""

    @property
    def pending(self) -> bool:
        """Whether `changes` has more to return."""
        return self._changed.pending

    def changes(self, most: int = sys.maxsize) -> dict[IPAddress, Request | None]:
        """Return up to `most` IPs whose owners may differ since the last call; None for nobody.

        At first, and after `forget`, all IPs have their turn.
        """
        return {ip: self.by_ip.get(ip) for ip in self._changed.take(self.by_ip, most)}

    def forget(self) -> None:
        """Have the next `changes` return all IPs."""
        self._changed.forget()

    def rejected(self) -> Requests:
        """Return the malformed and the denied requests; the same object until one differs."""
        if self._rejected is None:
            parts = (part for key in self._rejecting if (part := self.get(key)) is not None)
            self._rejected = replace(collect_written(parts, self._parse, self._permit), wanted={})
        return self._rejected

    def _part_changed(self, key: str) -> None:
        part = self.get(key)
        found = collect_written([] if part is None else [part], self._parse, self._permit)
        if key in self._rejecting or found.malformed or found.denied:
            self._rejected = None
        self._rejecting.pop(key, None)
        if found.malformed or found.denied:
            self._rejecting[key] = None
        self._on_ips(self._take(key, part, tuple(found.wanted)))

    def _take(
        self, key: str, part: WrittenIPs | None, interfaces: tuple[IPInterface, ...]
    ) -> Collection[IPAddress]:
        """Take the IPs that a service asks for now; return those whose owners differ."""
        ips = tuple(interface.ip for interface in interfaces)
        owner, old = self._asking.pop(key, (None, ()))
        before = {ip: self.by_ip.get(ip) for ip in (*old, *ips)}
        for ip in old:
            interface, owners = self.by_ip.pop(ip)
            rest = tuple(one for one in owners if one != owner)
            if rest:
                self.by_ip[ip] = interface, rest
        if part is not None and ips:
            self._asking[key] = part.owner, ips
            for interface in interfaces:
                _, owners = self.by_ip.get(interface.ip, (interface, ()))
                self.by_ip[interface.ip] = interface, tuple(sorted((*owners, part.owner)))
        differing = [ip for ip, request in before.items() if self.by_ip.get(ip) != request]
        for ip in differing:
            self._changed.note(ip)
        return differing
