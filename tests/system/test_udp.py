"""UDP clients that send before kube-proxy knows the IP are answered, from the same socket."""

import contextlib
import select
import socket
import sys
import time
from contextlib import ExitStack

import pytest

from tests.lab.extip import Extip

IPS = {4: "10.88.1.211", 6: "fd00:88::1:211"}
PORT, TARGET_PORT = 5300, 5353
ANSWERED_S = 60.0
"""Twenty seconds and a few, on a loaded machine; without the mend it is never."""

ECHO = """
import socket, sys
opened = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
opened.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
opened.bind(("::", int(sys.argv[1])))
while True:
    data, client = opened.recvfrom(2048)
    opened.sendto(data, client)
"""


@pytest.fixture
def echoes(lab):
    """Have the pods of all nodes answer UDP, too."""
    command = [sys.executable, "-I", "-S", "-c", ECHO, str(TARGET_PORT)]
    started = [node.pods.start(command, name="echo") for node in lab.nodes.values()]
    yield
    for process in started:
        process.kill()
        process.wait()


class Clients:
    """Each sends from a socket of its own, all the time."""

    def __init__(self, lab, stack):
        self._sockets = []
        for version, ip in IPS.items():
            family = socket.AF_INET6 if version == 6 else socket.AF_INET
            for _ in range(4):
                opened = lab.client.open_socket(family, socket.SOCK_DGRAM)
                stack.enter_context(opened)
                opened.settimeout(0)
                opened.connect((ip, PORT))
                self._sockets.append(opened)
        self.answered = set()

    def send(self):
        """Have each of them send once, and look for answers for 20 ms."""
        for opened in self._sockets:
            with contextlib.suppress(OSError):  # what ICMP said of an earlier one
                opened.send(b"x")
        for opened in select.select(self._sockets, [], [], 0.02)[0]:
            with contextlib.suppress(OSError):
                opened.recv(2048)
                self.answered.add(opened)

    def send_for(self, seconds):
        deadline_s = time.monotonic() + seconds
        while time.monotonic() < deadline_s and not self.all_answered:
            self.send()

    @property
    def all_answered(self):
        return len(self.answered) == len(self._sockets)


def service_port(number):
    return {"name": "u", "protocol": "UDP", "port": number, "targetPort": TARGET_PORT}


def test_udp_from_one_socket_is_answered_once_the_service_is_there(lab, namespace, echoes):
    """Of clients that were sending all along; what the service's port is changes meanwhile."""
    extip = Extip(lab.nodes["n1"], "simple", "--probe=0s", kubeconfig=lab.kubeconfig)
    extip.wait_for_event("reconcile_succeeded")
    ips = list(IPS.values())
    with ExitStack() as stack:
        clients = Clients(lab, stack)
        clients.send_for(0.5)
        ports = [service_port(PORT + 1)]
        lab.add_service("udp", ips, namespace=namespace, spec={"ports": ports})
        clients.send_for(6)
        assert not clients.answered, "nobody serves that port yet"
        lab.api.request(
            "PATCH",
            f"/api/v1/namespaces/{namespace}/services/udp",
            [{"op": "replace", "path": "/spec/ports/0/port", "value": PORT}],
            content_type="application/json-patch+json",
        )
        clients.send_for(ANSWERED_S)
        assert clients.all_answered, f"{len(clients.answered)} answered"
    assert extip.events("udp_flows_dropped")
    assert extip.process.terminate() == 0
