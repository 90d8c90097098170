"""Even to one claim, together when asked for, and nothing moves that need not."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from extip.scheduling.policy.placement import Candidate, Move, Placement, Strategy, assign
from tests.unit.scheduling.rebalance_reference import consolidate, rebalance

NAMES = [f"n{number:02d}" for number in range(24)]
node_sets = st.frozensets(st.sampled_from(NAMES), max_size=24)
strategies = st.sampled_from(Strategy)


def candidates(nodes_by_claim, eligible):
    return [
        Candidate(claim=claim, node=node, eligible=eligible)
        for claim, node in nodes_by_claim.items()
    ]


def applied(before, moves):
    after = {candidate.claim: candidate.node for candidate in before}
    for move in moves:
        assert after[move.claim] == move.source
        after[move.claim] = move.target
    return after


def spread(nodes_by_claim, nodes):
    loads = Counter(nodes_by_claim.values())
    return max(loads[node] for node in nodes) - min(loads[node] for node in nodes)


@st.composite
def situations(draw):
    """Claims of which each may go to one of a few sets of nodes."""
    sets = draw(st.lists(node_sets, min_size=1, max_size=4))
    held = st.sampled_from(["", *NAMES])
    return [
        Candidate(claim=f"c{number:03d}", node=node, eligible=eligible)
        for number, (node, eligible) in enumerate(
            draw(st.lists(st.tuples(held, st.sampled_from(sets)), max_size=80))
        )
    ]


@st.composite
def preferring(draw):
    """Claims that may also prefer some of their nodes."""
    sets = {}

    def best(eligible):
        if eligible not in sets:
            options = st.frozensets(st.sampled_from(sorted(eligible)), min_size=1)
            sets[eligible] = draw(st.none() | options) if eligible else None
        return sets[eligible]

    return [
        Candidate(claim=c.claim, node=c.node, eligible=c.eligible, preferred=best(c.eligible))
        for c in draw(situations())
    ]


@given(preferring(), strategies, st.integers(1, 5))
def test_in_quiet_times_all_go_to_preferred_nodes_each_at_most_once_there_and_it_ends(
    before, strategy, limit
):
    known = {candidate.claim: candidate for candidate in before}

    def best(candidate):
        return candidate.eligible if candidate.preferred is None else candidate.preferred

    def now(nodes_by_claim):
        return [structs.replace(known[c], node=n) for c, n in nodes_by_claim.items()]

    settled = applied(before, assign(before, Placement(strategy)))
    for c in before:
        assert c.node in c.eligible or not c.eligible or settled[c.claim] in best(c)
    for _ in range(400):
        current = now(settled)
        fair = strategy is Strategy.FAIR
        moves = rebalance(current, limit=limit) if fair else consolidate(current, {}, limit=limit)
        assert len(moves) <= limit
        assert all(move.target in best(known[move.claim]) for move in moves)
        settled = applied(current, moves)
        if not moves:
            break
    else:
        raise AssertionError("it never ends")
    assert all(c.node in best(c) for c in now(settled) if c.node in c.eligible)


@given(st.integers(0, 200), st.integers(1, 24))
def test_fair_is_even_to_one_claim(claims, nodes):
    eligible = frozenset(NAMES[:nodes])
    before = candidates({f"c{number}": "" for number in range(claims)}, eligible)
    after = applied(before, assign(before, Placement(Strategy.FAIR)))
    assert set(after.values()) <= eligible
    assert spread(after, eligible) <= 1


def test_ties_go_by_name():
    eligible = frozenset({"b", "a", "c"})
    before = candidates({"c1": "", "c2": "", "c3": "", "c4": ""}, eligible)
    assert [move.target for move in assign(before, Placement(Strategy.FAIR))] == [
        "a",
        "b",
        "c",
        "a",
    ]


@given(st.integers(1, 100), st.integers(2, 24))
def test_removing_a_node_moves_its_claims_alone(claims, nodes):
    eligible = frozenset(NAMES[:nodes])
    fresh = candidates({f"c{number}": "" for number in range(claims)}, eligible)
    settled = applied(fresh, assign(fresh, Placement(Strategy.FAIR)))
    left = eligible - {NAMES[0]}
    before = candidates(settled, left)
    moves = assign(before, Placement(Strategy.FAIR))
    assert {move.claim for move in moves} == {c for c, node in settled.items() if node == NAMES[0]}
    assert {move.source for move in moves} <= {NAMES[0]}
    assert spread(applied(before, moves), left) <= 1


@given(situations(), strategies, st.randoms())
def test_each_claim_ends_where_it_may_be_whatever_the_order_of_input(before, strategy, rng):
    moves = assign(before, Placement(strategy))
    after = applied(before, moves)
    for candidate in before:
        node = after[candidate.claim]
        if candidate.eligible:
            assert node in candidate.eligible
        else:
            assert node == candidate.node
        if candidate.node in candidate.eligible:
            assert node == candidate.node
    shuffled = list(before)
    rng.shuffle(shuffled)
    assert assign(shuffled, Placement(strategy)) == moves
    again = [Candidate(claim=c.claim, node=after[c.claim], eligible=c.eligible) for c in shuffled]
    assert assign(again, Placement(strategy)) == ()


@given(situations())
def test_fair_takes_the_emptiest_of_the_eligible_each_time(before):
    loads = Counter(c.node for c in before if c.node in c.eligible)
    by_claim = {candidate.claim: candidate for candidate in before}
    for move in assign(before, Placement(Strategy.FAIR)):
        eligible = by_claim[move.claim].eligible
        assert (loads[move.target], move.target) == min((loads[n], n) for n in eligible)
        loads[move.target] += 1


def test_when_all_nodes_are_dead_nothing_moves():
    for strategy in Strategy:
        before = candidates({"c1": "n1", "c2": ""}, frozenset())
        assert assign(before, Placement(strategy)) == ()


def test_first_alive_takes_the_first_to_have_registered():
    registered = {"a": "2026-03-01T00:00:00Z", "b": "2026-01-01T00:00:00Z"}
    before = candidates({"c1": "", "c2": ""}, frozenset({"a", "b", "new"}))
    moves = assign(before, Placement(Strategy.FIRST_ALIVE, registered))
    assert {move.target for move in moves} == {"b"}


def test_first_alive_stays_together_when_an_older_node_returns():
    registered = {"a": "2026-03-01T00:00:00Z", "b": "2026-01-01T00:00:00Z"}
    before = candidates({"c1": "a", "c2": ""}, frozenset({"a", "b"}))
    assert assign(before, Placement(Strategy.FIRST_ALIVE, registered)) == (
        Move(claim="c2", source="", target="a"),
    )


@given(st.integers(1, 60), st.permutations(NAMES))
def test_first_alive_keeps_all_together_through_a_row_of_deaths(claims, order):
    registered = {node: f"2026-01-{day:02d}" for day, node in enumerate(order, start=1)}
    nodes_by_claim = {f"c{number}": "" for number in range(claims)}
    for deaths in range(len(order)):
        before = candidates(nodes_by_claim, frozenset(order[deaths:]))
        nodes_by_claim = applied(
            before, assign(before, Placement(Strategy.FIRST_ALIVE, registered))
        )
        assert set(nodes_by_claim.values()) == {order[deaths]}


@given(
    strategies,
    st.lists(node_sets.filter(bool), min_size=1, max_size=3),
    st.lists(
        st.tuples(st.integers(0, 2), st.sampled_from(["place", "hold", "release"]), st.integers()),
        max_size=200,
    ),
)
def test_decisions_one_by_one_are_those_of_a_full_count(strategy, sets, steps):
    """The heaps never disagree with a search through all nodes."""
    placement = Placement(strategy)
    loads: Counter[str] = Counter()
    sign = -1 if strategy is Strategy.FIRST_ALIVE else 1
    for which, what, number in steps:
        eligible = sets[which % len(sets)]
        node = sorted(eligible)[number % len(eligible)]
        expected = min((sign * loads[name], name) for name in eligible)[1]
        assert placement.choose(eligible) == expected
        if what == "place":
            assert placement.place(eligible) == expected
            loads[expected] += 1
        elif what == "hold":
            placement.hold(node)
            loads[node] += 1
        elif loads[node]:
            placement.release(node)
            loads[node] -= 1
        assert all(placement.load(name) == loads[name] for name in eligible)


def test_many_groups_of_many_nodes_do_not_confuse_each_other():
    everyone = frozenset(NAMES)
    groups = [everyone - {name} for name in NAMES] + [
        everyone - set(NAMES[i : i + 2]) for i in range(23)
    ]
    placement = Placement(Strategy.FAIR)
    for turn in range(len(groups) * 10):
        placement.place(groups[turn % len(groups)])
    loads = [placement.load(name) for name in NAMES]
    assert sum(loads) == len(groups) * 10
    assert max(loads) - min(loads) <= 1


def test_nobody_eligible_is_an_answer():
    placement = Placement(Strategy.FAIR)
    assert placement.choose(frozenset()) is None
    assert placement.place(frozenset()) is None


@given(st.lists(st.integers(0, 40), min_size=1, max_size=24))
def test_rebalancing_needs_the_fewest_moves(loads):
    nodes = NAMES[: len(loads)]
    held = {
        f"{node}-{number}": node
        for node, load in zip(nodes, loads, strict=True)
        for number in range(load)
    }
    before = candidates(held, frozenset(nodes))
    moves = rebalance(before, limit=10_000)
    assert spread(applied(before, moves), nodes) <= 1
    low, rest = divmod(sum(loads), len(loads))
    surplus = sum(max(0, load - low - bool(rest)) for load in loads)
    deficit = sum(max(0, low - load) for load in loads)
    assert len(moves) == max(surplus, deficit)
    assert len({move.claim for move in moves}) == len(moves)


@given(situations(), st.integers(0, 5))
def test_rebalancing_only_narrows_gaps_keeps_to_the_rules_and_ends(before, limit):
    nodes_by_claim = {candidate.claim: candidate.node for candidate in before}
    filters = {candidate.claim: candidate.eligible for candidate in before}
    for _ in range(400):
        now = [Candidate(claim=c, node=n, eligible=filters[c]) for c, n in nodes_by_claim.items()]
        moves = rebalance(now, limit=limit)
        assert len(moves) <= limit
        loads = Counter(c.node for c in now if c.node in c.eligible)
        for move in moves:
            assert move.target in filters[move.claim]
            assert loads[move.source] - loads[move.target] >= 2
            loads[move.source] -= 1
            loads[move.target] += 1
        nodes_by_claim = applied(now, moves)
        if not moves:
            break
    else:
        raise AssertionError("it never ends")
    if limit:
        for claim, node in nodes_by_claim.items():
            if node in filters[claim]:
                assert all(loads[node] - loads[other] <= 1 for other in filters[claim])


def test_claims_are_brought_together_where_most_of_them_are():
    eligible = frozenset(NAMES[:3])
    before = candidates({"c1": "n01", "c2": "n02", "c3": "n02", "c4": "n00"}, eligible)
    assert consolidate(before, {}, limit=9) == (
        Move(claim="c1", source="n01", target="n02"),
        Move(claim="c4", source="n00", target="n02"),
    )
    assert consolidate(before, {}, limit=1) == (Move(claim="c1", source="n01", target="n02"),)


def test_of_two_nodes_with_as_many_the_first_to_have_registered_gets_all():
    registered = {"n00": "2026-03-01T00:00:00Z", "n01": "2026-01-01T00:00:00Z"}
    before = candidates({"c1": "n00", "c2": "n01"}, frozenset({"n00", "n01"}))
    assert [move.target for move in consolidate(before, registered, limit=9)] == ["n01"]


def test_a_claim_that_may_not_be_with_the_others_stays():
    before = [
        *candidates({"c1": "n00", "c2": "n00"}, frozenset({"n00", "n01", "n02"})),
        *candidates({"local": "n01", "too": "n02"}, frozenset({"n01", "n02"})),
        *candidates({"stuck": "n02"}, frozenset()),
    ]
    assert consolidate(before, {}, limit=9) == ()


@given(situations(), st.permutations(NAMES), st.integers(1, 5))
def test_bringing_together_ends_and_moves_no_claim_twice(before, order, limit):
    registered = {node: f"2026-01-{day:02d}" for day, node in enumerate(order, start=1)}
    filters = {candidate.claim: candidate.eligible for candidate in before}
    settled = applied(before, assign(before, Placement(Strategy.FIRST_ALIVE, registered)))
    moved: Counter[str] = Counter()
    for _ in range(400):
        now = [Candidate(claim=c, node=n, eligible=filters[c]) for c, n in settled.items()]
        assert assign(now, Placement(Strategy.FIRST_ALIVE, registered)) == ()
        moves = consolidate(now, registered, limit=limit)
        assert len(moves) <= limit
        assert all(move.target in filters[move.claim] for move in moves)
        moved.update(move.claim for move in moves)
        settled = applied(now, moves)
        if not moves:
            break
    else:
        raise AssertionError("it never ends")
    free = {c for c, eligible in filters.items() if eligible == frozenset(NAMES)}
    assert len({settled[claim] for claim in free}) <= 1
    assert max(moved.values(), default=0) <= 1
