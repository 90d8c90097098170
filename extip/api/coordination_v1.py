"""coordination.k8s.io/v1: Leases."""

from extip.api.meta_v1 import FullObject, Wire


class LeaseSpec(Wire, frozen=True):
    """The holder of a Lease, and its times.

    The times are from the holder's wall clock. They are for people: no decision may use them.
    """

    holder_identity: str | None = None
    """Empty or absent when nobody holds it."""
    lease_duration_seconds: int | None = None
    """How long others must see no change before they may take it; at least 1."""
    acquire_time: str | None = None
    """RFC 3339 in UTC with microseconds: when this holder began to hold it."""
    renew_time: str | None = None
    """RFC 3339 in UTC with microseconds: when the holder last said so."""
    lease_transitions: int | None = None
    """How often the holder changed."""


class Lease(FullObject, frozen=True):
    """A coordination.k8s.io/v1 Lease."""

    spec: LeaseSpec = LeaseSpec()

    @property
    def holder(self) -> str:
        """Return the holder's identity, empty when nobody holds it."""
        return self.spec.holder_identity or ""
