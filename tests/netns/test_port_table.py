"""Ports of external IPs are closed by the real kernel, for as long as they are to be."""

import asyncio
import json
import socket
import subprocess
import time
from contextlib import ExitStack
from ipaddress import ip_address

import pytest

from extip.net.port_table import PortTable
from tests.lab.wait import wait_until
from tests.netns.namespace import PrivateNamespace

pytestmark = pytest.mark.netns

V4, V6, OTHER = "192.0.2.1", "2001:db8::1", "192.0.2.9"
IPS = [ip_address(V4), ip_address(V6)]
SHORT_S, LONG_S = 1.0, 60.0
# A closed port never answers, and one that is open answers late on a busy machine.
PATIENCE_S, UNANSWERED_S = 10.0, 0.3


@pytest.fixture
def node(namespace: PrivateNamespace) -> PrivateNamespace:
    for ip in (V4, OTHER):
        namespace.ip(f"addr add {ip}/32 dev lo")
    namespace.ip(f"addr add {V6}/128 dev lo nodad")
    return namespace


def close(table: PortTable, *ips, lifetime_s: float = LONG_S) -> None:
    asyncio.run(table.close_ports(ips, lifetime_s=lifetime_s))


def nft(*command: str) -> str:
    return subprocess.run(["nft", *command], check=True, capture_output=True, text=True).stdout


def in_sets() -> set[str]:
    found = json.loads(nft("-j", "list", "table", "inet", "extip"))["nftables"]
    sets = (one["set"] for one in found if "set" in one)
    return {element["elem"]["val"] for one in sets for element in one.get("elem", ())}


def answers(ip: str, *, within_s: float = PATIENCE_S) -> bool:
    """Whether a program of the node that listens at `ip` is reached."""
    family = socket.AF_INET6 if ":" in ip else socket.AF_INET
    with ExitStack() as stack:
        listener = stack.enter_context(socket.create_server((ip, 0), family=family))
        client = stack.enter_context(socket.socket(family))
        client.settimeout(within_s)
        return client.connect_ex(listener.getsockname()[:2]) == 0


def is_closed(ip: str) -> bool:
    return not answers(ip, within_s=UNANSWERED_S)


def refuses_udp(ip: str, *, within_s: float = PATIENCE_S) -> bool:
    """Whether the node's ICMP comes back: a port that nobody has is told of."""
    family = socket.AF_INET6 if ":" in ip else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as opened:
        opened.settimeout(within_s)
        opened.connect((ip, 9))
        opened.send(b"x")
        try:
            opened.recv(1)
        except ConnectionRefusedError:
            return True
        except TimeoutError:
            return False
    return False


def test_only_these_ips_are_closed(node):
    assert all(answers(ip) for ip in (V4, V6, OTHER))
    close(PortTable(), *IPS)
    assert is_closed(V4)
    assert is_closed(V6)
    assert answers(OTHER)
    assert refuses_udp(OTHER)
    assert not any(refuses_udp(ip, within_s=UNANSWERED_S) for ip in (V4, V6))


def test_the_rules_read_as_they_are_meant(node):
    close(PortTable(), *IPS)
    told = nft("list", "table", "inet", "extip")
    for line in (
        "type filter hook input priority 200; policy accept;",
        "ct direction reply accept",
        "meta l4proto != icmp ip daddr @external4 drop",
        "meta l4proto != ipv6-icmp ip6 daddr @external6 drop",
    ):
        assert line in told, told


def test_they_open_at_the_end_of_their_lifetime(node):
    """As after `kill -9`: nothing of the process is left to open them."""
    close(PortTable(), *IPS, lifetime_s=SHORT_S)
    wait_until(lambda: not is_closed(V4) and not is_closed(V6), "the end", timeout=20)
    assert in_sets() == set()


def test_a_refresh_begins_the_lifetime_anew_and_takes_others_out(node):
    table = PortTable()
    close(table, *IPS, lifetime_s=SHORT_S)
    began_s = time.monotonic()
    close(table, ip_address(V4))
    assert in_sets() == {V4}
    wait_until(lambda: time.monotonic() > began_s + 2 * SHORT_S, "the first lifetime", timeout=20)
    assert is_closed(V4)
    assert answers(V6)


def test_a_table_that_somebody_deleted_is_made_again(node):
    table = PortTable()
    close(table, *IPS)
    nft("flush", "ruleset")
    close(table, *IPS)
    assert in_sets() == {V4, V6}


@pytest.mark.parametrize("command", ["flush table inet extip", "flush chain inet extip input"])
def test_rules_that_somebody_flushed_are_made_again(node, command):
    """The table is there, with the IPs in its sets, and closes nothing."""
    table = PortTable()
    close(table, *IPS)
    nft(*command.split())
    assert answers(V4)
    for _ in range(2):
        close(table, *IPS)
        assert nft("list", "chain", "inet", "extip", "input").count("drop") == 2
    assert is_closed(V4)
    assert is_closed(V6)


def test_a_chain_that_somebody_deleted_is_made_again(node):
    table = PortTable()
    close(table, *IPS)
    nft("flush", "chain", "inet", "extip", "input")
    nft("delete", "chain", "inet", "extip", "input")
    close(table, *IPS)
    assert is_closed(V4)


def test_the_table_of_an_earlier_process_is_taken_over(node):
    close(PortTable(), *IPS)
    close(PortTable(), ip_address(V4))
    assert in_sets() == {V4}
    assert nft("list", "chain", "inet", "extip", "input").count("drop") == 2


def test_many_ips_are_one_transaction(node):
    many = [ip_address(f"10.{n >> 8}.{n & 255}.1") for n in range(3000)]
    close(PortTable(), *many)
    assert len(in_sets()) == 3000


def test_it_is_gone_when_it_is_removed_and_may_be_gone_before(node):
    table = PortTable()
    asyncio.run(table.remove())
    close(table, *IPS)
    asyncio.run(table.remove())
    assert "extip" not in nft("list", "tables")
    assert answers(V4)


def test_what_a_killed_process_left_is_taken_away(node):
    """Its sets are empty or not: the one that takes it away is alone, and closes nothing."""
    close(PortTable(), *IPS)
    assert asyncio.run(PortTable().remove_leftover())
    assert "extip" not in nft("list", "tables")
    assert answers(V4)
    close(PortTable())
    assert asyncio.run(PortTable().remove_leftover())
    assert not asyncio.run(PortTable().remove_leftover())
    assert "extip" not in nft("list", "tables")


def test_a_table_of_the_same_name_that_is_not_ours_stays(node):
    nft("add table inet extip; add set inet extip external4 { type ipv4_addr; }")
    assert not asyncio.run(PortTable().remove_leftover())
    assert "external4" in nft("list", "table", "inet", "extip")
