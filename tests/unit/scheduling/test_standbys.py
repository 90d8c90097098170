"""Standbys, claim by claim, are what a plan over everything finds; each may take its IP."""

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from extip.claims.policy.assignment import standby_of
from extip.scheduling.policy.node_filters import NodeFilters
from extip.scheduling.policy.placement import Candidate, Move, Placement, Strategy, assign
from extip.scheduling.policy.snapshot import needs_of
from tests.unit.scheduling.test_state import EVENT, History

STEP = st.one_of(EVENT, st.tuples(st.just("prepare"), st.integers(1, 3)))


class Prepared(History):
    """A cluster whose claims also get standbys."""

    def prepare(self, most):
        """Make some of the writes of standbys, as the scheduler does while no IP is due."""
        self.decide()
        assert self.state.standing is not None
        chosen = self.state.standbys.choose(
            self.state.claims, self.state.standing, most=most, fixed=frozenset()
        )
        for one in chosen:
            name = one.claim.metadata.name
            spec = replace(self.claims[name].spec, standby=one.node)
            self.claims[name] = replace(self.claims[name], spec=spec)


def at_rest(state):
    """Return the standby of each claim that the state counts; empty for those that lack one."""
    standbys = state.standbys
    lacking = dict.fromkeys([*standbys._lacking, *standbys._hopeless], "")
    return {name: row.standby for name, row in standbys._rows.items()} | lacking


@settings(max_examples=100)
@given(strategy=st.sampled_from(Strategy), events=st.lists(STEP, max_size=20))
def test_claim_by_claim_or_all_at_once_is_the_same(strategy, events):
    history = Prepared(strategy)
    history.decide()
    for kind, what in events:
        history.happen(kind, what)
        history.decide()
        mine, reference = at_rest(history.state), history.plan(history.claims).standbys
        assert mine.keys() == reference.keys()
        assert all(reference[name] == standby for name, standby in mine.items() if standby)
    history.prepare(99)
    history.decide()
    for name, standby in at_rest(history.state).items():
        claim = history.claims[name]
        assert standby == standby_of(claim)
        assert standby in could_take(history, claim) or not could_take(history, claim)


def could_take(history, claim):
    """Return the nodes that may be the claim's standby."""
    needs = needs_of(claim, history.snapshot)
    assert needs is not None
    kept = {claim.spec.standby} & history.snapshot.unknown
    return NodeFilters(history.snapshot).standbys(needs, claim.spec.node_name) | kept


def test_a_claim_goes_to_its_standby_and_the_others_are_spread_after_those():
    placement = Placement(Strategy.FAIR)
    both = frozenset({"n2", "n3"})
    candidates = [
        Candidate(claim="a", node="n1", eligible=both),
        Candidate(claim="b", node="n1", eligible=both, standby="n2"),
        Candidate(claim="c", node="n1", eligible=both, standby="n4"),
        Candidate(claim="d", node="n2", eligible=both, standby="n3"),
    ]
    assert assign(candidates, placement) == (
        Move(claim="a", source="n1", target="n3"),
        Move(claim="b", source="n1", target="n2"),
        Move(claim="c", source="n1", target="n3"),
    )
