"""Only neighbours that have answered, and only questions that went out, tell of isolation."""

from ipaddress import ip_address, ip_interface

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extip.api.ipcontroller_v1 import IpNode, IpNodeStatus
from extip.api.meta_v1 import FullObjectMeta
from extip.api.node_link import NodeLink
from extip.uplink.policy.isolation import (
    MISSES,
    NEIGHBOURS,
    Isolation,
    Reachability,
    neighbours,
    round_s,
)

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

    def reachability(self):
        return self.state.reachability(self.now)


def test_one_neighbour_that_answers_is_enough():
    node = Node()
    first, *rest = node.play(answering=ALL, rounds=50)
    assert first == [(ip, b"") for ip in ALL]
    assert rest == [[(N2, MAC)]] * 49
    assert node.reachability() is Reachability.REACHED


def test_the_first_one_is_asked_again_now_and_then_and_preferred():
    """After others were started anew, all would ask the same gateway for ever."""
    node = Node()
    node.play(answering=ALL, rounds=3)
    node.play(answering=[N3, ROUTER], rounds=3)
    assert node.play(answering=[N3, ROUTER]) == [[(N3, MAC)]]
    questions = node.play(answering=ALL, rounds=30)
    assert sum(map(len, questions)) == 31
    assert questions[-1] == [(N2, MAC)]


def test_neighbours_are_looked_for_now_and_then_one_after_the_other():
    node = Node()
    questions = node.play(rounds=80)
    assert questions[:2] == [[(ip, b"") for ip in ALL]] * 2
    assert sum(map(len, questions[2:])) == 6
    assert {ip for asked in questions[2:] for ip, _ in asked} == set(ALL)
    assert node.reachability() is Reachability.UNSURE
    node.play(answering=[N3], rounds=40)
    assert node.reachability() is Reachability.REACHED


def test_when_it_is_silent_all_are_asked_and_another_one_takes_its_place():
    node = Node()
    node.play(answering=[ROUTER], rounds=4)
    questions = node.play(answering=[N2, N3], rounds=4)
    assert questions[0] == [(ROUTER, MAC)]
    assert questions[1] == [(ip, b"") for ip in (ROUTER, N2, N3)]
    assert questions[2:] == [[(N2, MAC)]] * 2
    assert node.reachability() is Reachability.REACHED


def test_silence_of_all_that_have_ever_answered_is_isolation_and_one_answer_ends_it():
    node = Node()
    node.play(answering=[N2], rounds=3)
    node.play(rounds=MISSES - 1)
    assert node.reachability() is not Reachability.ISOLATED
    node.play()
    assert node.reachability() is Reachability.ISOLATED
    asked = node.play(rounds=6)
    assert all(len(ips) <= 2 for ips in asked), "no flood of questions"
    assert {ip for ips in asked for ip, _ in ips} == set(ALL)
    node.play(answering=[N3], rounds=4)
    assert node.reachability() is Reachability.REACHED


def test_all_others_are_tried_when_those_next_to_it_are_gone_for_good():
    """A cluster that has shrunk, without a gateway: nobody deletes its IpNodes."""
    gone = [ip_address(f"10.0.1.{n}") for n in range(1, 201)]
    node = Node(whom=(*gone, N3))
    node.play(answering=[gone[0]], rounds=3)
    node.play(rounds=MISSES)
    assert node.reachability() is Reachability.ISOLATED
    node.play(answering=[N3], rounds=220)
    assert node.reachability() is Reachability.REACHED


def test_who_has_never_heard_anybody_is_not_isolated():
    node = Node()
    node.play(rounds=100)
    assert node.reachability() is Reachability.UNSURE


def test_questions_that_did_not_go_out_prove_nothing():
    node = Node()
    node.play(answering=ALL, rounds=3)
    node.play(rounds=100, sent=False)
    assert node.reachability() is Reachability.UNSURE


def test_answers_to_nobodys_question_prove_nothing():
    node = Node()
    node.play(answering=ALL, rounds=3)
    for _ in range(MISSES):
        node.play()
        node.state.end_round(dict.fromkeys(ALL, MAC))
    assert node.reachability() is Reachability.ISOLATED


def test_an_interface_without_carrier_is_another_matter():
    node = Node()
    node.play(answering=ALL, rounds=3)
    node.state.rest()
    node.play(rounds=MISSES - 1)
    assert node.reachability() is not Reachability.ISOLATED
    node.play()
    assert node.reachability() is Reachability.ISOLATED
    node.state.rest()
    assert node.reachability() is Reachability.ISOLATED, "nobody has answered since"


def test_a_restart_mends_nothing_but_an_answer_does():
    node = Node()
    node.state.restore(Reachability.ISOLATED)
    node.play(rounds=10)
    assert node.reachability() is Reachability.ISOLATED
    node.play(answering=ALL, rounds=2)
    assert node.reachability() is Reachability.REACHED
    node.state.restore(Reachability.ISOLATED)
    assert node.reachability() is Reachability.REACHED, "that was of the process before this one"


def test_whom_nobody_answers_after_a_restart_is_isolated_if_somebody_did_before():
    """It was started anew in the wrong network, or just when its own one failed."""
    node = Node()
    node.state.restore(Reachability.REACHED)
    node.play(rounds=MISSES - 1)
    assert node.reachability() is Reachability.UNSURE
    node.play()
    assert node.reachability() is Reachability.ISOLATED


def test_what_was_said_before_does_not_overrule_what_is_known():
    node = Node()
    node.play(answering=ALL, rounds=3)
    node.play(rounds=MISSES)
    node.state.restore(Reachability.UNSURE)
    assert node.reachability() is Reachability.ISOLATED


def test_with_nobody_left_to_ask_for_a_while_no_node_is_isolated():
    """For a moment there may be none because nobody answers: DHCP for one."""
    node = Node()
    node.play(answering=ALL, rounds=3)
    node.play(rounds=MISSES)
    node.whom = ()
    node.play(rounds=60)
    assert node.reachability() is Reachability.ISOLATED
    node.play(rounds=600)
    assert node.reachability() is Reachability.UNSURE


def test_an_interface_without_neighbours_isolates_nobody():
    node = Node()
    node.state.restore(Reachability.ISOLATED)
    node.state.clear()
    assert node.reachability() is Reachability.UNSURE


GONE = [ip_address(f"10.0.2.{n}") for n in range(1, 101)]


def test_one_lost_answer_isolates_nobody_whose_neighbour_is_not_among_the_first():
    """Nobody deletes the IpNodes of nodes that are gone."""
    node = Node(whom=(*GONE, N3))
    node.play(answering=[N3], rounds=1500)
    assert node.reachability() is Reachability.REACHED
    node.play()
    node.play(answering=[N3])
    assert node.reachability() is Reachability.REACHED


def test_after_a_restart_all_have_to_be_asked_before_a_node_is_isolated():
    node = Node(whom=(*GONE, N3))
    node.state.restore(Reachability.REACHED)
    node.play(answering=[N3], rounds=7)
    assert node.reachability() is Reachability.REACHED
    dead = Node(whom=(*GONE, N3))
    dead.state.restore(Reachability.REACHED)
    dead.play(rounds=MISSES - 1)
    assert dead.reachability() is Reachability.UNSURE
    dead.play()
    assert dead.reachability() is Reachability.ISOLATED


def test_a_neighbour_that_is_none_any_more_is_not_missed():
    node = Node()
    node.play(answering=[N2], rounds=4)
    node.whom = (N3,)
    node.play(rounds=10)
    assert node.reachability() is Reachability.UNSURE


@given(st.lists(st.booleans(), max_size=60))
def test_it_takes_as_many_silent_rounds_in_a_row(answers):
    node, silent = Node(), 0
    node.play(answering=ALL)
    for answered in answers:
        node.play(answering=ALL if answered else ())
        silent = 0 if answered else silent + 1
        assert node.state.isolated == (silent >= MISSES)


@pytest.mark.parametrize(("heartbeat_s", "expected"), [(0.1, 0.1), (0.6, 0.15), (2.0, 0.25)])
def test_rounds_follow_the_heartbeat_within_bounds(heartbeat_s, expected):
    assert round_s(heartbeat_s) == expected


def record(name, *addresses, gateways=None, links=None):
    told = (NodeLink(name="eth0", addresses=addresses), *(links or ()))
    return IpNode(
        metadata=FullObjectMeta(name=name), status=IpNodeStatus(links=told, gateways=gateways)
    )


OWN = (ip_interface("10.0.0.1/24"),)


def test_whom_a_node_may_ask():
    """Nodes after it, then gateways; one address of each, on the interface of the claims."""
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
        "new": IpNode(),
    }
    found = neighbours(nodes, "n1", OWN)
    source = OWN[0].ip
    assert found == {N2: source, ip_address("10.0.0.9"): source, ROUTER: source}
    assert list(found) == [N2, ip_address("10.0.0.9"), ROUTER]


def test_an_address_that_has_come_here_meanwhile_is_no_neighbour():
    """As those of keepalived do; the other node has another one, too."""
    nodes = {"odd": record("odd", "nonsense", "10.0.0.1/24", "10.0.0.3/24")}
    assert list(neighbours(nodes, "n1", OWN)) == [N3]


def test_addresses_in_the_api_are_not_asked_from():
    nodes = {"n1": record("n1", "10.0.0.1/24"), "n2": record("n2", "10.0.0.2/24")}
    assert neighbours(nodes, "n1", ()) == {}
    assert neighbours(nodes, "n1", (ip_interface("10.0.0.1/32"),)) == {}


def test_in_a_large_cluster_each_node_asks_others_near_and_far_and_gateways():
    def ip(number):
        return ip_address("10.0.0.1") + number

    names = [f"n{number:03}" for number in range(400)]
    nodes = {name: record(name, f"{ip(n)}/16") for n, name in enumerate(names)}
    routers = tuple(f"10.0.9.{n}" for n in range(1, 10))
    nodes["n100"] = record("n100", f"{ip(100)}/16", gateways=routers)
    found = list(neighbours(nodes, "n100", (ip_interface(f"{ip(100)}/16"),)))
    near_and_far = [101, 102, 103, 104, 108, 116, 132, 164, 228, 356]
    assert found[:10] == [ip(number) for number in near_and_far]
    assert [str(router) for router in found[10:14]] == list(routers[:4])
    assert len(found) == 399 + 4, "all others are known as well"
    assert len(found[:NEIGHBOURS]) == NEIGHBOURS
    last = list(neighbours(nodes, "n399", (ip_interface(f"{ip(399)}/16"),)))
    assert last[0] == ip(0)


def test_ipv6_nodes_are_asked_as_well():
    nodes = {"n2": record("n2", "fd00::2/64"), "n3": record("n3", "fd00:1::3/64")}
    own = (ip_interface("10.0.0.1/24"), ip_interface("fd00::1/64"))
    assert neighbours(nodes, "n1", own) == {ip_address("fd00::2"): ip_address("fd00::1")}
