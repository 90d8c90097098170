"""Names that Kubernetes takes, and that never stand for two nodes."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extip.api.names import heartbeat_lease, is_node_name, label_value, node_of_lease

LABEL_VALUE = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?")
word = st.from_regex(r"[a-z0-9]([-a-z0-9]{0,30}[a-z0-9])?", fullmatch=True)
node_names = st.lists(word, min_size=1, max_size=7).map(".".join)


@pytest.mark.parametrize("name", ["n1", "node.example.org", "10", "a-b.c"])
def test_node_names_may_have_dots(name):
    assert is_node_name(name)
    assert label_value(name) == name


@pytest.mark.parametrize("name", ["", "N1", "n_1", "-n", "n.", "a..b", "n 1", "x" * 243, "n\n"])
def test_what_no_object_could_be_called_is_no_node_name(name):
    assert not is_node_name(name)


@given(node_names)
def test_labels_and_leases_of_any_node_are_valid(name):
    assert is_node_name(name)
    label = label_value(name)
    assert len(label) <= 63
    assert LABEL_VALUE.fullmatch(label)
    assert len(heartbeat_lease(name)) <= 253
    assert node_of_lease(heartbeat_lease(name)) == name


@given(node_names, node_names)
def test_two_nodes_have_two_labels(one, other):
    assert (label_value(one) == label_value(other)) == (one == other)


def test_long_names_that_begin_alike_stay_apart():
    names = [f"{'rack.' * 20}node{number}" for number in range(100)]
    assert len({label_value(name) for name in names}) == 100


def test_other_leases_are_not_taken_for_heartbeats():
    assert node_of_lease("extip-scheduler") is None
    assert node_of_lease("extip-node-") is None
