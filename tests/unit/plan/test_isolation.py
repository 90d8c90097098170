"""Only neighbours that have answered, and only questions that went out, tell of isolation."""

from ipaddress import ip_address

from hypothesis import given
from hypothesis import strategies as st

from extip.api.ipcontroller_v1 import IpNode, IpNodeStatus, NodeLink
from extip.api.meta_v1 import FullObjectMeta
from extip.plan.isolation import ANSWERS, MISSES, NEIGHBOURS, Isolation, neighbours

ROUTER, N2, N3 = (ip_address(f"10.0.0.{n}") for n in (254, 2, 3))
ALL = (ROUTER, N2, N3)
MAC = b"\2\0\0\0\0\1"


def play(state: Isolation, *, answering=(), rounds=1, sent=True):
    """Return what was asked in each round."""
    questions = []
    for _ in range(rounds):
        state.end_round()
        asked = [ip for ip, _ in state.begin_round(ALL)]
        questions.append(asked)
        if asked and sent:
            state.asked()
            for ip in asked:
                if ip in answering:
                    state.heard(ip, MAC)
    state.end_round()
    return questions


def test_one_neighbour_that_answers_is_enough():
    state = Isolation()
    first, *rest = play(state, answering=ALL, rounds=20)
    assert first == list(ALL)
    assert all(len(asked) == 1 for asked in rest)
    assert not state.isolated


def test_when_it_is_silent_all_others_are_asked():
    state = Isolation()
    play(state, answering=[ROUTER])
    questions = play(state, answering=[N2], rounds=4)
    assert questions[0] == [ROUTER]
    assert questions[1] == list(ALL)
    assert questions[2:] == [[N2], [N2]]
    assert not state.isolated


def test_silence_of_all_that_have_ever_answered_is_isolation():
    state = Isolation()
    play(state, answering=ALL, rounds=3)
    play(state, rounds=MISSES - 1)
    assert not state.isolated
    play(state)
    assert state.isolated


def test_it_is_back_when_somebody_has_answered_for_a_while():
    state = Isolation()
    play(state, answering=ALL, rounds=3)
    play(state, rounds=10)
    play(state, answering=[N3], rounds=ANSWERS - 1)
    assert state.isolated
    play(state, answering=[N3])
    assert not state.isolated


def test_who_has_never_heard_anybody_is_not_isolated():
    state = Isolation()
    questions = play(state, rounds=100)
    assert not state.isolated
    assert sum(map(len, questions)) == 20 * len(ALL), "neighbours are looked for now and then"


def test_questions_that_did_not_go_out_prove_nothing():
    state = Isolation()
    play(state, answering=ALL, rounds=3)
    play(state, rounds=100, sent=False)
    assert not state.isolated


def test_an_interface_without_carrier_is_another_matter():
    state = Isolation()
    play(state, answering=ALL, rounds=3)
    play(state, rounds=10)
    state.rest()
    assert not state.isolated
    play(state, rounds=MISSES)
    assert state.isolated, "it is back, and leads nowhere"


def test_a_neighbour_that_is_none_any_more_is_not_missed():
    state = Isolation()
    play(state, answering=[N2], rounds=3)
    for _ in range(10):
        state.end_round()
        state.begin_round([N3])
        state.asked()
    assert not state.isolated


@given(st.lists(st.booleans(), max_size=60))
def test_a_verdict_changes_only_after_as_many_rounds_in_a_row(answers):
    state, alike = Isolation(), 0
    play(state, answering=ALL)
    for before, answered in zip([None, *answers], answers, strict=False):
        was = state.isolated
        play(state, answering=ALL if answered else ())
        alike = alike + 1 if answered == before else 1
        if not answered and alike >= MISSES:
            assert state.isolated
        elif answered and alike >= ANSWERS:
            assert not state.isolated
        else:
            assert state.isolated == was


def node(name, *addresses, gateways=None, links=None):
    told = (NodeLink(name="eth0", addresses=addresses), *(links or ()))
    return IpNode(
        metadata=FullObjectMeta(name=name), status=IpNodeStatus(links=told, gateways=gateways)
    )


def test_whom_a_node_may_ask():
    """Gateways, then nodes, in its own subnets and on the interface of the claims alone."""
    nodes = {
        "n1": node("n1", "10.0.0.1/24", gateways=("10.0.0.254", "172.16.0.1")),
        "n2": node(
            "n2",
            "10.0.0.2/24",
            "fd00::2/64",
            links=[NodeLink(name="m", addresses=("10.0.0.7/24",))],
        ),
        "n0": node("n0", "10.0.0.9/24"),
        "far": node("far", "10.9.0.1/24"),
        "odd": node("odd", "nonsense", "10.0.0.1/24"),
        "new": IpNode(),
    }
    own = ip_address("10.0.0.1")
    found = neighbours(nodes, "n1")
    assert found == {ROUTER: own, N2: own, ip_address("10.0.0.9"): own}
    assert list(found) == [ROUTER, N2, ip_address("10.0.0.9")]


def test_a_node_without_a_record_or_an_address_asks_nobody():
    others = {"n2": node("n2", "10.0.0.2/24")}
    assert neighbours(others, "n1") == {}
    assert neighbours(others | {"n1": node("n1")}, "n1") == {}


def test_each_node_of_a_large_cluster_asks_others():
    nodes = {f"n{n:03}": node(f"n{n:03}", f"10.0.{n // 200}.{n % 200 + 1}/16") for n in range(500)}
    for number in (0, 250, 495):
        found = neighbours(nodes, f"n{number:03}")
        expected = [(number + step) % 500 for step in range(1, NEIGHBOURS + 1)]
        assert list(found) == [ip_address(f"10.0.{n // 200}.{n % 200 + 1}") for n in expected]
