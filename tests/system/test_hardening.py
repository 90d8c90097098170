"""What extip says and does in hostile surroundings: readers of its log, clients, old kernels."""

import json
import secrets
import socket
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.lab.deletions import Deletions
from tests.lab.extip import HTTP_PORT, MARK, Extip
from tests.lab.network import external_v4, external_v6
from tests.lab.wait import wait_until

IP, IP6 = external_v4(0), external_v6(0)
BOTH = (f"{IP}/32", f"{IP6}/128")
METRIC = 225225
SOON_S = 30
"""On a loaded machine. Who waited for hundreds of connections, 10 s each, would take an hour."""


@pytest.fixture
def web(lab, namespace):
    lab.add_service("web", [IP, IP6], namespace=namespace)


# Secrets.

PROXY = """
import base64, os, socket, sys, threading

port, expected, mode = int(sys.argv[1]), sys.argv[2].encode(), sys.argv[3]

def pump(source, sink):
    try:
        while data := source.recv(65536):
            sink.sendall(data)
    except OSError:
        pass
    for end in (source, sink):
        try:
            end.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass

def serve(client):
    head = b""
    while b"\\r\\n\\r\\n" not in head:
        data = client.recv(65536)
        if not data:
            return
        head += data
    known = b"Basic " + base64.b64encode(expected)
    if not os.path.exists(mode) or known not in head:
        client.sendall(b"HTTP/1.1 407 Who are you\\r\\nContent-Length: 0\\r\\n\\r\\n")
        client.close()
        return
    host, _, number = head.split()[1].decode().rpartition(":")
    server = socket.create_connection((host, int(number)))
    client.sendall(b"HTTP/1.1 200 OK\\r\\n\\r\\n")
    threading.Thread(target=pump, args=(client, server), daemon=True).start()
    pump(server, client)

with socket.create_server(("127.0.0.1", port)) as listening:
    while True:
        threading.Thread(target=serve, args=(listening.accept()[0],), daemon=True).start()
"""

PROXY_PORT = 3128


def test_no_secret_is_logged_at_any_level(lab, node, web):
    """Token from an exec plugin, client key, password of a proxy; while all is well and while not.

    The plugin fails, the API server refuses its token, the proxy refuses, and then all is well.
    """
    admin = json.loads(Path(lab.kubeconfig).read_text())
    token = admin["users"][0]["user"]["token"]
    password, argument = (f"pass{secrets.token_hex(8)}", f"arg{secrets.token_hex(8)}")
    key = Path(admin["clusters"][0]["cluster"]["certificate-authority"]).with_suffix(".key")
    assert key.exists()
    answer, open_mode = Path("/run/extip-answer"), Path("/run/extip-proxy-open")

    def give(granted: str) -> None:
        credential = {
            "apiVersion": "client.authentication.k8s.io/v1",
            "kind": "ExecCredential",
            "status": {"token": granted},
        }
        node.write_file(str(answer), json.dumps(credential))

    plugin = f"cat {answer}"
    user = {
        "exec": {
            "apiVersion": "client.authentication.k8s.io/v1",
            "command": "/bin/sh",
            "args": ["-c", plugin, "sh", argument],
            "env": [{"name": "PLUGIN_SECRET", "value": argument}],
        },
        "client-certificate": str(key.with_suffix(".crt")),
        "client-key": str(key),
    }
    written = _with(admin, user, f"http://extip:{password}@127.0.0.1:{PROXY_PORT}")
    node.write_file("/run/extip-kubeconfig", json.dumps(written))
    proxy = node.start(
        ["python3", "-c", PROXY, str(PROXY_PORT), f"extip:{password}", str(open_mode)],
        name="proxy",
    )
    wait_until(lambda: _listens(node, PROXY_PORT), "the proxy to listen")

    def start(form: str) -> Extip:
        flags = ("--log-level=debug", f"--log-format={form}")
        return Extip(node, "simple", *flags, kubeconfig="/run/extip-kubeconfig")

    failed = start("console")
    assert failed.process.wait() == 2
    assert "exec: process returned 1" in failed.process.output()

    give("refused-" + token[::-1])
    node.write_file(str(open_mode), "")
    refused = start("json")
    refused.process.wait_for_output("does not accept the credentials")
    assert refused.process.terminate() == 0

    give(token)
    node.run(["rm", str(open_mode)])
    extip = start("console")
    extip.process.wait_for_output("the proxy before .* answers 407")
    node.write_file(str(open_mode), "")
    extip.wait_for_addresses(*BOTH)
    metrics = extip.http("/metrics")
    assert extip.process.terminate() == 0
    proxy.kill()
    node.run(["rm", "-f", str(answer), str(open_mode), "/run/extip-kubeconfig"])
    said = metrics + "".join(e.process.output() for e in (failed, refused, extip))
    body = key.read_text().splitlines()[1]
    for secret in (token, token[::-1], password, argument, body, "PLUGIN_SECRET"):
        assert secret not in said
    assert "Traceback" not in said


def _with(kubeconfig, user, proxy):
    """Return the kubeconfig with another user and a proxy."""
    (named_user,), (cluster,) = kubeconfig["users"], kubeconfig["clusters"]
    return {
        **kubeconfig,
        "users": [{**named_user, "user": user}],
        "clusters": [{**cluster, "cluster": {**cluster["cluster"], "proxy-url": proxy}}],
    }


def _listens(node, port):
    try:
        node.connect("127.0.0.1", port).close()
    except OSError:
        return False
    return True


# Clients of the HTTP endpoint.


def test_slow_and_many_clients_do_no_harm(lab, node, namespace):
    """Hundreds hold a connection each, one byte a moment, while addresses come and go."""
    lab.add_service("web", [IP], namespace=namespace)
    extip = Extip(node, "simple", "--resync=2s", kubeconfig=lab.kubeconfig)
    extip.wait_for_addresses(BOTH[0])
    listening = node.run(["ss", "-Hltn", f"sport = {HTTP_PORT}"]).stdout.split()
    assert listening[3] == f"127.0.0.1:{HTTP_PORT}"
    before = _descriptors(extip)
    with ExitStack() as stack:
        slow = [stack.enter_context(_half_asked(node)) for _ in range(300)]
        for number in range(5):
            for connection in slow:
                _trickle(connection)
            _serves_on(lab, node, extip, namespace, number)
            assert _descriptors(extip) - before < 60
    wait_until(lambda: extip.http("/readyz") == "ok", "ready")
    wait_until(lambda: _descriptors(extip) <= before + 2, "all connections to be gone")
    assert extip.process.terminate() == 0


def _serves_on(lab, node, extip, namespace, number):
    """Bring a service up, have an address put back, ask for liveness; each as soon as ever."""
    ips = [external_v4(n) for n in range(number * 20, number * 20 + 20)]
    wanted = {f"{ip}/32" for ip in ips}
    lab.add_service(f"more{number}", ips, namespace=namespace)
    wait_until(lambda: wanted <= extip.addresses(), "the addresses", timeout=SOON_S)
    node.run(["ip", "address", "del", f"{ips[0]}/32", "dev", "eth0"])
    wait_until(lambda: wanted <= extip.addresses(), "its return", timeout=SOON_S)
    assert extip.http("/livez") == "ok"
    lab.delete_service(f"more{number}", namespace=namespace)


def _descriptors(extip):
    return len(list(Path(f"/proc/{extip.process.pid}/fd").iterdir()))


def _half_asked(node):
    connection = node.connect("127.0.0.1", HTTP_PORT)
    connection.sendall(b"GET /metrics HTTP/1.1\r\nHost: x\r\n")
    return connection


def _trickle(connection):
    try:
        connection.send(b"A", socket.MSG_NOSIGNAL | socket.MSG_DONTWAIT)
    except OSError:
        return  # cut off, as it should be


# A kernel without IFA_PROTO.


def on_an_old_kernel(lab, node, *flags):
    """Start extip as it runs before Linux 5.18: uname(2) says so, and that is what it goes by."""
    return node.start(
        ["setarch", "--uname-2.6", "extip", "simple", f"--kubeconfig={lab.kubeconfig}", *flags],
        name="extip-old-kernel",
    )


def by_metric(node):
    """Return the addresses on eth0 with extip's metric; none of them has its protocol."""
    marked = {str(a.interface) for a in node.addresses("eth0") if a.proto == MARK}
    assert marked == set()
    (link,) = node.ip_json("address", "show", "dev", "eth0")
    return {
        f"{a['local']}/{a['prefixlen']}" for a in link["addr_info"] if a.get("metric") == METRIC
    }


def test_without_the_protocol_mark_it_knows_its_own_after_a_kill(lab, node, namespace):
    """It adopts, refreshes and removes its own, and of others not even those with its metric."""
    lab.add_service("web", [IP, IP6], namespace=namespace)
    theirs = "10.99.0.1/24"
    node.run(["ip", "address", "add", theirs, "dev", "eth0", "metric", str(METRIC)])
    try:
        extip = on_an_old_kernel(lab, node, "--address-ttl=1h", "--resync=1s")
        wait_until(lambda: by_metric(node) == {*BOTH, theirs}, "the addresses")
        assert "metric 225225" in extip.output()
        deletions = Deletions(node)
        extip.kill()
        extip.wait()
        extip = on_an_old_kernel(lab, node, "--address-ttl=1h", "--resync=1s")
        extip.wait_for_output("reconcile_succeeded")
        assert by_metric(node) == {*BOTH, theirs}
        assert deletions.so_far() == []
        assert extip.terminate() == 0
        assert by_metric(node) == {theirs}
    finally:
        node.run(["ip", "address", "del", theirs, "dev", "eth0"])
