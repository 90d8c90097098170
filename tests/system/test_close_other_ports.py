"""With `--close-other-ports` an external IP answers at the ports of its services alone."""

import socket
import struct

import pytest

from tests.lab.objects import BACKEND_PORT
from tests.lab.wait import wait_until

V4, V6 = "10.88.3.210", "fd00:88::3:210"
TTL_S = 3
NODES_OWN_PORT = BACKEND_PORT
"""A program of the node listens there at all of its addresses, as sshd does at its port."""


def reaches(host, ip, port):
    """Whether a connection comes about; a closed port says nothing."""
    try:
        host.connect(ip, port, timeout=1.0).close()
    except OSError:
        return False
    return True


def answers_echo(host, ip):
    """Whether the IP answers a ping."""
    v6 = ":" in ip
    family, protocol = (
        (socket.AF_INET6, socket.IPPROTO_ICMPV6) if v6 else (socket.AF_INET, socket.IPPROTO_ICMP)
    )
    kind, sequence = (128, 7) if v6 else (8, 7)
    checksum = 0xFFFF - (kind << 8) - sequence  # the kernel makes that of IPv6
    request = struct.pack(">BBHHH", kind, 0, checksum, 0, sequence)
    with host.open_socket(family, socket.SOCK_RAW, protocol) as opened:
        opened.settimeout(5)
        opened.sendto(request, (ip, 0))
        return bool(opened.recv(2048))


def closed(node):
    told = node.run(["nft", "list", "table", "inet", "extip"], check=False).stdout
    return "elements" in told


@pytest.fixture
def extip(lab, node, namespace, simple):
    """Run it in n1, with a service that has an IP of each family."""
    lab.add_service("web", [V4, V6], namespace=namespace)
    started = simple("--close-other-ports", "--resync=1s", f"--address-ttl={TTL_S}s")
    started.wait_for_addresses(f"{V4}/32", f"{V6}/128")
    for ip in (V4, V6):
        lab.wait_for_http(ip)
    yield started
    node.run(["nft", "delete", "table", "inet", "extip"], check=False)


def test_a_port_of_the_node_is_reached_at_its_own_address_alone(lab, node, extip):
    wait_until(lambda: closed(node), "the ports to be closed")
    for ip, own in ((V4, node.ip), (V6, node.ip6)):
        assert lab.client.http_get(ip)
        assert not reaches(lab.client, ip, NODES_OWN_PORT)
        assert reaches(lab.client, own, NODES_OWN_PORT)
        assert answers_echo(lab.client, ip)
    extip.process.terminate()
    assert "extip" not in node.run(["nft", "list", "tables"]).stdout


def test_ports_open_after_a_kill_when_the_addresses_are_gone(node, extip, simple):
    wait_until(lambda: closed(node), "the ports to be closed")
    extip.process.kill()
    extip.wait_for_addresses()
    wait_until(lambda: not closed(node), "the ports to open")
    assert "extip" in node.run(["nft", "list", "tables"]).stdout
    simple().wait_for_event("ports_opened")
    assert "extip" not in node.run(["nft", "list", "tables"]).stdout


def test_without_the_flag_nothing_is_filtered(lab, node, namespace, simple):
    lab.add_service("web", [V4], namespace=namespace)
    simple()
    lab.wait_for_http(V4)
    assert reaches(lab.client, V4, NODES_OWN_PORT)
    assert "extip" not in node.run(["nft", "list", "tables"]).stdout
