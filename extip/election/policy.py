"""Lease record x the local time of its last change → renew it, take it, or wait. Pure.

The algorithm is client-go's (tools/leaderelection). Times in the record are never compared with a
clock. A candidate remembers the time of the record's last change on its own monotonic clock. It may
take the lease when the record has not changed for the duration in the *record*. Clocks may differ
by any amount; their speed may differ by the factor duration / renew deadline.
"""

from dataclasses import dataclass, replace
from datetime import datetime
from enum import Enum
from math import ceil

import msgspec

from extip.api.coordination_v1 import Lease, LeaseSpec
from extip.api.names import RIVAL_ANNOTATION


@dataclass(frozen=True, slots=True, kw_only=True)
class ObservedRecord:
    """The lease at the last read, and the time of its last change."""

    lease: Lease
    changed_at: float
    """The time of the first read with this content, on the local monotonic clock."""
    renewed: bool = False
    """A renewal was observed: the holder lived at that time."""

    @property
    def holder(self) -> str:
        """Return the holder, alive or dead; empty for none."""
        return self.lease.holder

    @property
    def expires_at(self) -> float:
        """Return the time from which it may be taken, unless it changes before."""
        return self.changed_at + (self.lease.spec.lease_duration_seconds or 0)


class Step(Enum):
    """The next step of a candidate."""

    TAKE = "take"
    """It has no holder, or the holder has been silent for its whole duration."""
    RENEW = "renew"
    """The candidate holds it."""
    WAIT = "wait"


def observe(previous: ObservedRecord | None, lease: Lease, now: float) -> ObservedRecord:
    """Take a read of the lease; a new resourceVersion alone is no change."""
    if previous is not None and previous.lease.spec == lease.spec:
        return replace(previous, lease=lease)
    renewed = previous is not None and bool(lease.holder) and previous.holder == lease.holder
    return ObservedRecord(lease=lease, changed_at=now, renewed=renewed)


def next_step(
    observation: ObservedRecord, identity: str, now: float, *, patience_s: float = 0.0
) -> Step:
    """Return the next step of `identity`. A holder may renew also after its lease has expired.

    For `patience_s` seconds a free lease is left to other candidates.
    """
    if observation.holder == identity:
        return Step.RENEW
    free_at = observation.expires_at if observation.holder else observation.changed_at
    if now > free_at + patience_s or (not observation.holder and not patience_s):
        return Step.TAKE
    return Step.WAIT


def rival_of(lease: Lease) -> str:
    """Return the last rival of the holder and its time; empty for none. There should be none."""
    return (lease.metadata.annotations or {}).get(RIVAL_ANNOTATION, "")


def with_rival(lease: Lease, identity: str, *, now: datetime) -> Lease:
    """Return the lease with a note for its holder: `identity` wanted it at that time (UTC)."""
    annotations = {
        **(lease.metadata.annotations or {}),
        RIVAL_ANNOTATION: f"{identity} {_wire_time(now)}",
    }
    metadata = msgspec.structs.replace(lease.metadata, annotations=annotations)
    return msgspec.structs.replace(lease, metadata=metadata)


def held_by(lease: Lease, identity: str, duration_s: float, *, now: datetime) -> Lease:
    """Return the lease after `identity` takes or renews it; `now` (UTC) is for people."""
    spec = lease.spec
    taken = lease.holder != identity
    return msgspec.structs.replace(
        lease,
        spec=LeaseSpec(
            holder_identity=identity,
            lease_duration_seconds=ceil(duration_s),
            acquire_time=_wire_time(now) if taken else spec.acquire_time,
            renew_time=_wire_time(now),
            lease_transitions=(spec.lease_transitions or 0) + taken,
        ),
    )


def released(lease: Lease, *, now: datetime) -> Lease:
    """Return the lease after its holder releases it: any candidate may take it at once."""
    return msgspec.structs.replace(
        lease,
        spec=msgspec.structs.replace(
            lease.spec, holder_identity="", lease_duration_seconds=1, renew_time=_wire_time(now)
        ),
    )


def _wire_time(now: datetime) -> str:
    """Return a MicroTime in the API server's format."""
    return now.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
