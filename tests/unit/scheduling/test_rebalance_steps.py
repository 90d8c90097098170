"""A rebalancing that is planned in steps has the moves of a plan in one piece."""

from ipaddress import ip_interface

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace as changed_struct

from extip.claims.policy.claims import Delete
from extip.scheduling.policy.filters import KubernetesNode, NodeFacts
from extip.scheduling.policy.keys import Wanted
from extip.scheduling.policy.placement import Cause, Strategy
from extip.scheduling.policy.rebalance_steps import RebalanceSteps
from extip.scheduling.policy.rebalancing import assignment
from tests.unit.scheduling.rebalance_reference import plan_rebalance
from tests.unit.scheduling.test_state import EVENT, IPS, NAMES, SOME_NODES, History, owner

SHUFFLE = st.lists(st.tuples(st.integers(0, 9), st.sampled_from(NAMES)), max_size=8)


def settle(history):
    """Decide and write until nothing is left to write."""
    for _ in range(9):
        history.decide()
        if not history.state.writes:
            return True
        history.write(99)
    return False


def shuffle(history, places):
    """Have claims elsewhere, as they may be after faults."""
    for at, node in places:
        for name in sorted(history.claims)[at : at + 1]:
            claim = history.claims[name]
            labels = {**(claim.metadata.labels or {}), "ipnode": node}
            history.claims[name] = changed_struct(
                claim,
                spec=changed_struct(claim.spec, node_name=node),
                metadata=changed_struct(claim.metadata, labels=labels),
            )


def standing(history):
    found = history.state.standing
    assert found is not None
    return found


def in_steps(history, steady, limit, most=1):
    """Return the moves, and how many steps they took."""
    _, moves, steps = planned(history, steady, limit, most)
    return moves, steps


def planned(history, steady, limit, most=1):
    state = history.state
    plan = RebalanceSteps(state, standing(history), steady=steady, limit=limit, most=most)
    steps = 1
    while (moves := plan.step()) is None:
        steps += 1
    return plan, moves, steps


def assigned(history, moves):
    claims = history.state.claims
    return tuple(assignment(claims[one.claim], one, history.strategy) for one in moves)


def at_once(history, steady, limit):
    return plan_rebalance(
        history.claims.values(),
        history.snapshot,
        steady=steady,
        limit=limit,
        strategy=history.strategy,
    )


@settings(max_examples=60)
@given(
    strategy=st.sampled_from(Strategy),
    events=st.lists(EVENT, max_size=20),
    places=SHUFFLE,
    away=SOME_NODES,
    limit=st.integers(1, 9),
)
def test_the_moves_are_those_of_a_plan_in_one_piece(strategy, events, places, away, limit):
    history = History(strategy)
    history.decide()
    for kind, what in events:
        history.happen(kind, what)
        history.decide()
    settle(history)
    shuffle(history, places)
    if not settle(history):
        return
    steady = frozenset(NAMES) - away
    reference = at_once(history, steady, limit)
    before = dict(standing(history).placement._loads)
    moves, _ = in_steps(history, steady, limit)
    assert assigned(history, moves) == reference
    assert standing(history).placement._loads == before, "a plan only tries"


@settings(max_examples=60)
@given(events=st.lists(EVENT, max_size=20), places=SHUFFLE, limit=st.integers(1, 9))
def test_claims_whose_writes_are_not_made_count_where_they_are(events, places, limit):
    history = History(Strategy.FAIR)
    history.decide()
    for kind, what in events:
        history.happen(kind, what)
        history.decide()
    shuffle(history, places)
    history.decide()
    writes = [write for found in history.state.writes.values() for write in found]
    if history.snapshot.spread or any(isinstance(write, Delete) for write in writes):
        return
    steady = frozenset(NAMES)
    moves, _ = in_steps(history, steady, limit)
    assert assigned(history, moves) == at_once(history, steady, limit)


def uneven(strategy=Strategy.FAIR, number=60):
    """Return a cluster whose claims are all on one of three nodes."""
    history = History(strategy)
    for at in range(number):
        history.want(Wanted(ip_interface(f"10.1.0.{at}/32"), (owner("a"),)))
    settle(history)
    shuffle(history, [(at, "n1") for at in range(number)])
    assert settle(history)
    return history


def test_moves_that_are_made_a_few_at_a_time_even_the_load_out_with_the_fewest():
    history = uneven()
    steady = frozenset(NAMES)
    plan, moves, _ = planned(history, steady, 64)
    assert len(moves) == 40
    for move in moves:
        assert plan.holds(move, steady, frozenset())
        shuffle_one(history, move)
        history.decide()
    assert [standing(history).placement.load(n) for n in NAMES[:3]] == [20, 20, 20]
    assert in_steps(history, steady, 64) == ((), 1), "no claim is looked at then"


def shuffle_one(history, move):
    shuffle(history, [(sorted(history.claims).index(move.claim), move.target)])


def test_a_plan_looks_at_the_claims_of_the_fullest_node_alone():
    history = uneven(number=90)
    shuffle(history, [(at, NAMES[at % 3]) for at in range(85)])
    assert settle(history)
    moves, steps = in_steps(history, frozenset(NAMES), 2)
    assert len(moves) == 2
    assert steps < 40


def test_a_step_looks_at_as_many_as_it_may():
    history = uneven()
    _, steps = in_steps(history, frozenset(NAMES), 2, most=16)
    assert steps == 5


def test_a_move_holds_no_more_once_the_state_has_changed():
    history = uneven()
    steady = frozenset(NAMES)
    plan, (move, *_), _ = planned(history, steady, 2)

    def still(steady=steady, fixed=frozenset()):
        return plan.holds(move, steady, fixed)

    assert still()
    assert not still(fixed=frozenset({move.claim}))
    assert not still(steady=steady - {move.target})
    history.node(NodeFacts(name=move.target, alive=False, kubernetes=KubernetesNode()))
    history.decide()
    assert not still()
    history.node(NodeFacts(name=move.target, alive=True, kubernetes=KubernetesNode()))
    history.decide()
    assert still()
    shuffle(history, [(at, NAMES[at % 3]) for at in range(60)])
    assert settle(history)
    assert not still(), "the load is even by now"
    history.unwant("10.1.0.0")
    settle(history)
    assert not still()


def test_a_move_holds_no_more_once_writes_are_made_that_were_not_when_it_was_planned():
    """The claims of a dead node could not be written, and counted nowhere; now they do on n2."""
    history = uneven(number=30)
    shuffle(history, [(at, "n1" if at < 20 else "n3") for at in range(30)])
    assert settle(history)
    history.node(NodeFacts(name="n3", alive=False, kubernetes=KubernetesNode()))
    history.decide()
    assert len(history.state.writes) == 10
    steady = frozenset({"n1", "n2"})
    plan, moves, _ = planned(history, steady, 64)
    assert moves[0].source == "n1"
    assert plan.holds(moves[0], steady, frozenset())
    history.write(99)
    history.decide()
    assert not plan.holds(moves[0], steady, frozenset())


def brought_home():
    """Return a cluster with a claim that its service prefers elsewhere, and the plan to move it."""
    history = History(Strategy.FAIR)
    history.happen("named", {"default/a": ("n2",)})
    history.want(Wanted(ip_interface(f"{IPS[0]}/32"), (owner("a"),)))
    settle(history)
    shuffle(history, [(0, "n1")])
    assert settle(history)
    steady = frozenset(NAMES)
    plan, (move,), _ = planned(history, steady, 9)
    assert plan.holds(move, steady, frozenset())
    return history, plan, move


def test_a_claim_that_is_astray_is_not_moved_twice():
    history, plan, move = brought_home()
    shuffle_one(history, move)
    settle(history)
    assert not plan.holds(move, frozenset(NAMES), frozenset())


def test_a_claim_whose_service_has_no_preference_any_more_is_not_moved_for_it():
    history, plan, move = brought_home()
    history.happen("named", {})
    assert settle(history)
    assert not plan.holds(move, frozenset(NAMES), frozenset())


def test_addresses_of_a_service_part_for_that_reason():
    history = History(Strategy.FAIR)
    history.happen("spread", {"default/a": 2})
    for ip in IPS[:2]:
        history.want(Wanted(ip_interface(f"{ip}/32"), (owner("a"),)))
    settle(history)
    shuffle(history, [(0, "n1"), (1, "n1")])
    assert settle(history)
    steady = frozenset(NAMES)
    moves, _ = in_steps(history, steady, 9)
    assert [move.cause for move in moves] == [Cause.APART]
    assert assigned(history, moves) == at_once(history, steady, 9)


def test_first_alive_joins_the_others_until_another_node_has_the_most():
    history = uneven(Strategy.FIRST_ALIVE, 9)
    shuffle(history, [(8, "n2")])
    assert settle(history)
    steady = frozenset(NAMES)
    plan, (move,), _ = planned(history, steady, 9)
    assert plan.holds(move, steady, frozenset())
    shuffle(history, [(at, "n2") for at in range(1, 8)])
    assert settle(history)
    assert not plan.holds(move, steady, frozenset())
