"""One Lease at the API server, for electors and heartbeats."""

from typing import Protocol

from extip.api.coordination_v1 import Lease
from extip.errors import ApiError, ApiUnavailableError


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
