"""Lease record x when it was seen to change here → hold it, take it, or wait.

The algorithm is client-go's (tools/leaderelection): times in the record are never compared with
any clock. A candidate remembers when it saw the record change, on its own monotonic clock, and may
take the lease only when it has not changed for the duration that the *record* names. Clocks may
differ by anything; only their speed must agree, to within duration / renew deadline.
"""

from dataclasses import dataclass, replace
from datetime import datetime
from enum import Enum
from math import ceil

import msgspec

from extip.api.coordination_v1 import Lease, LeaseSpec
from extip.api.names import RIVAL_ANNOTATION


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """The lease as last read, and since when it says so."""

    lease: Lease
    changed_at: float
    """When its content was first seen to be this, on the local monotonic clock."""
    renewed: bool = False
    """Its holder was seen to renew it: it lived at that time."""

    @property
    def holder(self) -> str:
        """Return who holds it, alive or not; empty for nobody."""
        return self.lease.holder

    @property
    def expires_at(self) -> float:
        """Return when it may be taken, unless it changes before."""
        return self.changed_at + (self.lease.spec.lease_duration_seconds or 0)


class Step(Enum):
    """What a candidate may do now."""

    TAKE = "take"
    """Nobody holds it, or the holder has been silent for as long as it said."""
    RENEW = "renew"
    """It is the candidate's own."""
    WAIT = "wait"


def observe(previous: Observation | None, lease: Lease, now: float) -> Observation:
    """Take in a read of the lease; a new resourceVersion alone is no change."""
    if previous is not None and previous.lease.spec == lease.spec:
        return replace(previous, lease=lease)
    renewed = previous is not None and bool(lease.holder) and previous.holder == lease.holder
    return Observation(lease=lease, changed_at=now, renewed=renewed)


def next_step(
    observation: Observation, identity: str, now: float, *, patience_s: float = 0.0
) -> Step:
    """Decide what `identity` may do. A holder is not asked to prove that its lease is still on.

    For `patience_s` seconds a lease that has become free is left to others.
    """
    if observation.holder == identity:
        return Step.RENEW
    free_at = observation.expires_at if observation.holder else observation.changed_at
    if now > free_at + patience_s or (not observation.holder and not patience_s):
        return Step.TAKE
    return Step.WAIT


def rival_of(lease: Lease) -> str:
    """Return who wanted the lease last, though there should be no other, and when; may be empty."""
    return (lease.metadata.annotations or {}).get(RIVAL_ANNOTATION, "")


def wanted(lease: Lease, identity: str, *, now: datetime) -> Lease:
    """Return the lease with a word for its holder: `identity` wanted it at that time (UTC)."""
    annotations = {
        **(lease.metadata.annotations or {}),
        RIVAL_ANNOTATION: f"{identity} {_wire_time(now)}",
    }
    metadata = msgspec.structs.replace(lease.metadata, annotations=annotations)
    return msgspec.structs.replace(lease, metadata=metadata)


def held(lease: Lease, identity: str, duration_s: float, *, now: datetime) -> Lease:
    """Return the lease as `identity` takes or renews it; `now` (UTC) is for people to read."""
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
    """Return the lease as its holder gives it back: anybody may take it at once."""
    return msgspec.structs.replace(
        lease,
        spec=msgspec.structs.replace(
            lease.spec, holder_identity="", lease_duration_seconds=1, renew_time=_wire_time(now)
        ),
    )


def _wire_time(now: datetime) -> str:
    """Return a MicroTime as the API server writes it."""
    return now.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
