"""Claims of one IP are on one node, or stay down and say why; they never chase each other."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from extip.api.ipcontroller_v1 import ASSIGNED, IpClaim, IpClaimSpec, IpClaimStatus
from extip.api.meta_v1 import Condition, FullObjectMeta
from extip.api.names import PLACEMENT_ANNOTATION, PLACEMENT_AUTOMATIC
from extip.claims.policy.claims import is_pinned
from extip.claims.policy.same_ip import DUPLICATE, is_refused
from extip.scheduling.policy.filters import NodeFacts, NodeLinkFacts
from extip.scheduling.policy.placement import Strategy
from extip.scheduling.policy.planner import plan_schedule
from extip.scheduling.policy.schedule import AssignClaim
from extip.scheduling.policy.snapshot import Snapshot
from tests.unit.scheduling.rebalance_reference import plan_rebalance

NODES = ["n1", "n2", "n3"]
AUTOMATIC = {PLACEMENT_ANNOTATION: PLACEMENT_AUTOMATIC}


def claim(name, node="", *, created=1, pinned=False, cidr="10.0.0.1/32", link=""):
    """Return one that a person wrote, as old as `created` is small."""
    labels = {"ipnode": node} if node else None
    return IpClaim(
        metadata=FullObjectMeta(
            name=name,
            labels=labels,
            annotations=None if pinned else AUTOMATIC,
            creation_timestamp=f"2026-01-01T00:00:{created:02d}Z",
        ),
        spec=IpClaimSpec(cidr=cidr, node_name=node, link=link),
    )


def cluster(alive=(), *, unknown=(), iface="eth0"):
    return Snapshot(
        nodes=tuple(NodeFacts(name=n, alive=n in alive, link=iface) for n in NODES),
        unknown=frozenset(unknown),
    )


def with_links(known):
    """Let two nodes have eth0, and one eth9."""
    links = dict(zip(NODES, ["eth0", "eth0", "eth9"], strict=True))
    nodes = (
        replace(n, link=links[n.name], links={links[n.name]: NodeLinkFacts(up=True)})
        for n in known.nodes
    )
    return replace(known, nodes=tuple(nodes))


def put(old, *, node=None, refused=None):
    """Return the claim on another node, or told something else; all else stays."""
    spec, labels = old.spec, old.metadata.labels
    if node is not None:
        spec = IpClaimSpec(cidr=spec.cidr, node_name=node, link=spec.link)
        labels = {"ipnode": node}
    status = old.status
    if refused is not None:
        told = Condition(type=ASSIGNED, status="False", reason=DUPLICATE, message=refused)
        right = Condition(type=ASSIGNED, status="True", reason="Assigned", message="")
        status = IpClaimStatus(conditions=(told if refused else right,))
    metadata = FullObjectMeta(
        name=old.metadata.name,
        labels=labels,
        annotations=old.metadata.annotations,
        creation_timestamp=old.metadata.creation_timestamp,
    )
    return IpClaim(metadata=metadata, spec=spec, status=status)


def settled(claims, nodes, strategy=Strategy.FAIR, *, most=3):
    """Write until nothing differs; an automatic claim's node, and what the refused are told."""
    by_name = {c.metadata.name: c for c in claims}
    for _ in range(most):
        planned = plan_schedule({}, list(by_name.values()), nodes, strategy)
        before = dict(by_name)
        for write in planned.writes:
            assert isinstance(write, AssignClaim)
            old = by_name[write.claim.metadata.name]
            assert not is_pinned(old) or write.node == old.spec.node_name, "a pin was undone"
            by_name[old.metadata.name] = put(old, node=write.node)
        if not planned.writes:
            for name, old in by_name.items():
                refused = planned.refused.get(name, "")
                if bool(refused) != is_refused(old):
                    by_name[name] = put(old, refused=refused)
        if before == by_name:
            return by_name
    raise AssertionError("it never ends")


def nodes_of(by_name):
    return {name: c.spec.node_name for name, c in by_name.items()}


def test_new_claims_of_one_ip_get_one_node():
    claims = [claim("hand-a"), claim("hand-b", cidr="10.0.0.1/24"), claim("x", cidr="10.0.0.2/32")]
    for strategy in Strategy:
        placed = nodes_of(settled(claims, cluster(NODES), strategy))
        assert placed["hand-a"] == placed["hand-b"] != ""
    fair = nodes_of(settled(claims, cluster(NODES)))
    assert fair["x"] != fair["hand-a"]


def test_the_others_go_to_the_oldest_that_is_in_place():
    claims = [claim("a", "n1", created=2), claim("b", "n2", created=1), claim("c", created=0)]
    planned = plan_schedule({}, claims, cluster(NODES), Strategy.FAIR)
    moves = [w for w in planned.writes if isinstance(w, AssignClaim)]
    assert {(w.claim.metadata.name, w.node) for w in moves} == {("a", "n2"), ("c", "n2")}
    assert {w.why for w in moves} == {"claim b held the same IP"}
    placed = nodes_of(settled(claims, cluster(["n1", "n3"])))
    assert set(placed.values()) == {"n1"}, "the oldest one's node is dead, the next one's is not"


def test_a_pinned_one_whose_node_cannot_have_it_up_leads_nobody():
    pinned = claim("p", "n1", pinned=True, created=0)
    free = claim("q", "n2", created=1)
    up = {"eth0": NodeLinkFacts(up=True)}
    healthy = replace(
        cluster(NODES), nodes=tuple(replace(n, links=up) for n in cluster(NODES).nodes)
    )
    assert nodes_of(settled([pinned, free], healthy)) == {"p": "n1", "q": "n1"}
    down, isolated = {"eth0": NodeLinkFacts(up=False)}, frozenset({"eth0"})
    for broken in ({"links": down}, {"draining": True}, {"alive": False}, {"isolated": isolated}):
        nodes = tuple(replace(n, **(broken if n.name == "n1" else {})) for n in healthy.nodes)
        by_name = settled([pinned, free], replace(healthy, nodes=nodes))
        assert nodes_of(by_name) == {"p": "n1", "q": "n2"}
        assert is_refused(by_name["p"])
        again = settled(by_name.values(), healthy)
        assert nodes_of(again) == {"p": "n1", "q": "n2"}, "it does not jump back"
    elsewhere = claim("p", "n1", pinned=True, created=0, link="eth7")
    by_name = settled([elsewhere, claim("r", "n2", pinned=True)], healthy)
    assert not is_refused(by_name["r"])


def test_when_their_node_dies_they_move_together():
    claims = [claim("a", "n1", created=2), claim("b", "n1", created=1)]
    placed = nodes_of(settled(claims, cluster(["n2", "n3"])))
    assert placed["a"] == placed["b"] in ("n2", "n3")


def test_nothing_moves_when_all_are_dead_or_unknown():
    claims = [claim("a", "n1"), claim("b", "n2")]
    assert plan_schedule({}, claims, cluster(), Strategy.FAIR).writes == ()


def test_whom_nobody_can_take_keeps_no_other_down():
    claims = [claim("a", created=1, link="eth7"), claim("b", created=2)]
    assert all(nodes_of(settled(claims, with_links(cluster(NODES)))).values())


def test_of_two_pinned_ones_the_younger_is_refused_and_says_why():
    claims = [claim("a", "n1", created=1, pinned=True), claim("b", "n2", created=2, pinned=True)]
    planned = plan_schedule({}, claims, cluster(NODES), Strategy.FAIR)
    assert planned.writes == ()
    assert planned.refused == {"b": "claim a holds the same IP"}
    assert plan_schedule({}, claims[:1], cluster(NODES), Strategy.FAIR).refused == {}
    same = [claims[0], claim("b", "n1", created=2, pinned=True)]
    assert plan_schedule({}, same, cluster(NODES), Strategy.FAIR).refused == {}


def test_a_refused_ones_node_sees_it_only_once_that_is_said_in_it():
    claims = [claim("a", "n1", created=1, pinned=True), claim("b", "n2", created=2, pinned=True)]
    unlabelled = IpClaim(
        metadata=FullObjectMeta(name="b", creation_timestamp="2026-01-01T00:00:02Z"),
        spec=claims[1].spec,
    )
    first = plan_schedule({}, [claims[0], unlabelled], cluster(NODES), Strategy.FAIR)
    assert first.writes == ()
    told = IpClaim(
        metadata=unlabelled.metadata,
        spec=unlabelled.spec,
        status=put(unlabelled, refused="a").status,
    )
    second = plan_schedule({}, [claims[0], told], cluster(NODES), Strategy.FAIR)
    assert [w.claim.metadata.name for w in second.writes] == ["b"]


def test_an_automatic_one_follows_a_pinned_one_that_was_there_first():
    claims = [claim("a", "n2", created=2), claim("b", "n1", created=1, pinned=True)]
    assert nodes_of(settled(claims, cluster(NODES))) == {"a": "n1", "b": "n1"}


def test_who_was_refused_does_not_take_the_ip_back_when_its_node_returns():
    claims = [claim("a", "n1", created=1, pinned=True), claim("b", "n1", created=2)]
    over = settled(claims, cluster(["n2", "n3"]))
    assert nodes_of(over)["b"] in ("n2", "n3")
    assert is_refused(over["a"])
    back = settled(over.values(), cluster(NODES))
    assert nodes_of(back) == nodes_of(over)
    assert is_refused(back["a"])
    alone = settled([back["a"]], cluster(NODES))
    assert not is_refused(alone["a"])


def test_pinned_ones_on_loopback_are_on_several_nodes_on_purpose():
    claims = [claim("a", "n1", pinned=True), claim("b", "n2", pinned=True)]
    assert plan_schedule({}, claims, cluster(NODES, iface="lo"), Strategy.FAIR).refused == {}
    named = [claim("a", "n1", pinned=True, link="lo"), claim("b", "n2", pinned=True, link="lo")]
    assert plan_schedule({}, named, cluster(NODES), Strategy.FAIR).refused == {}


def test_balance_does_not_part_them():
    others = [claim(f"x{n}", "n1", cidr=f"10.0.1.{n}/32") for n in range(6)]
    groups = [claim("a", "n1", created=1), claim("b", "n1", created=2)]
    for strategy in Strategy:
        claims = settled([*others, *groups], cluster(NODES), strategy)
        for _ in range(20):
            moves = plan_rebalance(
                claims.values(), cluster(NODES), steady=frozenset(NODES), limit=2, strategy=strategy
            )
            for move in moves:
                name = move.claim.metadata.name
                claims[name] = put(claims[name], node=move.node)
            claims = settled(claims.values(), cluster(NODES), strategy)
            assert claims["a"].spec.node_name == claims["b"].spec.node_name
            if not moves:
                break
        else:
            raise AssertionError("it never ends")


def test_for_balance_none_leaves_a_pinned_one_behind():
    others = [claim(f"x{n}", "n1", cidr=f"10.0.1.{n}/32") for n in range(6)]
    groups = [claim("a", "n1", created=1), claim("b", "n1", created=2, pinned=True)]
    claims = settled([*others, *groups], cluster(NODES))
    moves = plan_rebalance(claims.values(), cluster(NODES), steady=frozenset(NODES), limit=9)
    assert moves
    assert "a" not in {move.claim.metadata.name for move in moves}
    far = settled([*others, claim("a", "n2", created=1), *groups[1:]], cluster(NODES))
    moves = plan_rebalance(far.values(), cluster(NODES), steady=frozenset(NODES), limit=9)
    assert len(moves) == 3, "n1 holds six, not seven: the refused one is not there"


node_sets = st.sets(st.sampled_from(NODES))
some_claims = st.lists(
    st.tuples(
        st.sampled_from(["10.0.0.1/32", "10.0.0.1/24", "10.0.0.2/32"]),
        st.sampled_from(["", *NODES]),
        st.integers(1, 9),
        st.booleans(),
        st.sampled_from(["", "", "eth0", "eth9"]),
    ),
    max_size=6,
)


@given(
    some_claims,
    st.lists(st.tuples(node_sets, node_sets), min_size=1, max_size=4),
    st.sampled_from(Strategy),
)
def test_whatever_comes_an_ip_is_on_one_node_and_everything_ends(several, history, strategy):
    claims = {
        f"c{n}": claim(
            f"c{n}", node, created=created, cidr=cidr, pinned=pinned and bool(node), link=link
        )
        for n, (cidr, node, created, pinned, link) in enumerate(several)
    }
    for alive, unknown in history:
        nodes = with_links(cluster(alive, unknown=unknown - alive))
        claims = settled(claims.values(), nodes, strategy, most=4)
        for _ in range(30):
            moves = plan_rebalance(
                claims.values(), nodes, steady=frozenset(alive), limit=2, strategy=strategy
            )
            for move in moves:
                name = move.claim.metadata.name
                claims[name] = put(claims[name], node=move.node)
            claims = settled(claims.values(), nodes, strategy, most=4)
            if not moves:
                break
        else:
            raise AssertionError("moves without end")
        for ip in ("10.0.0.1", "10.0.0.2"):
            same = [c for c in claims.values() if c.spec.cidr.startswith(f"{ip}/")]
            up = {c.spec.node_name for c in same if not is_refused(c)} & (alive | unknown)
            assert len(up) <= 1, "on two nodes"
            if alive and not any(is_pinned(c) or c.spec.link for c in same):
                assert all(c.spec.node_name in alive | unknown for c in same)
