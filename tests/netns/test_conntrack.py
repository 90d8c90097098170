"""Flows that the kernel tracks: untranslated UDP to our IPs goes, and nothing else does."""

import asyncio
import contextlib
import socket
import subprocess
import time
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from ipaddress import ip_address

import pytest

from extip.net.conntrack import FlowTable
from tests.netns.namespace import PrivateNamespace

pytestmark = pytest.mark.netns

V4, V4_TOO, V6 = "192.0.2.1", "192.0.2.2", "2001:db8::1"
TRANSLATED = "192.0.2.3"
RULES = f"""
table inet t {{
  chain output {{
    type nat hook output priority -100
    ip daddr {TRANSLATED} udp dport 53 dnat ip to {V4}:54
  }}
  chain tracked {{
    type filter hook output priority 0
    ct state new accept
  }}
}}
"""


@pytest.fixture
def tracked(namespace: PrivateNamespace) -> PrivateNamespace:
    """Have connections tracked, and all these IPs here."""
    for ip in (V4, V4_TOO, TRANSLATED):
        namespace.ip(f"addr add {ip}/32 dev lo")
    namespace.ip(f"addr add {V6}/128 dev lo nodad")
    add_rules(RULES)
    return namespace


def add_rules(text: str) -> None:
    subprocess.run(["nft", "-f", "-"], input=text, text=True, check=True)


def send(stack: ExitStack, ip: str, port: int = 53, kind: int = socket.SOCK_DGRAM) -> socket.socket:
    family = socket.AF_INET6 if ":" in ip else socket.AF_INET
    opened = stack.enter_context(socket.socket(family, kind))
    opened.connect_ex((ip, port))
    if kind == socket.SOCK_DGRAM:
        opened.send(b"x")
    return opened


def entries() -> Counter[tuple[str, str]]:
    """Return protocol and original target of what is tracked."""
    found: list[tuple[str, str]] = []
    for family in ("ipv4", "ipv6"):
        listed = subprocess.run(
            ["conntrack", "-L", "-f", family], capture_output=True, text=True, check=True
        )
        for line in listed.stdout.splitlines():
            target = next(word[4:] for word in line.split() if word.startswith("dst="))
            found.append((line.split()[0], str(ip_address(target))))
    return Counter(found)


async def test_untranslated_udp_to_the_ips_goes_and_nothing_else(
    tracked: PrivateNamespace,
) -> None:
    with ExitStack() as stack:
        listener = stack.enter_context(socket.create_server((V4, 80)))
        for ip, port in ((V4, 53), (V4, 55), (V6, 53), (V4_TOO, 53), (TRANSLATED, 53)):
            send(stack, ip, port)
        send(stack, V4, 80, socket.SOCK_STREAM)
        assert listener.getsockname()[1] == 80
        before = entries()
        assert before[("udp", V4)] == 2
        ips = [ip_address(ip) for ip in (V4, V6, TRANSLATED)]
        assert await FlowTable().drop_untranslated(ips) == 3
        assert entries() == before - Counter({("udp", V4): 2, ("udp", V6): 1})
        assert await FlowTable().drop_untranslated(ips) == 0


async def test_a_client_that_goes_on_from_one_socket_is_answered_after_its_flow_was_dropped(
    tracked: PrivateNamespace,
) -> None:
    """What kube-proxy does with a service comes after the first packets, and is not for them."""
    rule = f"add rule inet t output ip daddr {V4_TOO} udp dport 53 dnat ip to {V4}:54"

    def is_answered(client: socket.socket) -> bool:
        with contextlib.suppress(OSError):  # what ICMP said of an earlier one
            client.send(b"x")
        with contextlib.suppress(BlockingIOError):
            server.send(server.recvfrom(16)[0])
            return client.recv(16) == b"x"
        return False

    with ExitStack() as stack:
        server = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        server.bind((V4, 54))
        client = send(stack, V4_TOO)
        server.connect((V4_TOO, client.getsockname()[1]))
        for opened in (client, server):
            opened.settimeout(0)
        add_rules(rule)
        assert not any(is_answered(client) for _ in range(5))
        assert await FlowTable().drop_untranslated([ip_address(V4_TOO)]) == 1
        assert is_answered(client)


async def test_where_nothing_is_tracked_nothing_is_done(namespace: PrivateNamespace) -> None:
    namespace.ip(f"addr add {V4}/32 dev lo")
    assert await FlowTable().drop_untranslated([ip_address(V4)]) == 0


async def test_a_large_table_does_not_hold_the_loop_up(
    tracked: PrivateNamespace, record_property: Callable[[str, object], None]
) -> None:
    """As many flows to elsewhere as a busy resolver has."""
    count = 20_000
    tracked.ip("addr add 198.18.0.0/15 dev lo")
    longest_s = 0.0
    done = False

    async def turn() -> None:
        nonlocal longest_s
        while not done:
            began = time.monotonic()
            await asyncio.sleep(0.001)
            longest_s = max(longest_s, time.monotonic() - began)

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as opened, ExitStack() as stack:
        for number in range(count):
            opened.sendto(b"x", (f"198.18.{number >> 8 & 255}.{number & 255}", 53))
        send(stack, V4)
        turning = asyncio.get_running_loop().create_task(turn())
        began = time.monotonic()
        dropped = await FlowTable().drop_untranslated([ip_address(V4)])
        took_s = time.monotonic() - began
        done = True
        await turning
    assert dropped == 1
    record_property("flows", f"{count}: {took_s:.3f} s, the loop held up {longest_s:.3f} s")
    assert longest_s < max(0.5, took_s / 2)
