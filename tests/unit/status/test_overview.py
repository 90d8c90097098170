"""What is wrong comes first, in sentences and in rows."""

from dataclasses import replace
from datetime import datetime
from functools import partial

import pytest
from msgspec import structs

from extip.api.coordination_v1 import Lease, LeaseSpec
from extip.api.ipcontroller_v1 import IpClaimPool, IpClaimPoolSpec, IpClaimPoolStatus
from extip.api.meta_v1 import Condition, FullObjectMeta
from extip.status.policy.explanation import explain
from extip.status.policy.overview import (
    Leader,
    Overview,
    headline,
    in_order,
    leader_of,
    nodes_in_order,
    problems,
)
from extip.status.policy.pools import pool_rows
from extip.status.policy.table import ClaimState
from extip.status.policy.text import age, as_text
from extip.status.question import SORTS
from tests.unit.status.test_selection import ip_row, node_row

NOW = datetime.fromisoformat("2026-01-01T00:01:00Z")
AT = "2026-01-01T00:00:00Z"
DOWN = ClaimState.DOWN
LEADER = Leader(name="s1", since=AT)


def election(holder="s1", renewed="2026-01-01T00:00:55Z"):
    spec = LeaseSpec(
        holder_identity=holder, renew_time=renewed, lease_duration_seconds=15, acquire_time=AT
    )
    return Lease(metadata=FullObjectMeta(name="extip-scheduler"), spec=spec)


def test_the_leader_is_who_renewed_last():
    leases = [election(), election("s2", "2026-01-01T00:00:58Z"), election("")]
    assert leader_of(leases, unread="", now=NOW) == Leader(name="s2", since=AT)


@pytest.mark.parametrize(
    ("leases", "unread", "text"),
    [
        ([], "", "no Lease of schedulers is there"),
        ([election("")], "", "no scheduler leads"),
        ([election(renewed=AT)], "", "scheduler s1 last renewed its Lease 60 s ago"),
        ([], "may not", "who leads is not known: may not"),
    ],
)
def test_what_is_wrong_with_the_leader(leases, unread, text):
    found = leader_of(leases, unread=unread, now=NOW)
    assert text in found.problem
    assert problems(found, [], [], []) == (found.problem,)


def pool(name, *, reason="FreeAddresses", status="False", free=5, size=10):
    condition = Condition(type="Exhausted", status=status, reason=reason, message=reason)
    return IpClaimPool(
        metadata=FullObjectMeta(name=name),
        spec=IpClaimPoolSpec(cidr="10.0.0.0/24"),
        status=IpClaimPoolStatus(size=size, free=free, conditions=(condition,) if reason else None),
    )


def test_pools_say_what_is_left():
    rows = pool_rows(
        [
            pool("b", reason="NoFreeAddress", status="True", free=0),
            pool("a"),
            pool("c", reason="Malformed"),
            pool("d", reason=""),
        ]
    )
    assert [(row.pool, row.state, row.used, row.free) for row in rows] == [
        ("a", "ok", 5, 5),
        ("b", "exhausted", 10, 0),
        ("c", "malformed", 5, 5),
        ("d", "unknown", 5, 5),
    ]
    found = problems(LEADER, [], [], rows)
    assert found == ("pool b is exhausted: NoFreeAddress", "pool c is malformed: Malformed")


def test_a_pool_that_gives_nothing_says_who_still_has_addresses_of_it():
    full, empty, ours = pool("b", status="True", free=0), pool("a"), pool("c")
    spec = IpClaimPoolSpec(cidr="10.0.0.0/24", allocation="Draining")
    used = {"10.0.0.1": "shop/web", "10.0.0.2": "shop/web", "10.0.0.3": "a/b"}
    status = structs.replace(full.status, allocated=used)
    of_a_node = structs.replace(ours.status, allocated={"10.0.0.4": "the cluster itself"})
    rows = pool_rows(
        [
            structs.replace(full, spec=spec, status=status),
            structs.replace(empty, spec=spec),
            structs.replace(ours, spec=spec, status=of_a_node),
        ]
    )
    assert [(row.state, row.why) for row in rows] == [
        ("draining", "nobody has an address of it: it can be deleted"),
        ("draining", "in use by a/b, shop/web"),
        ("draining", "nobody has an address of it: it can be deleted"),
    ]
    assert problems(LEADER, [], [], rows) == (), "somebody wants it so"


def test_each_thing_that_is_wrong_is_a_sentence():
    ips = [ip_row("10.0.0.1"), *(ip_row(f"10.0.1.{n}", state=DOWN) for n in range(5))]
    ips.append(ip_row("", state=ClaimState.WAITING, services=("shop/lb",)))
    ips.append(ip_row("", state=ClaimState.WAITING, services=()))  # its claim has no address
    nodes = [
        node_row("n1", version="1"),
        node_row("n2", "leaving", why="bye", version="2"),
        node_row("n3", version="1"),
    ]
    assert problems(LEADER, ips, nodes, []) == (
        "down: 5 IPs (10.0.1.0, 10.0.1.1, 10.0.1.2, ...)",
        "waiting: 2 IPs (shop/lb, without an address)",
        "node n2 is leaving: bye",
        "controllers have different versions: 1 on n1, n3, 2 on n2",
    )
    assert problems(LEADER, ips[:1], nodes[::2], []) == ()
    assert problems(LEADER, [], [node_row(f"n{n}", "dead") for n in range(9)], [])[-1] == (
        "6 more nodes are not ready"
    )


def test_slips_of_services_come_last_and_the_first_ones_alone():
    slips = {f"shop/s{n}": "there is no annotation x" for n in range(5)}
    found = problems(LEADER, [], [], [], slips)
    assert found[0] == "service shop/s0: there is no annotation x"
    assert found[3:] == ("2 more services have annotations to mend: extip doctor",)
    assert len(problems(LEADER, [], [], [], {"shop/web": "x"})) == 1


def test_rows_come_in_the_order_that_is_asked_for():
    rows = [
        ip_row("10.0.0.1", "n2", ("b/b",), since="2026-01-01"),
        ip_row("10.0.0.2", "", ("a/a",), DOWN, since="2026-01-03"),
        ip_row("10.0.0.3", "n1", ("c/c",), since="2026-01-02"),
    ]
    orders = {by: "".join(row.ip[-1] for row in in_order(rows, by)) for by in SORTS}
    assert orders == {
        "problems": "213",
        "ip": "123",
        "node": "312",
        "state": "213",
        "since": "231",
        "service": "213",
    }
    nodes = [node_row("n2", "dead"), node_row("n1"), node_row("n3")]
    assert [row.node for row in nodes_in_order(nodes, "problems")] == ["n2", "n1", "n3"]
    assert [row.node for row in nodes_in_order(nodes, "ip")] == ["n1", "n2", "n3"]


OVERVIEW = Overview(
    problems=("down: 1 IP (10.0.0.2)",),
    leader=LEADER,
    ips=(ip_row("10.0.0.2", state=DOWN, since=AT), ip_row("10.0.0.1", link="eth0", pool="edge")),
    nodes=(node_row("n1", version="1"),),
    pools=tuple(pool_rows([pool("edge"), pool("wide", size=2**63 - 1, free=2**63 - 1)])),
)


def shown(**how):
    how = {"now": NOW, "wide": False, "colour": False, "whole": True, **how}
    return as_text(OVERVIEW, **how)


def test_the_text_counts_then_tells_what_is_wrong_then_lists():
    lines = shown().splitlines()
    assert lines[0] == headline(OVERVIEW) == "1 of 2 IPs up, 1 of 1 node ready, leader s1"
    assert lines[2] == "! down: 1 IP (10.0.0.2)"
    assert lines[4].split() == ["IP", "NODE", "STATE", "SINCE", "SERVICES", "WHY"]
    assert lines[5].split() == ["10.0.0.2", "n1", "down", "60s", "shop/web", "-"]
    assert "~2^63" in lines[-1]
    assert shown(whole=False).startswith("IP ")


def test_a_part_without_rows_is_left_out_where_only_some_were_asked_for():
    plain = partial(as_text, now=NOW, wide=False, colour=False)
    node_alone = replace(OVERVIEW, ips=(), pools=())
    assert plain(node_alone, whole=False).startswith("NODE ")
    assert "IP " in plain(node_alone, whole=True)
    ip_alone = replace(OVERVIEW, nodes=(), pools=())
    assert "NODE  STATE  HEARTBEAT" not in plain(ip_alone, whole=False)


def test_an_explanation_says_that_events_could_not_be_read():
    told = explain("10.0.0.1", rows=(), claims=(), services=(), events=(), unread="may not")
    text = as_text(
        replace(OVERVIEW, explanation=told), now=NOW, wide=False, colour=False, whole=False
    )
    assert text.endswith("Events:       not all can be read: may not\n")


def test_an_explanation_names_mistakes_where_there_are_some():
    def text(*mistakes):
        told = explain("10.0.0.1", rows=(), claims=(), services=(), events=())
        whole = replace(OVERVIEW, explanation=replace(told, mistakes=mistakes))
        return as_text(whole, now=NOW, wide=False, colour=False, whole=False)

    assert "mistakes:     shop/web: no such annotation\n" in text("shop/web: no such annotation")
    assert "mistakes" not in text()


def test_the_wide_text_has_more_columns():
    lines = shown(wide=True, whole=False).splitlines()
    assert lines[2].split() == [
        *("10.0.0.1", "n1", "up", "-", "eth0", "edge", "-", "-", "shop/web", "-")
    ]
    assert "VERSION" in lines[4]


def test_problems_are_red_where_there_are_colours():
    red = [line for line in shown(colour=True).splitlines() if line.startswith("\x1b[31m")]
    assert [line.removeprefix("\x1b[31m").split()[0] for line in red] == ["!", "10.0.0.2"]
    assert all(line.endswith("\x1b[0m") for line in red)
    assert "\x1b" not in shown()


@pytest.mark.parametrize(
    ("since", "text"),
    [
        ("", "-"),
        ("nonsense", "?"),
        ("2026-01-01T00:02:00Z", "0s"),
        (AT, "60s"),
        ("2025-12-31T22:00:00Z", "2h"),
        ("2025-12-31T23:00:00Z", "61m"),
        ("2025-12-01T00:00:00Z", "31d"),
    ],
)
def test_ages_are_written_as_kubectl_does(since, text):
    assert age(since, NOW) == text


HOSTILE = "\x1b[2J\x1b]0;owned\x07\n10.0.0.9  n1  up\u202e"


def test_no_text_of_others_gets_at_the_terminal():
    """Whoever writes an annotation, or an Event, would write on the screen of its reader."""
    row = replace(ip_row("10.0.0.1"), why=HOSTILE)
    told = explain("10.0.0.1", rows=[replace(row, state=DOWN)], claims=[], services=[], events=[])
    shown = as_text(
        Overview(
            problems=(HOSTILE,),
            leader=Leader(name=HOSTILE, since=AT),
            ips=(row,),
            nodes=(node_row("n1", why=HOSTILE),),
            pools=(),
            explanation=replace(told, history=(HOSTILE,), mistakes=(HOSTILE,)),
        ),
        now=NOW,
        wide=True,
        colour=False,
        whole=True,
    )
    assert all(line.isprintable() for line in shown.splitlines()), shown
    assert not any(line.startswith("10.0.0.9") for line in shown.splitlines())
    assert "\\x1b[2J" in shown
