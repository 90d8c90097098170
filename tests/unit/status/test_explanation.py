"""One IP: who asks for it, why it is where it is, what is in its way."""

from msgspec.structs import replace

from extip.api.core_v1 import DetailedServiceSpec, Event, ObjectReference
from extip.api.ipcontroller_v1 import (
    IpClaimPool,
    IpClaimPoolSpec,
    IpClaimPoolStatus,
)
from extip.api.meta_v1 import Condition, FullObjectMeta
from extip.api.names import PREVIOUS_NODE_LABEL
from extip.api.pool_parts import SetAsideAddress
from extip.status.policy.explanation import explain, who_could_give
from extip.status.policy.table import ClaimState
from tests.unit.status.test_pending import service
from tests.unit.status.test_selection import ip_row
from tests.unit.status.test_table import ASSIGNED, FIRST, NOBODY, UP, claim

IP = "10.0.0.1"
CONFLICT = Condition(type="Conflict", status="True", reason="Other", message="02:00 has it, too")


def told(*claims, rows=(), services=(), events=()):
    return explain(IP, rows=rows or [ip_row(IP)], claims=claims, services=services, events=events)


def test_who_asks_for_it_and_how():
    balanced = DetailedServiceSpec(type="LoadBalancer", ip_families=("IPv4",))
    found = told(
        claim(FIRST, managed=False),
        services=[
            service("written", ips=(IP,)),
            service("balanced", spec=balanced, ingress=(IP,)),
            service("named", spec=balanced, addresses=IP),
            service("auto", ips=(IP,), external_ip="auto", allocated=IP),
            service("other", ips=("10.0.0.9",)),
        ],
    )
    assert found.asked_by == (
        "shop/written: wrote it into its spec.externalIPs",
        "shop/balanced: got it from a pool, in its status.loadBalancer",
        "shop/named: names it and wants it from a pool",
        "shop/auto: got it from a pool, in its spec.externalIPs",
        "the claim 10.0.0.1/32, made by hand",
    )


def test_what_put_it_there_and_who_had_it():
    moved = told(claim(ASSIGNED, UP, holder="n2"))
    assert moved.claims == (f"10.0.0.1/32, made by the scheduler: {ASSIGNED.message}",)
    assert moved.before == "n1 at 2026-01-01T01:00:00Z: it was drained"
    first = told(claim(FIRST, UP, holder="n2"))
    assert (first.before, first.in_the_way) == ("", ())
    labelled = claim(FIRST)
    labels = {**labelled.metadata.labels, PREVIOUS_NODE_LABEL: "n3"}
    labelled = replace(labelled, metadata=replace(labelled.metadata, labels=labels))
    assert told(labelled).before == "n3"
    assert told(claim(FIRST, holder="n9")).before.startswith("n9, which has not given it up")
    assert told(claim(FIRST, managed=False)).claims[0].endswith("pinned to n2 by hand")
    assert told(claim(NOBODY, node="")).claims[0].endswith("on no node")


def test_what_is_in_its_way():
    waiting = replace_row(ip_row(IP, node="", state=ClaimState.WAITING), "nobody may have it")
    found = told(claim(NOBODY, CONFLICT, node=""), rows=[waiting])
    assert found.in_the_way == ("nobody may have it", "02:00 has it, too")
    assert told(claim(FIRST, UP)).in_the_way == ()


def replace_row(row, why):
    return type(row)(
        ip=row.ip, node=row.node, state=row.state, since="", services=row.services, why=why
    )


def test_its_events_the_last_one_first():
    events = [
        Event(reason=f"r{n}", message="m", last_timestamp=f"2026-01-01T00:00:{n:02}Z")
        for n in range(20)
    ]
    found = told(claim(FIRST), events=events)
    assert found.history[0] == "2026-01-01T00:00:19Z r19: m"
    assert len(found.history) == 10


def test_events_of_services_are_told_once_and_only_those_about_the_ip():
    about = ObjectReference(kind="Service", namespace="shop", name="web")
    texts = [
        f"{IP} from pool edge, fd00::1 from pool edge",
        f"10.0.0.10 is on n1, eth0; {IP} is on n2, eth0",
        f"{IP}: not free",
        "10.0.0.10 is on n1, eth0",
        f"{IP}: not free",
    ]
    events = [Event(involved_object=about, reason="R", message=text) for text in texts]
    assert told(claim(FIRST), events=events).history == tuple(f" R: {t}" for t in texts[:3])


def test_what_simple_mode_gave_has_nothing_in_its_way():
    row = replace_row(ip_row(IP, state=ClaimState.GIVEN), "by simple mode")
    assert told(rows=[row]).in_the_way == ()


def test_the_pool_that_could_give_an_ip_that_nobody_asks_for():
    aside = {"10.0.0.7": SetAsideAddress(message="station 02:00 has it")}
    pool = IpClaimPool(
        metadata=FullObjectMeta(name="edge"),
        spec=IpClaimPoolSpec(cidr="10.0.0.0/24"),
        status=IpClaimPoolStatus(set_aside=aside),
    )
    assert "set it aside: station 02:00" in who_could_give("10.0.0.7", [pool])
    assert "nobody asks for it" in who_could_give("10.0.0.8", [pool])
    assert who_could_give("10.1.0.8", [pool]) == who_could_give("web", [pool]) == ""
