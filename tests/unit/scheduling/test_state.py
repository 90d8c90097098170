"""Decided IP by IP, or planned over everything: the outcome is the same after any history."""

import sys
from collections import Counter
from dataclasses import replace
from ipaddress import ip_interface, ip_network

from hypothesis import example, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace as changed_struct

from extip.api.ipcontroller_v1 import IpClaim, IpClaimPoolSpec, IpClaimSpec
from extip.api.meta_v1 import FullObjectMeta, LabelSelector
from extip.api.names import PLACEMENT_ANNOTATION, PLACEMENT_AUTOMATIC
from extip.api.pool_parts import PreferredNodes
from extip.claims.policy.claims import Delete, SetServices, parse_cidr
from extip.scheduling.policy.assigned import assigned_condition
from extip.scheduling.policy.filters import KubernetesNode, NodeFacts, NodeLinkFacts
from extip.scheduling.policy.keys import Key, Wanted
from extip.scheduling.policy.placement import Strategy
from extip.scheduling.policy.planner import plan_schedule
from extip.scheduling.policy.schedule import AssignClaim, CreateClaim
from extip.scheduling.policy.snapshot import Snapshot
from extip.scheduling.policy.spread import group_of
from extip.scheduling.policy.state import ScheduleState
from extip.services.policy.requests import Owner
from extip.uplink.policy.reachability import LinkId
from tests.unit.scheduling.rebalance_reference import plan_rebalance

NAMES = ("n1", "n2", "n3", "n4")
IPS = tuple(f"10.0.0.{n}" for n in range(1, 7))
LANS = ((ip_network("10.0.0.0/30"),), (ip_network("10.0.0.4/30"),))
SERVICES = ("a", "b", "c")
SELECTED = LabelSelector(match_labels={"rack": "r1"})
IN_R1 = (PreferredNodes(weight=5, selector=SELECTED),)
PREFERRING = (
    IpClaimPoolSpec(preferred_nodes=IN_R1),
    IpClaimPoolSpec(preferred_nodes=IN_R1, rebalance="Never"),
)


def owner(name):
    return Owner(kind="Service", namespace="default", name=name, uid=name)


@st.composite
def facts(draw, name):
    """Return the facts of a node, of which most are in order."""
    fault = draw(st.sampled_from(["", "", "", "dead", "draining", "isolated", "down", "unread"]))
    kubernetes = draw(
        st.sampled_from(
            [
                KubernetesNode(labels={"rack": "r1"}),
                KubernetesNode(labels={"rack": "r2"}),
                KubernetesNode(ready=False),
                None,
            ]
        )
    )
    link = draw(st.sampled_from(["eth0", "eth0", "lo"]))
    subnets = draw(st.sampled_from(((), (), *LANS)))
    return NodeFacts(
        name=name,
        alive=fault != "dead",
        draining=fault == "draining",
        isolated=frozenset({link} if fault == "isolated" else ()),
        unread=fault == "unread",
        link=link,
        links={link: NodeLinkFacts(up=fault != "down", subnets=subnets)},
        kubernetes=kubernetes,
    )


SOME_NODES = st.frozensets(st.sampled_from(NAMES), max_size=3)
SOME_LINK = st.builds(LinkId, st.sampled_from(NAMES), st.sampled_from(["", "eth0", "lo"]))
NODE_EVENT = st.sampled_from(NAMES).flatmap(lambda name: st.tuples(st.just("node"), facts(name)))
WANT = st.builds(
    Wanted,
    st.tuples(st.sampled_from(IPS), st.sampled_from([32, 32, 32, 24])).map(
        lambda pair: ip_interface(f"{pair[0]}/{pair[1]}")
    ),
    st.lists(st.sampled_from(SERVICES), min_size=1, max_size=2, unique=True).map(
        lambda names: tuple(owner(name) for name in sorted(names))
    ),
    st.sampled_from(["", "", "pool"]),
)
BY_HAND = st.tuples(
    st.sampled_from(["hand", "other", "10-0-0-1-32", "10-0-0-2-32"]),
    st.sampled_from([*(f"{ip}/32" for ip in IPS[:3]), "10.0.0.1/24", "nonsense"]),
    st.sampled_from(["", *NAMES, "strange"]),
    st.booleans(),
)
EVENT = st.one_of(
    NODE_EVENT,
    NODE_EVENT,
    st.tuples(st.just("gone"), st.sampled_from(NAMES)),
    st.tuples(st.just("want"), WANT),
    st.tuples(st.just("want"), WANT),
    st.tuples(st.just("unwant"), st.sampled_from(IPS)),
    st.tuples(st.just("hand"), BY_HAND),
    st.tuples(st.just("delete"), st.integers(0, 9)),
    st.tuples(st.just("unlabel"), st.integers(0, 9)),
    st.tuples(st.just("unknown"), SOME_NODES),
    st.tuples(st.just("unsettled"), SOME_NODES),
    st.tuples(st.just("returning"), SOME_NODES),
    st.tuples(st.just("successors"), st.dictionaries(SOME_LINK, st.frozensets(SOME_LINK))),
    st.tuples(st.just("registered"), st.sampled_from(NAMES)),
    st.tuples(st.just("selector"), st.booleans()),
    st.tuples(st.just("located"), st.tuples(st.sampled_from(IPS), st.sampled_from(NAMES))),
    st.tuples(
        st.just("endpoints"),
        st.dictionaries(st.sampled_from([f"default/{s}" for s in SERVICES]), SOME_NODES),
    ),
    st.tuples(
        st.just("named"),
        st.dictionaries(
            st.sampled_from([f"default/{s}" for s in SERVICES]),
            st.lists(st.sampled_from([*NAMES, "strange"]), min_size=1, max_size=2).map(tuple),
        ),
    ),
    st.tuples(
        st.just("linked"),
        st.dictionaries(
            st.sampled_from([f"default/{s}" for s in SERVICES]), st.sampled_from(["eth0", "eth1"])
        ),
    ),
    st.tuples(st.just("pool_linked"), st.sampled_from(["", "eth0", "eth1"])),
    st.tuples(
        st.just("spread"),
        st.dictionaries(st.sampled_from([f"default/{s}" for s in SERVICES]), st.just(3)),
    ),
    st.tuples(st.just("every_node"), st.sampled_from([frozenset[str](), frozenset({"pool"})])),
    st.tuples(st.just("preferring"), st.sampled_from([None, *PREFERRING])),
    st.tuples(st.just("write"), st.integers(1, 4)),
    st.tuples(st.just("write"), st.just(99)),
)


class History:
    """A cluster through a row of events, with the state that follows it."""

    def __init__(self, strategy):
        self.strategy = strategy
        self.claims: dict[str, IpClaim] = {}
        self.wanted: dict[Key, Wanted] = {}
        self.snapshot = Snapshot(
            nodes=tuple(
                NodeFacts(name=n, alive=True, kubernetes=KubernetesNode()) for n in NAMES[:3]
            ),
        )
        self.told: set[Key] = set()
        self.state = ScheduleState(strategy)
        self.conditions: dict[str, object] = {}

    def happen(self, kind, what):
        """Let one thing happen."""
        if kind in ("unknown", "unsettled", "returning", "successors", "every_node"):
            self.snapshot = replace(self.snapshot, **{kind: what})
        elif kind == "endpoints":
            self.snapshot = replace(self.snapshot, local_endpoints=what)
        elif kind == "spread":
            self.snapshot = replace(self.snapshot, spread=what)
        elif kind == "named":
            self.snapshot = replace(self.snapshot, preferred_nodes=what)
        elif kind == "linked":
            self.snapshot = replace(self.snapshot, service_links=what)
        elif kind == "pool_linked":
            self.snapshot = replace(self.snapshot, pool_links={"pool": what} if what else {})
        elif kind == "preferring":
            self.snapshot = replace(self.snapshot, preferring_pools={"pool": what} if what else {})
        else:
            getattr(self, kind)(what)

    def node(self, new):
        others = [one for one in self.snapshot.nodes if one.name != new.name]
        nodes = tuple(sorted([*others, new], key=lambda one: one.name))
        self.snapshot = replace(self.snapshot, nodes=nodes)

    def gone(self, name):
        nodes = tuple(one for one in self.snapshot.nodes if one.name != name)
        self.snapshot = replace(self.snapshot, nodes=nodes)

    def registered(self, name):
        times = {**self.snapshot.registered, name: str(len(self.snapshot.registered))}
        self.snapshot = replace(self.snapshot, registered=times)

    def selector(self, there):
        selectors = {"pool": SELECTED} if there else {}
        self.snapshot = replace(self.snapshot, node_selectors=selectors)

    def located(self, where):
        ip, node = where
        self.snapshot = replace(self.snapshot, located={ip_interface(ip).ip: node})

    def want(self, want):
        self.wanted[want.interface.ip] = want

    def unwant(self, ip):
        self.wanted.pop(ip_interface(ip).ip, None)

    def hand(self, what):
        name, cidr, node, automatic = what
        annotations = {PLACEMENT_ANNOTATION: PLACEMENT_AUTOMATIC} if automatic else None
        if name not in self.claims:
            self.claims[name] = IpClaim(
                metadata=FullObjectMeta(name=name, annotations=annotations),
                spec=IpClaimSpec(cidr=cidr, node_name=node),
            )

    def delete(self, at):
        if self.claims:
            del self.claims[sorted(self.claims)[at % len(self.claims)]]

    def unlabel(self, at):
        if self.claims:
            name = sorted(self.claims)[at % len(self.claims)]
            metadata = changed_struct(self.claims[name].metadata, labels=None)
            self.claims[name] = changed_struct(self.claims[name], metadata=metadata)

    def write(self, most):
        """Make some of the writes that the state has decided."""
        for key in list(self.state.writes)[:most]:
            self.claims = after(self.claims, self.state.writes[key])

    def decide(self):
        """Let the state take everything, and decide it in small steps."""
        gone_claims = dict.fromkeys(self.state.claims.keys() - self.claims.keys())
        self.state.take_claims(gone_claims | self.claims)
        gone: dict[Key, Wanted | None] = dict.fromkeys(self.told - self.wanted.keys())
        self.state.take_wants(gone | self.wanted)
        self.told = {*self.wanted}
        self.state.take_snapshot(self.snapshot)
        for name in self.conditions.keys() - self.claims.keys():
            del self.conditions[name]
        while (decided := self.state.decide(2)) is not None:
            for claim in decided.claims:
                found = assigned_condition(claim, decided.schedule, past=None)
                self.conditions[claim.metadata.name] = found

    def plan(self, claims):
        """Plan over everything: the reference."""
        return plan_schedule(
            {one.interface: one.owners for one in self.wanted.values()},
            list(claims.values()),
            self.snapshot,
            self.strategy,
            pools={one.interface: one.pool for one in self.wanted.values() if one.pool},
        )

    def quiet(self):
        """Return the moves of a rebalancing."""
        return plan_rebalance(
            self.claims.values(),
            self.snapshot,
            steady=frozenset(NAMES),
            limit=99,
            strategy=self.strategy,
        )


def after(claims, writes):
    """Return the claims after the writes."""
    claims = dict(claims)
    for write in writes:
        name = write.claim.metadata.name
        if isinstance(write, CreateClaim):
            claims.setdefault(name, write.claim)
        elif isinstance(write, Delete):
            claims.pop(name, None)
        elif isinstance(write, SetServices) and name in claims:
            spec = changed_struct(claims[name].spec, services=write.services, link=write.link)
            labels = {**(claims[name].metadata.labels or {})}
            labels.pop("ip-pool-name", None)
            labels |= {"ip-pool-name": write.pool} if write.pool else {}
            metadata = changed_struct(claims[name].metadata, labels=labels)
            claims[name] = changed_struct(claims[name], spec=spec, metadata=metadata)
        elif name in claims:
            spec = changed_struct(claims[name].spec, node_name=write.node)
            labels = {**(claims[name].metadata.labels or {}), "ipnode": write.node}
            annotations = {PLACEMENT_ANNOTATION: PLACEMENT_AUTOMATIC}
            moved = write.node != claims[name].spec.node_name
            metadata = changed_struct(
                claims[name].metadata,
                labels=labels,
                annotations=annotations if moved else claims[name].metadata.annotations,
            )
            claims[name] = changed_struct(claims[name], spec=spec, metadata=metadata)
    return claims


def gists(writes, claims):
    """Return writes without the nodes that they choose: equal nodes may be taken in any order.

    A claim goes when a person's claim has its IP. It first moves to the node of that one, unless it
    is there already. So which of the two writes it gets depends on the chosen node, too.
    """
    ips = {name: parse_cidr(claim.spec.cidr) for name, claim in claims.items()}
    by_hand = {ip.ip for name, ip in ips.items() if ip is not None and not claims[name].managed}
    going = {
        name
        for name, ip in ips.items()
        if ip is not None and ip.ip in by_hand and claims[name].managed
    }
    return sorted(gist(one, going) for one in writes)


def gist(write, going):
    name = write.claim.metadata.name
    if name in going and isinstance(write, AssignClaim | Delete):
        return "go", name, (), False
    if isinstance(write, AssignClaim):
        return "assign", name, write.why, write.node != write.claim.spec.node_name
    if isinstance(write, CreateClaim):
        return "create", name, write.claim.spec.services, bool(write.claim.spec.node_name)
    return type(write).__name__, name, getattr(write, "services", ())


def spread(claims, snapshot):
    """Return the difference between the most and the fewest IPs of a live node.

    While the prefix length of an IP changes, it has two claims on one node.
    """
    held = {(c.spec.node_name, c.spec.cidr.partition("/")[0]) for c in claims.values()}
    loads = Counter(node for node, _ in held)
    counts = [loads[n.name] for n in snapshot.nodes if n.alive]
    return max(counts, default=0) - min(counts, default=0)


HELD_BY_N1 = [
    ("want", Wanted(ip_interface("10.0.0.1/32"), (owner("a"),))),
    ("write", 99),
]
"""The IP is on the first of the nodes, which are equal."""

N1 = NodeFacts(name="n1", alive=True, kubernetes=KubernetesNode())
ISOLATED = replace(N1, isolated=frozenset({""}))
ONLY_N1_AND_LATE = [
    ("unknown", frozenset({"n1"})),
    ("node", replace(N1, alive=False)),
    ("gone", "n2"),
    ("gone", "n3"),
]
"""Nobody knows whether the only node lives."""


@settings(max_examples=100)
@given(strategy=st.sampled_from(Strategy), events=st.lists(EVENT, max_size=20))
@example(strategy=Strategy.FAIR, events=[*HELD_BY_N1, ("node", NodeFacts(name="n1", alive=False))])
@example(
    strategy=Strategy.FAIR,
    events=[*HELD_BY_N1, ("endpoints", {"default/a": frozenset({"n2"})})],
)
@example(
    strategy=Strategy.FAIR,
    events=[
        ("want", Wanted(ip_interface("10.0.0.1/32"), (owner("a"),))),
        ("want", Wanted(ip_interface("10.0.0.2/32"), (owner("a"),))),
        ("write", 1),
        ("hand", ("hand", "10.0.0.1/32", "", False)),
    ],
)
@example(
    strategy=Strategy.FAIR,
    events=[
        *HELD_BY_N1,
        ("unsettled", frozenset({"n1"})),
        ("node", replace(N1, link="eth0", links={"eth0": NodeLinkFacts(up=False)})),
        ("unsettled", frozenset()),
    ],
)
@example(
    strategy=Strategy.FAIR,
    events=[
        *HELD_BY_N1,
        ("node", ISOLATED),
        ("successors", {LinkId("n1", ""): frozenset({LinkId("n2", "")})}),
    ],
)
@example(
    strategy=Strategy.FAIR,
    events=[
        *HELD_BY_N1,
        ("returning", frozenset({"n2"})),
        ("successors", {LinkId("n1", ""): frozenset({LinkId("n2", "")})}),
        ("node", ISOLATED),
        ("returning", frozenset()),
    ],
)
@example(
    strategy=Strategy.FAIR,
    events=[
        ("want", Wanted(ip_interface("10.0.0.1/32"), (owner("a"),), "pool")),
        ("write", 99),
        ("node", replace(N1, name="n2", kubernetes=KubernetesNode(labels={"rack": "r1"}))),
        ("selector", True),
    ],
)
@example(
    strategy=Strategy.FAIR,
    events=[HELD_BY_N1[0], ("hand", ("10-0-0-1-32", "10.0.0.2/32", "", False))],
)
@example(
    strategy=Strategy.FAIR,
    events=[
        ("want", Wanted(ip_interface("10.0.0.1/32"), (owner("a"),), "pool")),
        ("preferring", PREFERRING[0]),
        ("write", 99),
        ("node", replace(N1, name="n4", kubernetes=KubernetesNode(labels={"rack": "r1"}))),
    ],
)
@example(
    strategy=Strategy.FAIR,
    events=[*HELD_BY_N1, ("named", {"default/a": ("n4",)}), ("node", replace(N1, name="n4"))],
)
@example(
    strategy=Strategy.FAIR,
    events=[*HELD_BY_N1, ("linked", {"default/a": "eth1"}), ("write", 99), ("linked", {})],
)
@example(
    strategy=Strategy.FAIR,
    events=[
        ("want", Wanted(ip_interface("10.0.0.1/32"), (owner("a"),), "pool")),
        ("write", 99),
        ("pool_linked", "eth1"),
        ("write", 99),
        ("node", replace(N1, link="eth1", links={"eth1": NodeLinkFacts(up=True)})),
    ],
)
@example(
    strategy=Strategy.FAIR,
    events=[
        ("node", replace(N1, link="lo", links={"lo": NodeLinkFacts(up=True)})),
        ("node", replace(N1, name="n2", link="lo", links={"lo": NodeLinkFacts(up=True)})),
        ("want", Wanted(ip_interface("10.0.0.1/32"), (owner("a"),), "pool")),
        ("write", 99),
        ("every_node", frozenset({"pool"})),
    ],
)
@example(
    strategy=Strategy.FIRST_ALIVE,
    events=[
        *HELD_BY_N1,
        ("unwant", "10.0.0.1"),
        ("write", 99),
        *ONLY_N1_AND_LATE,
        ("want", Wanted(ip_interface("10.0.0.2/32"), (owner("a"),))),
    ],
)
def test_one_ip_at_a_time_or_all_at_once_is_the_same(strategy, events):
    history = History(strategy)
    for kind, what in events:
        history.happen(kind, what)
        history.decide()
        reference = history.plan(history.claims)
        mine = [write for writes in history.state.writes.values() for write in writes]
        assert gists(mine, history.claims) == gists(reference.writes, history.claims)
        assert history.state.in_the_way == reference.in_the_way
        assert history.conditions == {
            name: assigned_condition(claim, reference, past=None)
            for name, claim in history.claims.items()
        }
        if history.state.is_balanced(NAMES):
            assert not history.quiet(), "it looked for nothing to move, and there is something"
        audited = history.state.audit(99)
        assert audited is not None or (not history.claims and not history.wanted)
        again = [write for writes in history.state.writes.values() for write in writes]
        assert gists(again, history.claims) == gists(mine, history.claims)
        mine = again
        # The nodes that were chosen are as good: no claim moves on that would stay else.
        made, planned = after(history.claims, mine), after(history.claims, reference.writes)
        assert moving(history.plan(made)) == moving(history.plan(planned))


def play(strategy, *events):
    """Return the history of events, without any audit."""
    history = History(strategy)
    history.decide()
    for kind, what in events:
        history.happen(kind, what)
        history.decide()
    return history


def test_an_ip_whose_node_died_is_decided_before_one_whose_endpoints_moved():
    other = Wanted(ip_interface("10.0.0.2/32"), (owner("b"),))
    history = play(Strategy.FAIR, *HELD_BY_N1, ("want", other), ("write", 99))
    history.happen("node", replace(N1, alive=False))
    history.happen("endpoints", {"default/b": frozenset({"n3"})})
    history.state.take_snapshot(history.snapshot)
    first, second = history.state.decide(1), history.state.decide(1)
    assert first is not None
    assert second is not None
    assert [one.spec.cidr for one in (*first.claims, *second.claims)] == [
        "10.0.0.1/32",
        "10.0.0.2/32",
    ]


def test_an_address_goes_to_the_better_node_that_another_one_of_its_service_has_left():
    history = play(
        Strategy.FAIR,
        ("spread", {"default/a": 2}),
        ("named", {"default/a": ("n2", "n1")}),
        ("want", Wanted(ip_interface("10.0.0.1/32"), (owner("a"),))),
        ("want", Wanted(ip_interface("10.0.0.2/32"), (owner("a"),))),
        ("write", 99),
    )
    assert history.state.is_balanced(NAMES)
    for kind, what in (("unwant", "10.0.0.1"), ("write", 99)):
        history.happen(kind, what)
        history.decide()
    assert not history.state.is_balanced(NAMES)
    assert [move.node for move in history.quiet()] == ["n2"]


def test_a_node_that_gets_no_claims_does_not_make_the_others_uneven():
    """Such as a control plane: else each change of a claim would cost a plan over all of them."""
    wants = [("want", Wanted(ip_interface(f"{ip}/32"), (owner("a"),))) for ip in IPS[:4]]
    excluded = replace(N1, kubernetes=KubernetesNode(excluded=True))
    history = play(Strategy.FAIR, ("node", excluded), *wants, ("write", 99))
    assert history.state.is_balanced(NAMES[:3])
    history.happen("node", N1)
    history.decide()
    assert not history.state.is_balanced(NAMES[:3])
    assert history.quiet()


def test_first_alive_goes_by_the_registrations_as_they_are_now():
    history = play(Strategy.FIRST_ALIVE, ("registered", "n2"), *HELD_BY_N1)
    assert history.claims["10-0-0-1-32"].spec.node_name == "n2"


def test_first_alive_waits_for_the_holder_of_the_others_while_its_heartbeat_is_late():
    late = ("unknown", frozenset({"n1"})), ("node", replace(N1, alive=False))
    more = ("want", Wanted(ip_interface("10.0.0.2/32"), (owner("a"),))), ("write", 99)
    history = play(Strategy.FIRST_ALIVE, *HELD_BY_N1, *late, *more)
    assert history.claims["10-0-0-2-32"].spec.node_name == "n1"


def test_first_alive_waits_for_nobody_once_the_late_node_holds_nothing():
    wants = [("want", Wanted(ip_interface(f"{ip}/32"), (owner("a"),))) for ip in IPS[1:3]]
    gone = [("unwant", ip) for ip in IPS[:2]]
    history = play(
        Strategy.FIRST_ALIVE, *HELD_BY_N1, *ONLY_N1_AND_LATE, wants[0], *gone, ("write", 99)
    )
    assert not history.claims
    history.happen(*wants[1])
    history.decide()
    history.write(99)
    assert history.claims["10-0-0-3-32"].spec.node_name == ""


def test_a_person_takes_the_name_of_a_claim_to_come():
    """The prefix length of an IP changes, and its new claim would have the name of another one."""
    history = History(Strategy.FAIR)
    history.want(Wanted(ip_interface("10.0.0.2/24"), (owner("a"),)))
    history.decide()
    history.write(9)
    history.hand(("10-0-0-2-32", "10.0.0.1/32", "", False))
    history.decide()
    history.want(Wanted(ip_interface("10.0.0.2/32"), (owner("a"),)))
    history.decide()
    assert set(history.state.in_the_way) == {"10-0-0-2-32"}
    history.delete(1)
    history.decide()
    assert not history.state.in_the_way


PLAIN_EVENT = st.one_of(
    st.tuples(st.just("want"), WANT),
    st.tuples(
        st.just("node"),
        st.builds(NodeFacts, name=st.sampled_from(NAMES), alive=st.booleans()),
    ),
    st.tuples(st.just("write"), st.integers(1, 4)),
)


@settings(max_examples=100)
@given(events=st.lists(PLAIN_EVENT, max_size=30))
def test_the_load_is_as_even_as_after_a_plan_over_everything(events):
    history = History(Strategy.FAIR)
    for kind, what in events:
        history.happen(kind, what)
        history.decide()
        mine = [write for writes in history.state.writes.values() for write in writes]
        reference = history.plan(history.claims).writes
        made, planned = after(history.claims, mine), after(history.claims, reference)
        assert spread(made, history.snapshot) <= spread(planned, history.snapshot) + 1


def moving(schedule):
    """Return the claims that a plan gives to another node."""
    return {
        write.claim.metadata.name
        for write in schedule.writes
        if isinstance(write, AssignClaim) and write.node != write.claim.spec.node_name
    }


def test_many_due_ips_leave_no_queue_behind_that_is_slow_to_look_through():
    history = History(Strategy.FAIR)
    for number in range(1000):
        ip = ip_interface(f"10.1.{number // 250}.{number % 250}/32")
        history.want(Wanted(ip, (owner("a"),)))
    history.decide()
    assert sum(sys.getsizeof(rank.keys) for rank in history.state._due._ranks) < 1000


def test_addresses_that_are_to_be_apart_are_counted_once_beside_an_ip_of_every_node():
    """Both are decided at once. Else each later decision counts an address once more."""
    history = History(Strategy.FAIR)
    history.happen("every_node", frozenset({"pool"}))
    history.happen("spread", {"default/a": 2})
    history.want(Wanted(ip_interface("10.0.0.1/32"), (owner("b"),), "pool"))
    history.want(Wanted(ip_interface("10.0.0.2/32"), (owner("a"),)))
    history.decide()
    history.write(99)
    history.unwant("10.0.0.2")
    history.decide()
    assert history.state.standing is not None
    counts = history.state.standing.placement.spread
    assert not any(counts.count(group_of("default/a", 4), node) for node in NAMES)


def test_the_first_node_of_a_lan_gets_the_ips_of_that_lan():
    """Nothing about them has changed, and their node was as good as any."""

    def on_lan(name, network):
        link = NodeLinkFacts(up=True, subnets=(ip_network(network),))
        kubernetes = KubernetesNode()
        return NodeFacts(
            name=name, alive=True, link="eth0", links={"eth0": link}, kubernetes=kubernetes
        )

    history = History(Strategy.FAIR)
    history.node(on_lan("n1", "10.0.0.0/24"))
    history.want(Wanted(ip_interface("10.2.0.5/32"), (owner("a"),)))
    for _ in range(3):
        history.decide()
        history.write(99)
    assert {claim.spec.node_name for claim in history.claims.values()} == {"n1"}
    history.node(on_lan("n2", "10.2.0.0/24"))
    history.decide()
    history.write(99)
    assert {claim.spec.node_name for claim in history.claims.values()} == {"n2"}
