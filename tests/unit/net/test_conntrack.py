"""A look at tracked flows has its bounds, whatever is in the table."""

from ipaddress import ip_address
from unittest.mock import MagicMock

from extip.net import conntrack
from extip.net.ctnetlink import Flow

V4, V6 = ip_address("192.0.2.1"), ip_address("2001:db8::1")


def test_a_table_that_was_filled_from_outside_costs_one_look_no_more_than_some_of_it(monkeypatch):
    asked: list[int] = []

    def flows(_opened, _sequence, version, _wanted):
        asked.append(version)
        return (Flow(V4, n.to_bytes(4, "big")) for n in range(50_000))

    monkeypatch.setattr(conntrack, "open_blocking", MagicMock())
    monkeypatch.setattr(conntrack, "_flows", flows)
    monkeypatch.setattr(conntrack, "_deleted", lambda *_: True)
    assert conntrack._drop(frozenset([V4, V6])) == 10_000
    assert asked == [4], "and not even asked for the other IP version"
