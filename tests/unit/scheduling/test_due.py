"""However many IPs one change makes due, a step looks at a few of them, and all have their turn."""

from functools import partial
from ipaddress import ip_address, ip_interface, ip_network

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace as changed_struct

from extip.scheduling.policy.due import Crowd, Due, within
from extip.scheduling.policy.filters import KubernetesNode, NodeFacts, NodeLinkFacts
from extip.scheduling.policy.keys import Wanted
from extip.scheduling.policy.placement import Strategy
from extip.scheduling.policy.urgency import Urgency
from tests.unit.scheduling.test_state import SELECTED, History, owner

KEYS = st.sampled_from("abcdefgh")
EVENT = st.one_of(
    st.tuples(st.just("touch"), KEYS, st.sampled_from(Urgency)),
    st.tuples(st.just("gather"), st.frozensets(KEYS), st.sampled_from(Urgency)),
    st.tuples(st.just("take"), st.integers(1, 3), st.none()),
)


@given(st.lists(EVENT, max_size=30))
def test_each_one_has_its_turn_after_the_last_change(events):
    due, open_ones = Due(), set[object]()
    for kind, what, urgency in events:
        if kind == "touch":
            due.touch(what, urgency)
            open_ones.add(what)
        elif kind == "gather":
            due.gather(Crowd(tuple(sorted(what)), partial(sorted, what)), urgency)
            open_ones |= what
        else:
            taken = due.take(what)
            assert len(taken) <= what
            open_ones -= taken.keys()
        assert bool(due) >= bool(open_ones)
    while due:
        open_ones -= due.take(2).keys()
    assert not open_ones


def test_the_most_urgent_ones_come_first_one_by_one_or_as_a_crowd():
    due = Due()
    due.touch("cosmetic", Urgency.COSMETIC)
    due.gather(Crowd(("n",), lambda: ["new", "leaving"]), Urgency.NEW)
    due.gather(Crowd(("l",), lambda: ["leaving"]), Urgency.LEAVING)
    assert [*due.take(2)] == ["leaving", "new"]
    assert [*due.take(2)] == ["cosmetic"], "each one is decided once for what was before"


def test_a_crowd_that_is_noted_again_and_again_does_not_grow_and_comes_to_its_end():
    """A node with very many claims may change faster than they are decided."""
    due, members = Due(), [f"k{number:03}" for number in range(100)]
    turns: list[object] = []
    for _ in range(100):
        due.gather(Crowd(("node", "n1"), lambda: members), Urgency.LEAVING)
        turns += due.take(4)
        assert len(due) <= 101
    assert turns == 4 * members


def test_of_very_many_that_are_not_concerned_a_step_looks_at_a_few():
    due, looked = Due(), []

    def look(key):
        looked.append(key)
        return within([ip_network("10.9.0.0/16")], key)

    ips = [ip_address(f"10.1.{number // 250}.{number % 250}") for number in range(1000)]
    due.gather(Crowd(("within",), lambda: [*ips, ip_address("10.9.0.1"), "odd"], look), Urgency.NEW)
    taken: list[object] = []
    while due:
        before = len(looked)
        taken += due.take(16)
        assert len(looked) - before <= 128
    assert taken == [ip_address("10.9.0.1")]
    assert looked[:1000] == ips


def full(number=500):
    """Return a history in which many IPs of one pool are on two nodes, and at rest."""
    history = History(Strategy.FAIR)
    history.gone("n3")
    for at in range(number):
        ip = ip_interface(f"10.1.{at // 250}.{at % 250}/32")
        history.want(Wanted(ip, (owner("a"),), "pool"))
    for _ in range(2):
        history.decide()
        history.write(number)
    assert not history.state.pending
    return history


def steps(history):
    """Take the snapshot, and return how many IPs each step decides."""
    history.state.take_snapshot(history.snapshot)
    found = []
    while (decided := history.state.decide(64)) is not None:
        found.append(len(decided.claims))
    return found


def test_what_concerns_very_many_ips_is_decided_in_steps():
    """Nothing else is done about them before, such as to note each one."""
    history = full()
    noted: list[object] = []
    touch = history.state._due.touch

    def counted(key, urgency):
        noted.append(key)
        touch(key, urgency)

    history.state._due.touch = counted
    history.node(NodeFacts(name="n1", alive=False, kubernetes=KubernetesNode()))
    found = steps(history)
    assert max(found) <= 64
    assert sum(found) == 250
    history.selector(there=True)
    found = steps(history)
    assert max(found) <= 64
    assert sum(found) >= 500
    link = NodeLinkFacts(up=True, subnets=(ip_network("10.1.0.0/16"),))
    history.node(
        NodeFacts(
            name="n4",
            alive=True,
            link="eth0",
            links={"eth0": link},
            kubernetes=KubernetesNode(labels=SELECTED.match_labels or {}),
        )
    )
    found = steps(history)
    assert max(found) <= 64
    assert sum(found) >= 500
    assert not noted


def test_an_ip_that_several_changes_concern_is_decided_once():
    """It is on a node, has another one as its standby, and both have changed."""
    history = full(100)
    for name, claim in history.claims.items():
        other = {"n1": "n2", "n2": "n1"}[claim.spec.node_name]
        spec = changed_struct(claim.spec, standby=other)
        history.claims[name] = changed_struct(claim, spec=spec)
    history.decide()
    for name in ("n1", "n2"):
        labelled = KubernetesNode(labels={"kernel": "newer"})
        history.node(NodeFacts(name=name, alive=True, kubernetes=labelled))
    assert sum(steps(history)) == 100
