"""Only neighbours that have answered, and only questions that went out, tell of isolation."""

from ipaddress import ip_address, ip_interface

from hypothesis import given
from hypothesis import strategies as st

from extip.api.ipcontroller_v1 import IpNode, IpNodeStatus, NodeLink
from extip.api.meta_v1 import FullObjectMeta
from extip.plan.isolation import MISSES, NEIGHBOURS, Isolation, Reach, neighbours

N2, N3, ROUTER = (ip_address(f"10.0.0.{n}") for n in (2, 3, 254))
ALL = (N2, N3, ROUTER)
MAC = b"\2\0\0\0\0\1"
ROUND_S = 0.5


class Node:
    """An interface, round after round."""

    def __init__(self, *, whom=ALL):
        self.state = Isolation(ROUND_S)
        self.whom = whom
        self.now = 0.0

    def play(self, *, answering=(), rounds=1, sent=True):
        """Return what was asked in each round."""
        questions = []
        for _ in range(rounds):
            asked = self.state.begin_round(self.whom)
            questions.append(asked)
            self.state.asked([ip for ip, _ in asked] if sent else [], self.now)
            self.now += ROUND_S
            self.state.end_round({ip: MAC for ip, _ in asked if ip in answering and sent})
        return questions

    def reach(self):
        return self.state.reach(self.now)


def test_one_neighbour_that_answers_is_enough():
    node = Node()
    questions = node.play(answering=ALL, rounds=20)
    assert all(len(asked) == 1 for asked in questions)
    assert all(asked == questions[-1] == [(asked[0][0], MAC)] for asked in questions[1:])
    assert node.reach() is Reach.REACHED


def test_neighbours_are_looked_for_one_after_the_other():
    node = Node()
    questions = node.play(rounds=6)
    assert all(len(asked) == 1 for asked in questions)
    assert {ip for asked in questions for ip, _ in asked} == set(ALL)
    assert node.reach() is Reach.UNSURE


def test_when_it_is_silent_all_are_asked_and_another_one_takes_its_place():
    node = Node()
    node.play(answering=[ROUTER], rounds=4)
    questions = node.play(answering=[N2], rounds=4)
    assert questions[0] == [(ROUTER, MAC)]
    assert questions[1] == [(ip, b"") for ip in ALL]
    assert questions[2:] == [[(N2, MAC)]] * 2
    assert node.reach() is Reach.REACHED


def test_silence_of_all_that_have_ever_answered_is_isolation_and_one_answer_ends_it():
    node = Node()
    node.play(answering=ALL, rounds=3)
    node.play(rounds=MISSES - 1)
    assert node.reach() is not Reach.ISOLATED
    node.play()
    assert node.reach() is Reach.ISOLATED
    asked = node.play(rounds=6)
    assert all(len(ips) <= 2 for ips in asked), "no flood of questions"
    assert {ip for ips in asked for ip, _ in ips} == set(ALL)
    node.play(answering=[N3], rounds=3)
    assert node.reach() is Reach.REACHED


def test_nobody_says_that_it_is_reached_after_others_said_that_all_is_silent():
    """In a network that fails for all; wherever in its round each node then is."""
    for phase in (0.0, 0.1, 0.25, 0.49):
        first, other = Node(), Node()
        other.now = phase
        first.play(answering=ALL, rounds=5)
        other.play(answering=ALL, rounds=5)
        while first.reach() is not Reach.ISOLATED:
            first.play()
        while other.now < first.now:
            other.play()
        assert other.state.reach(first.now) is not Reach.REACHED


def test_who_has_never_heard_anybody_is_not_isolated():
    node = Node()
    node.play(rounds=100)
    assert node.reach() is Reach.UNSURE


def test_questions_that_did_not_go_out_prove_nothing():
    node = Node()
    node.play(answering=ALL, rounds=3)
    node.play(rounds=100, sent=False)
    assert node.reach() is Reach.UNSURE


def test_answers_to_nobodys_question_prove_nothing():
    node = Node()
    node.play(answering=ALL, rounds=3)
    for _ in range(MISSES):
        node.play()
        node.state.end_round(dict.fromkeys(ALL, MAC))
    assert node.reach() is Reach.ISOLATED


def test_an_interface_without_carrier_is_another_matter():
    node = Node()
    node.play(answering=ALL, rounds=3)
    node.state.rest()
    node.play(rounds=MISSES - 1)
    assert node.reach() is not Reach.ISOLATED
    node.play()
    assert node.reach() is Reach.ISOLATED
    node.state.rest()
    assert node.reach() is Reach.ISOLATED, "nobody has answered since"


def test_a_restart_mends_nothing_but_an_answer_does():
    node = Node()
    node.state.recall(Reach.ISOLATED)
    node.play(rounds=10)
    assert node.reach() is Reach.ISOLATED
    node.play(answering=ALL, rounds=2)
    assert node.reach() is Reach.REACHED
    node.state.recall(Reach.ISOLATED)
    assert node.reach() is Reach.REACHED, "that was of the process before this one"


def test_what_was_said_before_does_not_overrule_what_is_known():
    node = Node()
    node.play(answering=ALL, rounds=3)
    node.play(rounds=MISSES)
    node.state.recall(Reach.UNSURE)
    assert node.reach() is Reach.ISOLATED


def test_with_nobody_left_to_ask_no_node_is_isolated():
    node = Node()
    node.play(answering=ALL, rounds=3)
    node.play(rounds=MISSES)
    node.whom = ()
    node.play()
    assert node.reach() is Reach.UNSURE


def test_a_neighbour_that_is_none_any_more_is_not_missed():
    node = Node()
    node.play(answering=[N2], rounds=4)
    node.whom = (N3,)
    node.play(rounds=10)
    assert node.reach() is Reach.UNSURE


@given(st.lists(st.booleans(), max_size=60))
def test_it_takes_as_many_silent_rounds_in_a_row(answers):
    node, silent = Node(), 0
    node.play(answering=ALL)
    for answered in answers:
        node.play(answering=ALL if answered else ())
        silent = 0 if answered else silent + 1
        assert node.state.isolated == (silent >= MISSES)


def record(name, *addresses, gateways=None, links=None):
    told = (NodeLink(name="eth0", addresses=addresses), *(links or ()))
    return IpNode(
        metadata=FullObjectMeta(name=name), status=IpNodeStatus(links=told, gateways=gateways)
    )


OWN = (ip_interface("10.0.0.1/24"),)


def test_whom_a_node_may_ask():
    """Nodes after it, gateways at last; one address of each, on the interface of the claims."""
    nodes = {
        "n1": record("n1", "10.7.0.1/24", gateways=("10.0.0.254", "172.16.0.1")),
        "n2": record(
            "n2",
            "10.0.0.2/24",
            "10.0.0.22/24",
            links=[NodeLink(name="m", addresses=("10.0.0.7/24",))],
        ),
        "n0": record("n0", "10.0.0.9/24"),
        "far": record("far", "10.9.0.1/24"),
        "odd": record("odd", "nonsense", "10.0.0.1/24"),
        "new": IpNode(),
    }
    found = neighbours(nodes, "n1", OWN)
    source = OWN[0].ip
    assert found == {N2: source, ip_address("10.0.0.9"): source, ROUTER: source}
    assert list(found) == [N2, ip_address("10.0.0.9"), ROUTER]


def test_addresses_in_the_api_are_not_asked_from():
    nodes = {"n1": record("n1", "10.0.0.1/24"), "n2": record("n2", "10.0.0.2/24")}
    assert neighbours(nodes, "n1", ()) == {}
    assert neighbours(nodes, "n1", (ip_interface("10.0.0.1/32"),)) == {}


def test_in_a_large_cluster_each_node_asks_others_and_gateways_have_their_place():
    nodes = {
        f"n{n:03}": record(f"n{n:03}", f"10.0.{n // 200}.{n % 200 + 1}/16") for n in range(400)
    }
    routers = tuple(f"10.0.9.{n}" for n in range(1, 10))
    nodes["n100"] = record("n100", "10.0.0.101/16", gateways=routers)
    found = list(neighbours(nodes, "n100", (ip_interface("10.0.0.101/16"),)))
    assert len(found) == NEIGHBOURS
    assert found[:2] == [ip_address("10.0.0.102"), ip_address("10.0.0.103")]
    assert str(found[-1]) == "10.0.9.4"
    last = list(neighbours(nodes, "n399", (ip_interface("10.0.1.200/16"),)))
    assert last[0] == ip_address("10.0.0.1")


def test_ipv6_nodes_are_asked_as_well():
    nodes = {"n2": record("n2", "fd00::2/64"), "n3": record("n3", "fd00:1::3/64")}
    own = (ip_interface("10.0.0.1/24"), ip_interface("fd00::1/64"))
    assert neighbours(nodes, "n1", own) == {ip_address("fd00::2"): ip_address("fd00::1")}
