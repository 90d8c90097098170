"""A service learns that a claim of a person has its IP."""

from typing import Any

from msgspec.structs import replace

from extip.api.ipcontroller_v1 import IpClaim, IpClaimSpec, ServiceReference
from extip.api.meta_v1 import FullObjectMeta
from extip.api.names import MANAGED_BY, MANAGED_BY_LABEL
from extip.scheduling.events import PlacementEvents
from extip.scheduling.reports import DecisionReports

WEB = ServiceReference(namespace="shop", name="web", uid="1")
OURS = IpClaim(
    metadata=FullObjectMeta(name="10-0-0-1-32", labels={MANAGED_BY_LABEL: MANAGED_BY}),
    spec=IpClaimSpec(cidr="10.0.0.1/32", services=(WEB,)),
)
BY_HAND = IpClaim(metadata=FullObjectMeta(name="mine"), spec=IpClaimSpec(cidr="10.0.0.1/24"))


class Recorder:
    def __init__(self) -> None:
        self.told: list[tuple[str, str, str]] = []

    def record(self, reference: Any, *, type: str, reason: str, message: str) -> None:  # noqa: A002
        self.told.append((reference.name, f"{type} {reason}", message))


def reported(*others: IpClaim) -> list[tuple[str, str, str]]:
    recorder: Any = Recorder()
    events = PlacementEvents(recorder, on_move=lambda _claim, _why: None)
    DecisionReports(events).report_deleted(OURS, lambda _ip: others)
    told: list[tuple[str, str, str]] = recorder.told
    return told


def test_the_services_of_a_claim_that_gives_way_are_told_who_has_their_ip() -> None:
    ((name, kind, message),) = reported(BY_HAND)
    assert (name, kind) == ("web", "Normal ClaimedByHand")
    assert message.startswith("claim mine, which a person made, has 10.0.0.1 now")


def test_a_claim_that_goes_for_another_reason_tells_nobody() -> None:
    assert reported() == []
    longer = replace(OURS, spec=IpClaimSpec(cidr="10.0.0.1/24", services=(WEB,)))
    assert reported(longer) == []
