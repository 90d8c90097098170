"""`extip status` in simple mode: which addresses pools gave, and what is in their way."""

from msgspec.structs import replace

from extip.api.coordination_v1 import Lease, LeaseSpec
from extip.api.core_v1 import Event, ObjectReference
from extip.api.ipcontroller_v1 import (
    IpClaim,
    IpClaimPool,
    IpClaimPoolSpec,
    IpClaimPoolStatus,
    IpClaimSpec,
)
from extip.api.meta_v1 import FullObjectMeta
from extip.services.policy.no_endpoint import (
    NO_READY_ENDPOINT,
    NONE_READY,
    told_of_withdrawal,
)
from extip.services.policy.refusal import NOT_ALLOCATED
from extip.services.policy.requests import Owner
from extip.status.policy.pending import PendingService, pending_rows
from extip.status.policy.simple_mode import given_rows, giver_of, is_written, written_rows
from extip.status.policy.table import ClaimState

POOL = IpClaimPool(
    metadata=FullObjectMeta(name="edge"),
    spec=IpClaimPoolSpec(cidr="10.0.0.0/24"),
    status=IpClaimPoolStatus(allocated={"10.0.0.10": "shop/web", "10.0.0.9": "shop/api"}),
)


def lease(holder):
    return Lease(
        metadata=FullObjectMeta(name="extip-simple"), spec=LeaseSpec(holder_identity=holder)
    )


def owner(name):
    return Owner(kind="Service", namespace="shop", name=name, uid=name)


def warning(message, at):
    return Event(
        metadata=FullObjectMeta(name=at),
        involved_object=ObjectReference(kind="Service", namespace="shop", name="web"),
        reason="AddressInUse",
        message=message,
        first_timestamp=at,
        last_timestamp=at,
    )


def up(at):
    message = "10.0.0.1 is on n1, eth0; 10.0.0.10 is on n1, eth0"
    return replace(warning(message, at), reason="AddressUp")


def test_addresses_are_given_by_the_node_that_holds_the_lease():
    first, second = given_rows([POOL], [], [lease("n_1_uuid")], [])
    assert (first.ip, first.node, first.services, first.pool) == (
        "10.0.0.9",
        "n_1",
        ("shop/api",),
        "edge",
    )
    assert (first.state, second.state) == (ClaimState.GIVEN, ClaimState.GIVEN)


def test_a_warning_about_an_address_is_its_reason_and_the_last_one_counts():
    told = [warning("10.0.0.10 is a's", "2026-01-02"), warning("10.0.0.1 is b's", "2026-01-03")]
    told += [warning("10.0.0.10 was c's", "2026-01-01")]
    told += [warning("10.0.0.9 is of another service", "2026-01-04")]
    api, web = given_rows([POOL], [], [lease("n1_uuid")], told)
    assert api.state is ClaimState.GIVEN
    assert (web.state, web.why) == (ClaimState.REFUSED, "10.0.0.10 is a's")


def test_an_address_that_has_come_up_since_is_as_it_should_be():
    told = [warning("10.0.0.10: not up", "2026-01-02")]
    (_, web) = given_rows([POOL], [], [lease("n1_uuid")], [*told, up("2026-01-01")])
    assert web.state is ClaimState.REFUSED
    for at in ("2026-01-02", "2026-01-03"):
        (_, web) = given_rows([POOL], [], [lease("n1_uuid")], [up(at), *told])
        assert (web.state, web.why) == (ClaimState.GIVEN, "by simple mode")


def test_an_address_that_no_service_can_answer_at_is_down_in_the_words_of_a_claim():
    told = replace(warning(told_of_withdrawal("10.0.0.10"), "2026-01-02"), reason=NO_READY_ENDPOINT)
    (_, web) = given_rows([POOL], [], [lease("n1_uuid")], [told])
    assert (web.state, web.why) == (ClaimState.DOWN, NONE_READY)
    (_, web) = given_rows([POOL], [], [lease("n1_uuid")], [told, up("2026-01-03")])
    assert (web.state, web.why) == (ClaimState.GIVEN, "by simple mode")


def test_what_has_a_claim_or_no_simple_mode_has_no_such_row():
    claim = IpClaim(metadata=FullObjectMeta(name="c"), spec=IpClaimSpec(cidr="10.0.0.9/24"))
    (row,) = given_rows([POOL], [claim], [lease("n1_uuid")], [])
    assert row.ip == "10.0.0.10"
    assert given_rows([POOL], [], [lease("")], []) == []
    assert given_rows([POOL], [], [], []) == []


def test_an_ip_that_a_service_wrote_is_that_nodes_and_waits_for_no_claim():
    web, bad = (
        owner("web"),
        PendingService(owner=owner("b"), ip="x", why="no IP"),
    )
    lacking = [PendingService(owner=web, ip="10.0.0.10"), PendingService(owner=web, ip=""), bad]
    assert [is_written(one) for one in lacking] == [True, False, False]
    node = giver_of([lease("n1_uuid")])
    (row,) = written_rows(lacking, node, [])
    assert (row.ip, row.node, row.state, row.services) == (
        "10.0.0.10",
        "n1",
        ClaimState.GIVEN,
        ("shop/web",),
    )
    (row,) = written_rows(lacking, node, [warning("10.0.0.10 is a gateway", "2026-01-02")])
    assert (row.state, row.why) == (ClaimState.REFUSED, "10.0.0.10 is a gateway")


def test_a_service_whose_ip_came_up_after_the_warning_does_not_wait():
    lacking = [PendingService(owner=owner("web"), ip="", if_told=True)]
    old = replace(warning("another station has 10.0.0.10", "2026-01-02"), reason=NOT_ALLOCATED)
    assert pending_rows(lacking, [old], [up("2026-01-03")]) == []
    (row,) = pending_rows(lacking, [old], [up("2026-01-01")])
    assert row.why == old.message
