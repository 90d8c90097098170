"""Cuts of the lab that are not of all frames."""

import socket
from collections.abc import Iterator
from contextlib import ExitStack, suppress

import pytest

from tests.lab.cluster import Lab
from tests.lab.network import CLIENT, Cut, lan_mac, lan_v4
from tests.lab.node import Node

DATAGRAMS = 200


@pytest.fixture
def pair(lab: Lab, node: Node) -> Iterator[tuple[socket.socket, socket.socket]]:
    """Open a socket on a node and one on the client; each knows the other's MAC."""
    hosts = ((node, node.ip, node.mac), (lab.client, lan_v4(CLIENT), lan_mac(CLIENT)))
    with ExitStack() as stack:
        sockets = []
        for (host, ip, _), (_, other_ip, other_mac) in zip(hosts, reversed(hosts), strict=True):
            entry = ["neigh", "replace", other_ip, "lladdr", other_mac, "nud", "permanent"]
            host.run(["ip", *entry, "dev", "eth0"])
            stack.callback(host.run, ["ip", "neigh", "del", other_ip, "dev", "eth0"])
            opened = stack.enter_context(host.open_socket(socket.AF_INET, socket.SOCK_DGRAM))
            opened.bind((ip, 0))
            opened.settimeout(1.0)
            sockets.append(opened)
        yield sockets[0], sockets[1]


def arrived(sender: socket.socket, receiver: socket.socket, count: int = 1) -> int:
    """Send datagrams, return how many arrive."""
    for _ in range(count):
        sender.sendto(b"x", receiver.getsockname())
    received = 0
    with suppress(TimeoutError):
        while received < count:
            received += len(receiver.recv(1))
    return received


@pytest.mark.parametrize("how", ["mute", "deaf", "cut"])
def test_a_cut_may_be_of_one_direction(
    pair: tuple[socket.socket, socket.socket], node: Node, how: Cut
) -> None:
    here, there = pair
    assert (arrived(here, there), arrived(there, here)) == (1, 1)
    node.cut("lan", how=how)
    assert arrived(here, there) == (how == "deaf")
    assert arrived(there, here) == (how == "mute")
    node.heal()
    assert (arrived(here, there), arrived(there, here)) == (1, 1)


def test_a_port_may_lose_some_frames_in_both_directions(
    pair: tuple[socket.socket, socket.socket], node: Node
) -> None:
    node.cut("lan", how="lossy")
    for sender, receiver in (pair, reversed(pair)):
        assert 0.5 * DATAGRAMS < arrived(sender, receiver, DATAGRAMS) < 0.95 * DATAGRAMS
