"""Where an IP is, told to the users of its service and to programs outside, on a real cluster."""

import json
import re
import socket
import threading
from collections import deque
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from tests.lab.network import API_SERVER_IP
from tests.lab.wait import wait_until
from tests.system.pooled_cluster import DUAL, LOAD_BALANCER, PooledCluster, pool

SCRIPT = Path(__file__).parents[2] / "docs/tell-hoster.sh"
V4, V6 = "10.88.7.1", "fd00:88::7:1"
PORT = 8089


@pytest.fixture
def cluster(lab, namespace):
    """Three controllers, one scheduler and a pool of each family."""
    made = PooledCluster(lab, namespace)
    made.install()
    made.start()
    lab.apply(pool("v4", "10.88.7.0/25"))
    lab.apply(pool("v6", "fd00:88::7:0/112"))
    yield made
    made.end()
    made.clean_up()


def up(cluster, name):
    return [message for reason, message in cluster.events(name) if reason == "AddressUp"]


def test_a_service_is_told_where_its_ips_are_and_why_they_moved(cluster, lab):
    cluster.add("web", **LOAD_BALANCER, **DUAL)
    cluster.wait_ingress("web", V4, V6)
    cluster.wait_settled(V4, V6)
    before = cluster.placed()
    for ip in (V4, V6):
        assert lab.wait_for_http(ip) in lab.nodes
        told = f"{ip} is on {before[ip]}, eth0"
        wait_until(lambda: any(told in message for message in up(cluster, "web")), told)  # noqa: B023

    victim = before[V4]
    cluster.controllers.pop(victim).process.kill()
    wait_until(lambda: cluster.placed()[V4] not in ("", victim), "the move")
    cluster.wait_settled(V4, V6)
    for ip in (ip for ip, node in before.items() if node == victim):
        assert lab.wait_for_http(ip) in lab.nodes
        told = f"{ip} is on {cluster.placed()[ip]}, eth0, and left {victim}: its controller sent no"
        wait_until(lambda: any(told in message for message in up(cluster, "web")), told)  # noqa: B023


def test_simple_mode_tells_a_service_where_its_ips_are(lab, namespace, simple):
    told = PooledCluster(lab, namespace)
    lab.add_service("web", ["10.88.1.1", "fd00:88::1:1"], namespace=namespace)
    simple(node="n2").wait_for_addresses("10.88.1.1/32", "fd00:88::1:1/128")
    for ip in ("10.88.1.1", "fd00:88::1:1"):
        assert lab.wait_for_http(ip) in lab.nodes
        wait_until(lambda: any(f"{ip} is on " in m for m in up(told, "web")), f"{ip} to be told")  # noqa: B023


def test_the_claims_of_a_service_are_found_by_a_label(cluster, lab):
    cluster.add("web", **LOAD_BALANCER, **DUAL)
    cluster.add("other", **LOAD_BALANCER, port=81)
    cluster.wait_settled(V4, V6, "10.88.7.2")

    def found(name):
        label = f"{cluster.namespace}.service.ipcontroller.ext/{name}"
        items = lab.kubectl_json("get", "ipc", "-l", label)["items"]
        return {item["spec"]["cidr"].split("/")[0] for item in items}

    assert found("web") == {V4, V6}
    assert found("other") == {"10.88.7.2"}
    lab.kubectl(
        "label", "ipc", "10-88-7-1-25", f"{cluster.namespace}.service.ipcontroller.ext/web-"
    )
    wait_until(lambda: found("web") == {V4, V6}, "the label to be there again")


def test_many_arrivals_are_told_on_nodes_and_few_on_services(cluster, lab):
    names = [f"s{n}" for n in range(40)]
    late = {"annotations": {"ipcontroller.ext/pool": "late"}}
    for name in names:
        cluster.add(name, **LOAD_BALANCER, metadata=late)
    lab.apply(pool("late", "10.88.7.128/25"))  # now all get an address at once
    wait_until(lambda: len(cluster.up()) == len(names), "all to be up")

    def told_on_nodes():
        events = lab.api.get("/api/v1/namespaces/default/events")["items"]
        messages = [
            event["message"]
            for event in events
            if event["reason"] == "AddressUp" and event["involvedObject"]["kind"] == "IpNode"
        ]
        return sum(int(m[1]) for text in messages if (m := re.match(r"(\d+) IPs came up", text)))

    wait_until(lambda: told_on_nodes() > 20, "the nodes to be told")
    assert sum(len(up(cluster, name)) for name in names) <= len(names) - 20

    victim = "n1"
    moving = sum(node == victim for node in cluster.placed().values())
    assert 0 < moving <= 20
    cluster.controllers.pop(victim).process.kill()
    wait_until(lambda: victim not in cluster.placed().values(), "the moves")
    news = f"and left {victim}: its controller sent no"
    wait_until(
        lambda: sum(any(news in m for m in up(cluster, name)) for name in names) == moving,
        "the services to be told",
    )
    assert lab.wait_for_http("10.88.7.129") in lab.nodes


class Hoster:
    """A hoster's API in the lab: knows the server of each IP, and may be out of order."""

    def __init__(self, host):
        self.routes: dict[str, str] = {}
        self.broken = False
        self.calls: deque[tuple[str, str]] = deque(maxlen=1000)
        hoster = self

        class Handler(BaseHTTPRequestHandler):
            def do_PUT(self):
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                ip = self.path.removeprefix("/ips/")
                hoster.calls.append((ip, self.headers["Authorization"]))
                if not hoster.broken:
                    hoster.routes[ip] = body["server"]
                self.send_response(503 if hoster.broken else 200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_args):
                pass

        self.server = HTTPServer(("127.0.0.1", 0), Handler, bind_and_activate=False)
        self.server.socket.close()
        self.server.socket = host.open_socket(socket.AF_INET)
        self.server.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.server.socket.bind((API_SERVER_IP, PORT))
        self.server.socket.listen(16)

    @contextmanager
    def serving(self):
        thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.1})
        thread.start()
        try:
            yield self
        finally:
            self.server.shutdown()
            thread.join()
            self.server.server_close()


def test_the_script_tells_a_hoster_of_every_move_also_after_its_api_was_away(cluster, lab):
    cluster.add("web", **LOAD_BALANCER, **DUAL)
    cluster.wait_settled(V4, V6)
    with Hoster(lab.switch).serving() as hoster:
        script = lab.switch.start(
            ["bash", SCRIPT],
            env={
                "HOSTER_API": f"http://{API_SERVER_IP}:{PORT}/ips",
                "HOSTER_TOKEN": "secret",
                "EVERY": "1",
                "KUBECTL": str(lab.binaries.kubectl),
                "KUBECONFIG": str(lab.kubeconfig),
            },
        )
        try:
            wait_until(lambda: hoster.routes == cluster.placed(), "both IPs to be told")
            assert {who for _, who in hoster.calls} == {"Bearer secret"}
            hoster.broken = True
            before = len(hoster.calls)
            victim = cluster.placed()[V4]
            cluster.controllers.pop(victim).process.kill()
            wait_until(lambda: len(hoster.calls) >= before + 2, "a move to be told in vain")
            cluster.wait_settled(V4, V6)
            assert hoster.routes[V4] == victim
            hoster.broken = False
            wait_until(lambda: hoster.routes == cluster.placed(), "the moves to be told")
            assert lab.wait_for_http(V4) in lab.nodes
            assert lab.wait_for_http(V6) in lab.nodes
            calls = len(hoster.calls)
            cluster.wait_settled(V4, V6)
            assert len(hoster.calls) == calls, "nothing is told twice"
        finally:
            script.kill()
            script.wait()
