"""Events about claims, on the claims and on their services."""

from collections.abc import Callable

from extip.api.ipcontroller_v1 import IpClaim, ServiceReference
from extip.api.resources import IP_CLAIMS
from extip.kube.events import EventRecorder, ObjectReference
from extip.scheduling.policy.filters import Unfit
from extip.services.policy.references import owner_of, reference_to
from extip.services.withdrawal_events import record_withdrawal


class PlacementEvents:
    """Records Events; no call blocks or fails."""

    def __init__(self, events: EventRecorder, *, on_move: Callable[[IpClaim, str], None]) -> None:
        """`on_move` is told of a claim that leaves its node, and why."""
        self._events = events
        self._on_move = on_move

    def moved(self, claim: IpClaim, node: str, why: str) -> None:
        """Record that `claim` was given to another node."""
        self._on_move(claim, why)
        before = claim.spec.node_name
        self._events.record(
            _claim_reference(claim),
            type="Normal",
            reason="Moved" if before else "Assigned",
            message=f"from {before} ({why}) to {node}" if before else f"to {node}: {why}",
        )

    def contested(self, claim: IpClaim) -> None:
        """Record that somebody undoes what is written to the claim."""
        self._events.record(
            _claim_reference(claim),
            type="Warning",
            reason="FieldContested",
            message="another program undoes what the scheduler writes to this claim each time, or "
            "deletes it; the scheduler writes it ever more rarely: have that one leave it alone",
        )

    def not_served(self, service: ServiceReference, claim: IpClaim) -> None:
        """Record on the service that its IP is where it has no endpoint."""
        ip = claim.spec.cidr.partition("/")[0]
        self._events.record(
            reference_to(owner_of(service)),
            type="Warning",
            reason=Unfit.NO_ENDPOINT.value,
            message=f"{ip} is on {claim.spec.node_name}, where this service has no ready endpoint "
            "(externalTrafficPolicy Local), but more of the services that share the IP have one",
        )

    def withdrawn(self, claim: IpClaim) -> None:
        """Record on the services that their IP goes down."""
        ip = claim.spec.cidr.partition("/")[0]
        record_withdrawal(self._events, ip, map(owner_of, claim.spec.services or ()))

    def taken_over(self, service: ServiceReference, claim: IpClaim, by: IpClaim) -> None:
        """Record on the service that a claim of a person has its IP now."""
        ip = claim.spec.cidr.partition("/")[0]
        self._events.record(
            reference_to(owner_of(service)),
            type="Normal",
            reason="ClaimedByHand",
            message=f"claim {by.metadata.name}, which a person made, has {ip} now: it decides "
            "where the IP is, and it stays when this service goes",
        )


def _claim_reference(claim: IpClaim) -> ObjectReference:
    return ObjectReference(
        api_version=IP_CLAIMS.api_version,
        kind=IP_CLAIMS.kind,
        name=claim.metadata.name,
        uid=claim.metadata.uid,
    )
