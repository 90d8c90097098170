"""Whose word is enough to take a node for dead, and everything that speaks against it."""

import pytest

from extip.uplink.policy.isolation import Reachability
from extip.uplink.policy.suspicion import (
    PATIENCE_S,
    SILENT_S,
    LifeSign,
    NodeStates,
    Report,
    Suspicions,
)

ALL = frozenset({"a", "b", "c", "d"})
NOW = 1000.0


class Court:
    """Reports and heartbeats of four nodes, which beat every two seconds and are well."""

    def __init__(self, *nodes):
        self.state = Suspicions()
        self.alive = frozenset(nodes) or ALL
        self.troubled: frozenset[str] = frozenset()
        self.version = 100
        for node in self.alive:
            self.report(node, at=0.0)
            self.beat(node, at=NOW - 1.0)

    def report(self, witness, *silent, at=NOW):
        self.version += 1
        report = Report(witness=witness, silent=frozenset(silent), version=self.version)
        return self.state.on_report(report, at)

    def beat(self, node, *, at, said=Reachability.REACHED, bound=False, version=None):
        self.version += 1
        beat = LifeSign(
            node=node,
            token=f"{node} {at}",
            version=self.version if version is None else version,
            said=said,
            bound=bound,
        )
        return self.state.on_heartbeat(beat, at)

    def convicted(self, at=NOW + PATIENCE_S):
        return self.state.convicted(NodeStates(alive=self.alive, troubled=self.troubled), at)


def accused(*nodes):
    court = Court(*nodes)
    court.report("b", "a")
    court.report("c", "a")
    return court


def test_two_witnesses_are_enough_once_the_suspect_had_time_to_object():
    court = accused()
    assert court.convicted(NOW) == ""
    assert court.state.next_at(NOW) == NOW + PATIENCE_S
    assert court.convicted() == "a"


def test_one_witness_of_many_is_not_enough():
    court = Court()
    assert court.report("b", "a")
    assert court.convicted() == ""
    assert Court("a", "b").convicted() == ""


def test_the_only_other_node_is_enough():
    court = Court("a", "b")
    court.report("b", "a")
    assert court.convicted() == "a"


def test_a_heartbeat_since_the_silence_began_is_life():
    court = accused()
    court.beat("a", at=NOW + 0.1)
    assert court.convicted() == ""
    assert court.state.objected("a")


def test_a_heartbeat_shortly_before_the_reports_is_life():
    court = Court()
    court.beat("a", at=NOW - SILENT_S + 0.01)
    court.report("b", "a")
    court.report("c", "a")
    assert court.convicted() == ""


def test_a_heartbeat_that_the_api_server_took_later_is_life_though_it_was_seen_earlier():
    """The watch of reports is late."""
    court = Court()
    court.beat("a", at=NOW - 1.0, version=500)
    court.beat("a", at=NOW - 0.9, version=500)
    court.report("b", "a")
    court.report("c", "a")
    assert court.convicted() == ""


def test_a_suspect_that_calls_itself_isolated_is_convicted_at_once():
    court = accused()
    court.beat("a", at=NOW + 0.01, said=Reachability.ISOLATED)
    assert not court.state.objected("a")
    assert court.convicted(NOW + 0.02) == "a"


@pytest.mark.parametrize("trouble", ["another", "isolated", "overdue"])
def test_a_common_cause_convicts_nobody(trouble):
    court = accused()
    if trouble == "another":
        court.report("c", "a", "d")
    elif trouble == "isolated":
        court.beat("d", at=NOW, said=Reachability.ISOLATED)
    else:
        court.troubled = frozenset({"d"})
    assert court.convicted() == ""


def test_trouble_of_long_ago_is_no_common_cause():
    """A node in the wrong VLAN, and one that somebody cannot hear for days."""
    court = Court()
    court.beat("d", at=NOW - 60.0, said=Reachability.ISOLATED)
    court.report("c", "b", at=NOW - 60.0)
    court.report("b", "a")
    court.report("c", "a", "b")
    assert court.convicted() == "a"


def test_a_second_node_is_not_convicted_soon_after_the_first():
    court = accused()
    court.state.convict("a", NOW + PATIENCE_S)
    court.alive -= {"a"}
    court.report("c", "a", "d", at=NOW + 1.0)
    court.report("b", "a", "d", at=NOW + 1.0)
    assert court.convicted(NOW + 2.0) == ""


def test_nobody_is_convicted_twice_of_the_same():
    court = accused()
    court.beat("a", at=NOW + 0.01, said=Reachability.ISOLATED)
    court.state.convict("a", NOW + 0.02)
    assert court.convicted(NOW + 0.02) == ""


@pytest.mark.parametrize("witness", ["dead", "isolated", "silent itself"])
def test_the_word_of_who_is_not_well_does_not_count(witness):
    court = accused()
    if witness == "dead":
        court.alive -= {"c"}
    elif witness == "isolated":
        court.beat("c", at=NOW - 60.0, said=Reachability.ISOLATED)
    else:
        court.report("d", "c")
    assert court.convicted() == ""


def test_nodes_that_do_not_hear_each_other_accuse_each_other_in_vain():
    court = Court()
    court.report("a", "b")
    court.report("b", "a")
    assert court.convicted() == ""


def test_a_node_that_must_be_given_time_is_given_it():
    court = accused()
    court.beat("a", at=NOW - 0.9, bound=True, version=1)
    assert court.convicted() == ""


def test_old_reports_are_left_to_the_heartbeats():
    court = accused()
    assert court.convicted(NOW + 3.0) == ""


def test_an_old_report_beside_a_recent_one_is_one_witness():
    court = Court()
    court.beat("a", at=NOW - 4.0, version=1)
    court.report("b", "a", at=NOW - 3.0)
    court.report("c", "a")
    assert court.convicted() == ""


def test_the_report_of_a_witness_that_has_died_does_not_protect_who_is_silent_later():
    court = Court()
    court.report("d", "a", at=NOW - 100.0)  # it dies, and so takes it back no more
    court.alive -= {"d"}
    court.beat("a", at=NOW - 0.5)
    court.report("b", "a")
    assert court.convicted() == ""
    court.report("c", "a")
    assert court.convicted() == "a"


def test_reports_that_were_there_before_accuse_nobody():
    """A scheduler that starts may find reports of any age."""
    court = Court()
    court.report("e", "a")
    court.report("f", "a")
    court.alive |= {"e", "f"}
    assert court.convicted() == ""


def test_reports_that_are_taken_back_accuse_nobody():
    court = accused()
    court.report("c")
    assert court.convicted() == ""
    assert court.state.accused("a")
    court.state.forget("b")
    assert not court.state.accused("a")


def test_who_was_suspected_wrongly_is_left_alone_ever_longer():
    court = Court()
    assert [court.state.was_wrong("a", NOW) for _ in range(8)][:3] == [60.0, 120.0, 240.0]
    assert court.state.was_wrong("a", NOW) == 3600.0
    court.report("b", "a")
    court.report("c", "a")
    assert court.convicted() == ""
    assert court.state.was_wrong("a", NOW + 8000.0) == 60.0, "that was long ago"


def test_a_node_with_the_name_of_one_that_is_gone_begins_anew():
    """Names of nodes may come and go for years: nothing of one that is gone is kept."""
    court = accused()
    court.state.was_wrong("a", NOW)
    court.state.forget("a")
    assert court.convicted() == ""
    court.beat("a", at=NOW - 1.0, version=1)
    assert court.convicted() == "a"


def test_a_node_that_was_never_heard_is_not_suspected():
    court = Court("b", "c", "d")
    court.alive |= {"a"}
    court.report("b", "a")
    court.report("c", "a")
    assert court.convicted() == ""
