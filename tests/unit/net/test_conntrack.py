"""A look at tracked flows has its bounds, whatever is in the table."""

from ipaddress import ip_address
from types import SimpleNamespace
from unittest.mock import MagicMock

from extip.net import conntrack
from extip.net.ctnetlink import Flow

V4, V6 = ip_address("192.0.2.1"), ip_address("2001:db8::1")


def test_a_table_that_was_filled_from_outside_costs_one_look_no_more_than_some_of_it(monkeypatch):
    opened = MagicMock()
    opened.__enter__.return_value = opened
    fake = SimpleNamespace(
        socket=lambda *_: opened, AF_NETLINK=16, SOCK_RAW=3, SOL_SOCKET=1, SO_RCVBUF=8
    )
    monkeypatch.setattr(conntrack, "socket", fake)
    monkeypatch.setattr(
        conntrack, "_answers", lambda *_: (Flow(V4, n.to_bytes(4, "big")) for n in range(50_000))
    )
    monkeypatch.setattr(conntrack, "_failed", lambda *_: False)
    count = conntrack._drop(frozenset([V4, V6]))
    assert count == 10_000
    assert opened.send.call_count == 1 + count, "and not even asked for the other IP version"
