"""The last moves, and what is left out."""

import msgspec

from extip.page.policy.view import MOVES_KEPT, Moves, Update, without_heartbeat
from extip.status.policy.table import ClaimRow, ClaimState, NodeRow


def row(ip="10.0.0.1", *, node="n2", before="n1", state=ClaimState.UP, since="01", why="drained"):
    return ClaimRow(ip=ip, node=node, state=state, since=since, services=(), why=why, before=before)


def test_an_ip_that_came_up_elsewhere_has_moved():
    moves = Moves()
    (move,) = moves.add([row()])
    assert (move.before, move.node, move.why) == ("n1", "n2", "drained")
    assert moves.all() == (move,)


def test_these_are_no_moves():
    moves = Moves()
    assert moves.add([row(before=""), row(before="n2"), row(state=ClaimState.MOVING)]) == ()


def test_a_move_is_told_once_and_again_when_its_reason_is_known():
    moves = Moves()
    moves.add([row(why="")])
    assert moves.add([row(why="")]) == ()
    (again,) = moves.add([row(why="drained")])
    assert again.why == "drained"
    assert moves.all() == (again,)


def test_the_latest_are_kept_in_the_order_of_time():
    moves = Moves()
    times = [f"{number:04}" for number in range(MOVES_KEPT + 5)]
    moves.add(row(since=time) for time in reversed(times))
    assert [move.time for move in moves.all()] == times[5:]


def test_an_update_without_content_is_false_and_says_nothing():
    assert not Update()
    assert msgspec.json.encode(Update()) == b"{}"
    assert Update(leader="")  # nobody leads: that is news
    assert Update(fresh=True)


def test_a_heartbeat_is_left_out():
    full = NodeRow(node="n1", state="ready", heartbeat="12:00", claims=0, why="")
    assert without_heartbeat(full) == NodeRow(
        node="n1", state="ready", heartbeat="", claims=0, why=""
    )
