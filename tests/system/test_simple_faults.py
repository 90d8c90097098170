"""What `extip simple` does when the process, the interface or the API server fails."""

import signal
import time
from collections import Counter

import pytest

from tests.lab.deletions import Deletions
from tests.lab.extip import Extip
from tests.lab.silence import silenced
from tests.lab.wait import wait_until

IP, IP6 = "10.88.1.1", "fd00:88::1:1"
SECOND = "10.88.1.2"
BOTH = (f"{IP}/32", f"{IP6}/128")
TTL_S = 9
"""Of addresses that are to stay: refreshed every third of it, they outlive a machine that stands
still for a while."""
AWAY_S = 6.0
"""How long the API server is away: several resyncs, and requests that fail."""


@pytest.fixture
def web(lab, namespace):
    lab.add_service("web", [IP, IP6], namespace=namespace)


# The process.


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_an_orderly_stop_removes_the_addresses(web, simple, number):
    extip = simple("--address-ttl=1h")
    extip.wait_for_addresses(*BOTH)
    extip.process.kill(number)
    assert extip.process.wait() == 0
    assert extip.addresses() == set()
    assert len(extip.events("stopping", signal=number.name)) == 1


def test_an_orderly_stop_can_leave_them_to_their_lifetime(web, simple):
    extip = simple("--on-exit=keep", f"--address-ttl={TTL_S}s")
    extip.wait_for_addresses(*BOTH)
    assert extip.process.terminate() == 0
    assert extip.addresses() == set(BOTH)
    extip.wait_for_addresses()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
def test_the_kernel_withdraws_when_the_process_cannot(web, simple, lab, number):
    """Killed or hung, no code of ours has to run for the addresses to go."""
    extip = simple("--address-ttl=3s")
    extip.wait_for_addresses(*BOTH)
    extip.wait_for_refresh(*BOTH, ttl_s=3)  # they live only because of that
    extip.process.kill(number)
    extip.wait_for_addresses()
    if number is signal.SIGSTOP:
        extip.process.thaw()
        extip.wait_for_addresses(*BOTH)


def test_a_second_one_refuses_to_start_and_names_the_first(web, simple):
    first = simple()
    first.wait_for_addresses(*BOTH)
    for freeze in (False, True):
        if freeze:
            first.process.freeze()
        second = simple("--http=")
        assert second.process.wait() == 3
        (line,) = second.process.output().splitlines()[-1:]
        assert str(first.process.inner_pid) in line or str(first.process.pid) in line
        assert "Traceback" not in second.process.output()
    first.process.thaw()
    assert first.addresses() == set(BOTH)


# The interface.


def test_waits_for_an_interface_that_is_missing_and_goes_on_when_it_is_replaced(web, simple, node):
    extip = simple("--iface=late0", "--resync=10m", "--address-ttl=1h")
    wait_until(lambda: "late0 does not exist" in extip.http("/readyz"), "readyz to say so")
    assert extip.http("/livez") == "ok"
    for _ in range(2):
        node.run(["ip", "link", "add", "late0", "type", "veth", "peer", "name", "late1"])
        node.run(["ip", "link", "set", "late0", "up"])
        node.run(["ip", "link", "set", "late1", "up"])
        extip.wait_for_addresses(*BOTH, interface="late0")
        wait_until(lambda: extip.http("/readyz") == "ok", "ready")
        node.run(["ip", "link", "del", "late0"])
        wait_until(lambda: extip.http("/readyz") != "ok", "the loss to be noticed")
    assert extip.process.running


def test_addresses_come_back_after_the_interface_was_down(web, simple, node):
    """The kernel flushes IPv6 addresses when an interface goes down."""
    node.run(["ip", "link", "add", "late0", "type", "veth", "peer", "name", "late1"])
    for end in ("late0", "late1"):
        node.run(["ip", "link", "set", end, "up"])
    extip = simple("--iface=late0", "--resync=10m", "--address-ttl=1h")
    extip.wait_for_addresses(*BOTH, interface="late0")
    node.run(["ip", "link", "set", "late0", "down"])
    wait_until(lambda: extip.events("link_changed", up=False), "the loss to be noticed")
    node.run(["ip", "link", "set", "late0", "up"])
    extip.wait_for_addresses(*BOTH, interface="late0")


# The API server.


def test_addresses_stay_while_the_api_server_is_away(web, simple, lab, node, namespace):
    extip = simple(f"--address-ttl={TTL_S}s", "--resync=1s")
    extip.wait_for_addresses(*BOTH)
    for ip in (IP, IP6):
        assert lab.wait_for_http(ip) in lab.nodes
    deletions = Deletions(node)
    with lab.probe([IP, IP6]) as probe:
        lab.api_server.stop()
        extip.wait_for_refresh(*BOTH, ttl_s=TTL_S, after_s=time.monotonic() + AWAY_S)
        assert extip.http("/livez") == "ok"
        node.run(["ip", "address", "del", BOTH[0], "dev", "eth0"])
        extip.wait_for_addresses(*BOTH)
        lab.api_server.start()
        lab.add_service("more", [SECOND], namespace=namespace)
        extip.wait_for_addresses(*BOTH, f"{SECOND}/32")
    assert [line for line in deletions.so_far() if IP not in line] == []
    assert len([line for line in deletions.so_far() if IP in line]) == 1
    # The address never went; kube-proxy may drop a packet or two as it reads everything anew.
    assert probe.longest_outage_s(IP6) < 3
    interrupted = [e["reason"] for e in extip.events("watch_interrupted", resource="services")]
    assert "unavailable" in interrupted
    # Each once, however long it lasts.
    troubles = 1 + len(extip.events("watch_recovered", resource="services"))
    assert max(Counter(interrupted).values()) <= troubles


def test_starts_while_the_api_server_is_away(web, simple, lab, node):
    """What an earlier process left is kept, and nothing is removed on a guess."""
    extip = simple("--on-exit=keep", "--address-ttl=1h")
    extip.wait_for_addresses(*BOTH)
    assert extip.process.terminate() == 0
    deletions = Deletions(node)
    lab.api_server.stop()
    extip = simple(f"--address-ttl={TTL_S}s", "--resync=1s")
    extip.wait_for_event("addresses_held")
    extip.wait_for_refresh(*BOTH, ttl_s=TTL_S)
    assert "not synced yet" in extip.http("/readyz")
    assert extip.http("/livez") == "ok"
    lab.api_server.start()
    wait_until(lambda: extip.http("/readyz") == "ok", "ready")
    assert extip.addresses() == set(BOTH)
    assert deletions.so_far() == []


def test_survives_a_compacted_history(web, simple, lab, namespace):
    """A process that was away for long catches up when its version is history.

    Whether by a 410 and a new list or by what the old connection still held, is left to chance
    here; the contract tests of the watch stream force the 410.
    """
    extip = simple("--address-ttl=1h")
    extip.wait_for_addresses(*BOTH)
    extip.process.freeze()
    lab.add_service("more", [SECOND], namespace=namespace)
    lab.delete_service("web", namespace=namespace)
    lab.etcd_compact()
    lab.api_server.stop()
    lab.api_server.start()  # whose own history begins after these changes
    extip.process.thaw()
    extip.wait_for_addresses(f"{SECOND}/32")
    lab.delete_service("more", namespace=namespace)
    extip.wait_for_addresses()


def test_a_service_is_seen_though_the_connections_fell_silent(web, simple, lab, node, namespace):
    """Nothing but the kernel's probes can tell: a process that has no heartbeat asks nothing."""
    extip = simple()
    extip.wait_for_addresses(*BOTH)
    with silenced(node, extip.process):
        lab.add_service("more", [SECOND], namespace=namespace)
        extip.wait_for_addresses(*BOTH, f"{SECOND}/32", timeout=40.0)


def test_says_which_permission_is_missing_and_goes_on_when_it_is_granted(lab, simple, web, node):
    account = "extip-test-bare"
    lab.kubectl("create", "serviceaccount", account)
    extip = Extip(node, "simple", kubeconfig=lab.service_account_kubeconfig("default", account))
    try:
        # Several reads are refused, in no order: of interest is that of services.
        refused = extip.wait_for_event("watch_interrupted", resource="services", reason="denied")
        assert 'cannot list resource "services"' in refused["error"]
        assert extip.addresses() == set()
        lab.kubectl(
            "create",
            "clusterrolebinding",
            account,
            "--clusterrole=cluster-admin",
            f"--serviceaccount=default:{account}",
        )
        extip.wait_for_addresses(*BOTH)
    finally:
        lab.kubectl("delete", "serviceaccount", account)
        lab.kubectl("delete", "clusterrolebinding", account, "--ignore-not-found")


# The kernel's permissions.


@pytest.mark.parametrize("capability", ["net_admin", "net_raw"])
def test_a_missing_capability_is_named(lab, node, capability):
    """Before anything is changed, in one line."""
    process = node.start(
        [
            "setpriv",
            f"--bounding-set=-{capability}",
            f"--inh-caps=-{capability}",
            "--",
            "python3",
            "-m",
            "extip",
            "simple",
            f"--kubeconfig={lab.kubeconfig}",
        ],
        name="extip-without",
    )
    assert process.wait() == 4
    assert f"CAP_{capability.upper()}" in process.output()
    assert "Traceback" not in process.output()
