"""Leases at an API server in memory: versions, conflicts, latency, and every way to fail.

Whatever a call ends with, it may have been carried out before or after that: this is what makes
writes ambiguous to a client that was cut off or gave up.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

import msgspec

from extip.api.coordination_v1 import Lease
from extip.errors import ApiUnavailableError, ConflictError, NotFoundError


@dataclass(frozen=True, slots=True)
class Delivery:
    """What happens to one call; seconds."""

    there_s: float = 0.001
    """Until the server carries it out."""
    back_s: float = 0.001
    """Until the answer arrives."""
    arrives: bool = True
    answered: bool = True
    """False: the client gets an error when the answer would have arrived."""


OK = Delivery()
HANG = Delivery(there_s=1e9)
REFUSED = Delivery(arrives=False, answered=False)
LATE = Delivery(there_s=3.0)
"""Carried out after most clients have given up."""


@dataclass
class LeaseServer:
    """All Leases by name, and what happens to calls."""

    deliver: Callable[[str, str], Delivery] = lambda _client, _verb: OK
    """From the client's name and the verb."""
    leases: dict[str, Lease] = field(default_factory=dict)
    calls: list[tuple[float, str, str]] = field(default_factory=list)
    """When, by whom, which verb."""
    changed: Callable[[str], None] = lambda _name: None
    """Called with the name of each Lease that is written."""
    revision: int = 0

    def write(self, lease: Lease, *, create: bool) -> Lease:
        """Carry out a write, now."""
        name = lease.metadata.name
        known = self.leases.get(name)
        if create and known is not None:
            raise ConflictError("exists", status=409)
        if not create:
            if known is None:
                raise NotFoundError("gone", status=404)
            if known.metadata.resource_version != lease.metadata.resource_version:
                raise ConflictError("changed", status=409)
        self.revision += 1
        metadata = msgspec.structs.replace(
            lease.metadata, resource_version=str(self.revision), uid=lease.metadata.uid or name
        )
        stored = self.leases[name] = msgspec.structs.replace(lease, metadata=metadata)
        self.changed(name)
        return stored

    def edit(self, name: str, **spec) -> Lease:
        """Change a Lease as some person might."""
        lease = self.leases[name]
        changed = msgspec.structs.replace(lease, spec=msgspec.structs.replace(lease.spec, **spec))
        return self.write(changed, create=False)

    def client(self, name: str, who: str = "client") -> "LeaseClient":
        """Return the Lease of that name as one client sees it."""
        return LeaseClient(self, name, who)


class LeaseClient:
    """Implements `LeaseStore`."""

    def __init__(self, server: LeaseServer, name: str, who: str) -> None:
        self._server = server
        self._name = name
        self._who = who

    async def get(self) -> Lease:
        return await self._call("get", self._read)

    async def create(self, lease: Lease) -> Lease:
        return await self._call("create", lambda: self._server.write(lease, create=True))

    async def replace(self, lease: Lease) -> Lease:
        return await self._call("replace", lambda: self._server.write(lease, create=False))

    def _read(self) -> Lease:
        try:
            return self._server.leases[self._name]
        except KeyError:
            raise NotFoundError("no such lease", status=404) from None

    async def _call(self, verb: str, carry_out: Callable[[], Lease]) -> Lease:
        loop = asyncio.get_running_loop()
        self._server.calls.append((loop.time(), self._who, verb))
        delivery = self._server.deliver(self._who, verb)
        answer: asyncio.Future[Lease] = loop.create_future()

        if not delivery.answered:
            answer.cancel()
        if delivery.arrives:
            loop.call_later(delivery.there_s, _arrive, answer, carry_out)
        if not delivery.answered:
            await asyncio.sleep(delivery.there_s + delivery.back_s)
            raise ApiUnavailableError("the connection broke")
        try:
            result = await answer
        finally:
            answer.cancel()
        await asyncio.sleep(delivery.back_s)
        return result


def _arrive(answer: "asyncio.Future[Lease]", carry_out: Callable[[], Lease]) -> None:
    """Act as the server does, whether or not the client still waits."""
    try:
        result = carry_out()
    except (ConflictError, NotFoundError) as error:
        if not answer.done():
            answer.set_exception(error)
    else:
        if not answer.done():
            answer.set_result(result)
