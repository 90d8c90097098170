"""One Lease at the API server, for electors and heartbeats."""

from collections.abc import Callable
from typing import Protocol

from extip.api.coordination_v1 import Lease
from extip.errors import ApiError, ApiUnavailableError, ConflictError, NotFoundError


class LeaseStore(Protocol):
    """One Lease at the API server; every call raises `ApiError`."""

    async def get(self) -> Lease:
        """Return it. Raises NotFoundError."""

    async def create(self, lease: Lease) -> Lease:
        """Create it. Raises ConflictError when it exists."""

    async def replace(self, lease: Lease) -> Lease:
        """Replace it. Raises ConflictError when it has another resourceVersion by now."""


class LeaseWriter:
    """Writes a Lease, and remembers a write whose outcome is unknown."""

    def __init__(self, store: LeaseStore) -> None:
        self._store = store
        self.unsettled: Lease | None = None
        """A write that may have been made, or may still be made."""

    async def write(self, lease: Lease) -> Lease:
        """Create or replace the Lease; return its new version. Raises ApiError.

        Without an answer, or after a cancellation, it stays in `unsettled`.
        """
        exists = bool(lease.metadata.resource_version)
        self.unsettled = lease
        try:
            written = await (self._store.replace(lease) if exists else self._store.create(lease))
        except ApiUnavailableError:
            raise
        except ApiError:
            self.unsettled = None
            raise
        self.unsettled = None
        return written

    async def give_up(
        self, known: Lease | None, identity: str, given_up: Callable[[Lease], Lease]
    ) -> tuple[Lease, bool]:
        """Write the Lease without its holder, if that is `identity`; read it where it is not known.

        Return the Lease as it is then, and whether this call wrote it. Raises ApiError.

        A cancelled write may still be on its way. It carries the version of the Lease at that time.
        Another write with that version comes before it, or conflicts and so shows that it was made.
        """
        lease = self.unsettled or known
        if lease is None or not lease.holder:  # another call may not have been made
            lease = await self._store.get()
        while lease.holder == identity:
            try:
                return await self.write(given_up(lease)), True
            except (ConflictError, NotFoundError):  # perhaps by the cancelled write
                lease = await self._store.get()
        return lease, False
