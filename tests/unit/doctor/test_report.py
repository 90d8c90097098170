"""The gravest finding comes first; each says what, why and what to do."""

from dataclasses import replace

from extip.doctor.policy.report import as_text, examine
from tests.unit.doctor.test_cluster_checks import WELL
from tests.unit.doctor.test_node_checks import CLUSTER, GOOD


def test_findings_of_both_kinds_come_in_order_of_gravity():
    cluster = replace(CLUSTER, others=frozenset({"metallb-speaker"}))
    node = replace(GOOD, capabilities=0, kernel=(5, 10))
    found = examine(cluster, [node])
    assert [one.severity.value for one in found] == ["error", "warning", "note"]
    assert [one.check for one in examine(None, [node])] == ["capabilities", "kernel"]
    assert [one.check for one in examine(cluster)] == ["other software"]


def test_the_text_has_a_paragraph_for_each_and_counts():
    found = examine(CLUSTER, [replace(GOOD, capabilities=0, kernel=(5, 10))])
    lines = as_text(found, unread=["other software: may not"], colour=False).splitlines()
    assert lines[0] == "ERROR capabilities: this process lacks CAP_NET_ADMIN and CAP_NET_RAW"
    assert lines[1].startswith("  why: a controller")
    assert lines[2].startswith("  do:  run it as root")
    assert "not checked: other software: may not" in lines
    assert lines[-1] == "1 error, 1 note"
    assert as_text([], unread=(), colour=False) == "nothing is wrong\n"
    not_all = as_text([], unread=["the cluster: no such file"], colour=False)
    assert not_all.endswith("\n\nnothing is wrong in what was checked\n")


def test_errors_are_red_where_there_are_colours():
    found = examine(WELL, [replace(GOOD, capabilities=0)])
    assert as_text(found, unread=(), colour=True).startswith("\x1b[31mERROR capabilities")
