"""Which nodes are watched, and when one of them is silent."""

from ipaddress import ip_address

from extip.uplink.policy.silence import SILENT, WATCHED, Silence

IPS = {name: ip_address(f"10.0.0.{number}") for number, name in enumerate("bcdef", 2)}
RING = {ip: name for name, ip in IPS.items()}
ROUTER = ip_address("10.0.0.254")


def mac(ip):
    return ip.packed + b"\0\0"


class Segment:
    """A node that watches others, and a gateway that always answers unless it is told not to."""

    def __init__(self):
        self.state = Silence()
        self.ring = dict(RING)
        self.gateway = True

    def play(self, answering, *, rounds=1, found=()):
        """Return the names of the nodes asked in each round; `found` answer others' questions."""
        asked = []
        for _ in range(rounds):
            questions = self.state.begin_round(self.ring)
            asked.append([self.ring[ip] for ip, _ in questions])
            ips = {ip for ip, _ in questions} | {IPS[name] for name in found} | {ROUTER}
            heard = {IPS[name] for name in answering} | ({ROUTER} if self.gateway else set())
            self.state.end_round(ips, {ip: mac(ip) for ip in ips & heard})
        return asked


def started(answering="bcdef"):
    segment = Segment()
    segment.play(answering, found=answering)
    return segment


def test_the_next_nodes_on_the_ring_that_answer_are_watched_and_no_others():
    assert started().play("bcdef", rounds=10) == [["b", "c"]] * 10
    segment = started("cef")
    segment.play("cef", rounds=5)
    assert segment.play("cef", rounds=5) == [["c", "e"]] * 5


def test_a_node_that_is_new_on_the_list_is_watched_a_round_later():
    segment = started("cdef")
    segment.ring = {ip: name for ip, name in RING.items() if name != "b"}
    segment.play("cdef", rounds=20)
    segment.ring = dict(RING)
    assert "b" in segment.play("bcdef")[0]
    assert segment.play("bcdef", rounds=10) == [["b", "c"]] * 10


def test_a_new_node_is_asked_as_often_though_the_list_differs_again_in_each_round():
    """A miss has the list read anew. A node that starts does not answer the first question."""
    segment = started("cdef")
    segment.ring = {ip: name for ip, name in RING.items() if name != "b"}
    segment.play("cdef", rounds=20)
    asked = []
    for _ in range(9):
        segment.ring = dict(RING)
        asked += segment.play("cdef")
    assert ["b" in names for names in asked] == [True] * 4 + [False] * 5


def test_of_new_nodes_on_a_list_that_differs_again_and_again_few_are_asked_at_once():
    segment = started()
    for number in range(50):
        new = {ip_address(f"10.0.{number}.{n}"): f"{number}-{n}" for n in range(20, 30)}
        segment.ring = new | segment.ring
        assert max(map(len, segment.play("bcdef"))) <= 4 * WATCHED


def test_of_many_new_nodes_few_are_asked_and_not_for_long():
    segment = Segment()
    segment.ring = {ip_address(f"10.0.1.{n}"): str(n) for n in range(100)}
    asked = segment.play("", rounds=200)
    assert max(map(len, asked)) <= 2 * WATCHED
    assert sum(map(len, asked[10:])) == 5


def test_questions_go_to_the_one_that_is_asked_alone():
    segment = started()
    assert segment.state.begin_round(RING) == [(IPS[n], mac(IPS[n])) for n in "bc"]


def test_a_node_that_stops_answering_is_silent_after_so_many_rounds_and_is_doubted_before():
    segment = started()
    segment.play("cdef", rounds=SILENT - 1)
    assert segment.state.silent == frozenset()
    assert segment.state.doubts
    segment.play("cdef")
    assert segment.state.silent == {"b"}
    assert not segment.state.doubts
    assert segment.state.watched == WATCHED


def test_one_answer_ends_the_doubt():
    segment = started()
    segment.play("cdef", rounds=SILENT - 1)
    segment.play("bcdef")
    segment.play("cdef", rounds=SILENT - 1)
    assert segment.state.silent == frozenset()


def test_another_mac_is_found_before_a_node_is_silent():
    """A card that was replaced, or a bond that changed its active part."""
    segment = started()
    questions = []
    for _ in range(SILENT):
        questions += [to for ip, to in segment.state.begin_round(RING) if ip == IPS["b"]]
        segment.state.end_round({IPS["b"], IPS["c"]}, {IPS["c"]: mac(IPS["c"])})
    assert b"" in questions, "a broadcast"
    assert questions.count(b"") <= SILENT / 3, "and not a storm of them"


def test_where_nobody_answers_it_is_the_asker_that_is_cut_off():
    segment = started()
    segment.gateway = False
    segment.play("", rounds=100)
    assert segment.state.silent == frozenset()


def test_a_node_that_never_answered_is_not_missed():
    segment = started("c")
    segment.play("c", rounds=100)
    assert segment.state.silent == frozenset()
    assert segment.state.watched == 1


def test_the_next_one_is_watched_instead_until_it_is_back():
    segment = started()
    segment.play("cdef", rounds=SILENT)
    segment.play("cdef", rounds=1, found="cd")
    assert {name for asked in segment.play("cdef", rounds=30) for name in asked} >= {"c", "d"}
    segment.play("bcdef", rounds=40)
    assert segment.state.silent == frozenset()
    assert segment.play("bcdef") == [["b", "c"]]


def test_a_node_that_is_down_for_long_is_asked_now_and_then_only():
    segment = started()
    segment.play("cdef", rounds=SILENT + 60)
    asked = segment.play("cdef", rounds=100)
    assert sum("b" in names for names in asked) == 25


def test_a_node_that_comes_back_again_and_again_takes_ever_longer_to_be_silent():
    segment = started()
    needed = []
    for _ in range(6):
        rounds = 0
        while not segment.state.silent:
            segment.play("cdef")
            rounds += 1
        needed.append(rounds)
        segment.play("bcdef", rounds=3)
    assert needed == [10, 20, 40, 80, 80, 80]
    segment.play("bcdef", rounds=20_000)
    segment.play("cdef", rounds=SILENT)
    assert segment.state.silent == {"b"}, "it was calm for long"


def test_a_node_that_was_started_again_is_as_soon_silent_as_before():
    segment = started()
    for _ in range(3):
        segment.play("cdef", rounds=SILENT + 15)
        segment.play("bcdef", rounds=3)
    segment.play("cdef", rounds=SILENT)
    assert segment.state.silent == {"b"}


def test_rounds_in_which_nobody_could_be_asked_end_a_doubt():
    segment = started()
    segment.play("cdef", rounds=SILENT - 1)
    segment.state.rest()
    segment.play("cdef", rounds=SILENT - 1)
    assert segment.state.silent == frozenset()


def test_a_node_that_is_none_any_more_is_not_silent():
    segment = started()
    segment.play("cdef", rounds=SILENT)
    segment.ring = {ip: name for ip, name in RING.items() if name != "b"}
    segment.play("cdef")
    assert segment.state.silent == frozenset()
