"""IPs for which no service can answer → claims whose nodes take them down. Pure.

That is ``--without-endpoints withdraw``. A claim keeps its node meanwhile: so its IP is back as
soon as an endpoint is ready.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace

from extip.api.ipcontroller_v1 import IpClaim
from extip.claims.policy.claims import Delete, metadata_patch
from extip.scheduling.policy.schedule import Schedule, SetWithdrawn
from extip.scheduling.policy.snapshot import Snapshot


def with_withdrawals(schedule: Schedule, claims: Sequence[IpClaim], snapshot: Snapshot) -> Schedule:
    """Return the schedule with the writes that withdraw claims, or end that."""
    if not snapshot.unready and not any(claim.spec.withdrawn for claim in claims):
        return schedule
    going = {one.claim.metadata.name for one in schedule.writes if isinstance(one, Delete)}
    staying = (claim for claim in claims if claim.managed and claim.metadata.name not in going)
    return replace(schedule, writes=schedule.writes + tuple(_changes(staying, snapshot)))


def withdrawal_patch(write: SetWithdrawn) -> dict[str, object]:
    """Return the merge patch; it conflicts when the claim has changed since it was read."""
    spec = {"withdrawn": write.withdrawn or None}
    return {"metadata": metadata_patch(write.claim), "spec": spec}


def _changes(claims: Iterable[IpClaim], snapshot: Snapshot) -> Iterable[SetWithdrawn]:
    for claim in claims:
        due = is_unanswered(claim, snapshot)
        if due is not claim.spec.withdrawn:
            yield SetWithdrawn(claim, due)


def is_unanswered(claim: IpClaim, snapshot: Snapshot) -> bool:
    """Whether none of the claim's services has a ready endpoint.

    A claim that is not withdrawn yet waits until that has lasted for a while: a rolling restart
    takes no IP down.
    """
    services = [snapshot.unready.get(str(service)) for service in claim.spec.services or ()]
    lasted = all(services)
    known = all(one is not None for one in services)
    return bool(services) and (lasted or (known and claim.spec.withdrawn))
