"""`extip simple` on a real cluster: what services ask for is on the wire, and nothing else."""

import json
import signal
import time
from datetime import datetime
from functools import partial

import pytest

from tests.lab.deletions import Deletions
from tests.lab.extip import MARK, Extip
from tests.lab.netlink import IFA_F_TENTATIVE
from tests.lab.wait import wait_until

V4 = ("10.88.1.1", "10.88.1.2", "10.88.1.3")
V6 = ("fd00:88::1:1", "fd00:88::1:2")
PREFIX = (32, 128)


def events_about(lab, namespace, service, reason):
    listed = lab.api.get(f"/api/v1/namespaces/{namespace}/events")["items"]
    return [
        event
        for event in listed
        if event["involvedObject"]["name"] == service and event["reason"] == reason
    ]


def last_of_burst(observer, ip, first_s):
    """Return what was announced late in the burst of 2 s, before the repetition each minute.

    The round before the last one is due a second earlier, and the first one may have been late.
    """
    return [a for a in observer.announcements(ip) if 1.05 <= a.time_s - first_s <= 30]


def logged_s(event):
    """Return when an event was logged, on the timeline of `time.monotonic`."""
    ago_s = time.time() - datetime.fromisoformat(event["timestamp"]).timestamp()
    return time.monotonic() - ago_s


def wait_for_passes(extip, count):
    """Wait until extip has looked at the node that many times more."""
    before = extip.metric("extip_reconciles_total", result="success")
    wait_until(
        lambda: extip.metric("extip_reconciles_total", result="success") >= before + count,
        f"{count} passes",
    )


def settled_addresses(node, ip):
    """Return the addresses of an IP; the kernel takes a moment until they are not tentative."""
    found = [a for a in node.addresses("eth0") if a.ip == ip]
    return [] if any(a.flags & IFA_F_TENTATIVE for a in found) else found


def up_in_metric(extip, count):
    return extip.metric("extip_addresses_up") == count


def set_external_ips(lab, namespace, name, *ips):
    patch = json.dumps({"spec": {"externalIPs": list(ips)}})
    lab.kubectl("-n", namespace, "patch", "service", name, "--type=merge", "-p", patch)


def patch_ways_in(lab, namespace, name, *ips):
    """Write the addresses into the status of a load balancer, as an allocator does."""
    path = f"/api/v1/namespaces/{namespace}/services/{name}/status"
    status = {"loadBalancer": {"ingress": [{"ip": ip} for ip in ips]}}
    merge = "application/merge-patch+json"
    lab.api.request("PATCH", path, {"status": status}, content_type=merge)


def test_traffic_reaches_a_service_by_every_external_ip(lab, namespace, simple, node):
    lab.add_service("web", [*V4, *V6], namespace=namespace)
    extip = simple()
    extip.wait_for_addresses(*(f"{ip}/32" for ip in V4), *(f"{ip}/128" for ip in V6))
    for ip in (*V4, *V6):
        assert lab.wait_for_http(ip) in lab.nodes
        assert lab.wait_for_http(ip, host=lab.far_client) in lab.nodes
    for address in node.addresses("eth0"):
        if address.proto == MARK:
            assert address.valid_s is not None
            assert 0 < address.valid_s <= 40
    owners = {n.ip: n.mac for n in lab.client.neighbours()}
    assert {owners[ip] for ip in (*V4, *V6)} == {node.mac}


def test_follows_services_as_they_change(lab, namespace, simple):
    """Shared IPs stay until the last service drops them."""
    lab.add_service("one", [V4[0], V4[1]], namespace=namespace)
    lab.add_service("two", [V4[1], V4[2]], namespace=namespace, port=81)
    extip = simple("--mask=24")
    one, two, three = (f"{ip}/24" for ip in V4)
    extip.wait_for_addresses(one, two, three)
    set_external_ips(lab, namespace, "two", V4[1], "10.88.1.7")
    extip.wait_for_addresses(one, two, "10.88.1.7/24")
    lab.delete_service("two", namespace=namespace)
    extip.wait_for_addresses(one, two)
    lab.delete_service("one", namespace=namespace)
    extip.wait_for_addresses()


def test_ips_that_an_allocator_gave_to_load_balancers_come_up(lab, namespace, simple, node):
    """Also with `externalTrafficPolicy: Local`."""

    def give(name, *ips, **spec):
        spec = {"type": "LoadBalancer", "allocateLoadBalancerNodePorts": True, **spec}
        lab.add_service(name, namespace=namespace, spec=spec)
        patch_ways_in(lab, namespace, name, *ips)

    give("web", V4[0], V6[0])
    give("local", V4[2], externalTrafficPolicy="Local")
    extip = simple("--load-balancers")
    mine = (f"{V4[0]}/32", f"{V6[0]}/128", f"{V4[2]}/32")
    extip.wait_for_addresses(*mine)
    for ip in (V4[0], V6[0]):
        assert lab.wait_for_http(ip) in lab.nodes
    assert lab.wait_for_http(V4[2]) == node.name
    patch_ways_in(lab, namespace, "web", V4[0])
    extip.wait_for_addresses(f"{V4[0]}/32", f"{V4[2]}/32")
    lab.delete_service("web", namespace=namespace)
    lab.delete_service("local", namespace=namespace)
    extip.wait_for_addresses()


def test_an_address_removed_by_hand_is_back_before_any_resync(lab, namespace, simple, node):
    lab.add_service("web", [V4[0], V6[0]], namespace=namespace)
    extip = simple("--resync=10m", "--address-ttl=1h")
    wanted = (f"{V4[0]}/32", f"{V6[0]}/128")
    extip.wait_for_addresses(*wanted)
    for address in wanted * 3:
        node.run(["ip", "address", "del", address, "dev", "eth0"])
        extip.wait_for_addresses(*wanted)
    assert extip.wait_for_event("address_lost", address=V6[0])
    assert lab.wait_for_http(V4[0]) in lab.nodes


def test_announces_at_once_and_again(lab, namespace, simple, node):
    ips = [V4[0], V6[0]]
    extip = simple()
    extip.wait_for_event("reconcile_succeeded")
    with lab.observe(ips, interval_s=0) as observer:
        lab.add_service("web", ips, namespace=namespace)
        for ip in ips:
            added = extip.wait_for_event("address_added", address=f"{ip}/{PREFIX[':' in ip]}")
            first = observer.wait_for_announcement(ip)
            assert first.time_s - logged_s(added) < 10  # not with the repetition each minute
            # Rounds that a busy machine was late for are left out; the last one never is.
            wait_until(partial(last_of_burst, observer, ip, first.time_s), f"the burst of {ip}")
            assert {a.node for a in observer.announcements(ip)} == {node.name}
        before = len(observer.announcements(ips[0]))
        node.carrier_down()
        wait_until(lambda: extip.events("link_changed", carrier=False), "carrier loss noticed")
        node.carrier_up()
        wait_until(lambda: len(observer.announcements(ips[0])) > before, "announced on link-up")


def test_nothing_is_announced_on_loopback(lab, namespace, simple):
    """Addresses on lo are for a routing daemon to export."""
    with lab.observe(V4[0], interval_s=0) as observer:
        lab.add_service("web", [V4[0]], namespace=namespace)
        extip = simple("--iface=lo")
        extip.wait_for_addresses(f"{V4[0]}/32", interface="lo")
        wait_until(lambda: extip.metric("extip_addresses_up") == 1, "the metric")
        assert extip.metric("extip_announcements_total", family="ipv4") == 0
        assert extip.process.terminate() == 0
        assert observer.announcements(V4[0]) == []


def test_a_restart_adopts_without_a_flap(lab, namespace, simple, node):
    lab.add_service("web", [*V4, *V6], namespace=namespace)
    wanted = (*(f"{ip}/32" for ip in V4), *(f"{ip}/128" for ip in V6))
    extip = simple("--on-exit=keep")
    extip.wait_for_addresses(*wanted)
    deletions = Deletions(node)
    for stop in (signal.SIGKILL, signal.SIGTERM):
        extip.process.kill(stop)
        extip.process.wait()
        extip = simple("--on-exit=keep")
        extip.wait_for_event("reconcile_succeeded")
        wait_until(partial(up_in_metric, extip, 5), "all adopted")
        assert extip.events("address_added") == []
        extip.wait_for_addresses(*wanted)
    assert deletions.so_far() == []


def test_what_became_unwanted_while_it_was_down_goes_at_the_start(lab, namespace, simple):
    lab.add_service("one", [V4[0]], namespace=namespace)
    lab.add_service("two", [V4[1]], namespace=namespace)
    extip = simple("--address-ttl=1h")
    extip.wait_for_addresses(f"{V4[0]}/32", f"{V4[1]}/32")
    extip.process.kill()
    extip.process.wait()
    lab.delete_service("two", namespace=namespace)
    extip = simple("--address-ttl=1h")
    extip.wait_for_addresses(f"{V4[0]}/32")


@pytest.mark.parametrize("theirs", [f"{V4[0]}/32", f"{V4[0]}/24", f"{V6[0]}/128", f"{V6[0]}/64"])
def test_an_address_of_somebody_else_is_never_touched(lab, namespace, simple, node, theirs):
    ip = theirs.split("/")[0]
    node.run(["ip", "address", "add", theirs, "dev", "eth0"])
    before = wait_until(partial(settled_addresses, node, ip), f"{theirs} to be up")
    lab.add_service("web", [ip, V4[1]], namespace=namespace)
    extip = simple("--resync=500ms", "--address-ttl=1h")
    extip.wait_for_addresses(f"{V4[1]}/32")
    extip.wait_for_event("address_refused", address=ip, reason="AddressInUseLocally")
    assert extip.process.terminate() == 0
    assert settled_addresses(node, ip) == before
    assert extip.addresses() == set()


def test_an_address_that_somebody_else_adds_later_stays_theirs(lab, namespace, simple, node):
    """The operator put the same IP there with another mask: ours goes, theirs stays."""
    lab.add_service("web", [V4[0]], namespace=namespace)
    extip = simple("--mask=32")
    extip.wait_for_addresses(f"{V4[0]}/32")
    node.run(["ip", "address", "add", f"{V4[0]}/24", "dev", "eth0"])
    extip.wait_for_addresses()
    assert [str(a.interface) for a in node.addresses("eth0") if a.ip == V4[0]] == [f"{V4[0]}/24"]
    node.run(["ip", "address", "del", f"{V4[0]}/24", "dev", "eth0"])
    extip.wait_for_addresses(f"{V4[0]}/32")


@pytest.mark.parametrize("promote", ["0", "1"])
def test_secondaries_survive_their_primary(lab, namespace, simple, node, promote):
    """By default the kernel drops the other addresses of a subnet with the first of them."""
    node.run(
        [
            "sysctl",
            "-qw",
            f"net.ipv4.conf.eth0.promote_secondaries={promote}",
            "net.ipv4.conf.all.promote_secondaries=0",
        ]
    )
    lab.add_service("one", ["10.88.5.1"], namespace=namespace)
    extip = simple("--mask=24", "--resync=10m", "--address-ttl=1h")
    extip.wait_for_addresses("10.88.5.1/24")
    lab.add_service("two", ["10.88.5.2", "10.88.5.3"], namespace=namespace)
    extip.wait_for_addresses("10.88.5.1/24", "10.88.5.2/24", "10.88.5.3/24")
    deletions = Deletions(node)
    lab.delete_service("one", namespace=namespace)
    extip.wait_for_addresses("10.88.5.2/24", "10.88.5.3/24")
    assert deletions.so_far()
    assert all("10.88.5.1/24" in line for line in deletions.so_far())


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_an_operators_address_outlives_ours_of_the_same_subnet(
    lab, namespace, simple, node, number
):
    """Theirs is a secondary of ours: with ours removed or expired it would go too."""
    for scope in ("eth0", "all"):
        node.run(["sysctl", "-qw", f"net.ipv4.conf.{scope}.promote_secondaries=0"])
    lab.add_service("web", ["10.99.5.1"], namespace=namespace)
    extip = simple("--mask=24", "--address-ttl=6s", "--resync=500ms")
    extip.wait_for_addresses("10.99.5.1/24")
    node.run(["ip", "address", "add", "10.99.5.9/24", "dev", "eth0"])
    wait_for_passes(extip, 2)
    deletions = Deletions(node)
    extip.process.kill(number)
    extip.process.wait()
    extip.wait_for_addresses()
    assert deletions.so_far()
    assert all("10.99.5.1/24" in line for line in deletions.so_far())
    assert "10.99.5.9" in {a.ip for a in node.addresses("eth0")}


@pytest.mark.parametrize(("version", "ips"), [(0, V4), (1, V6)], ids=["IPv4", "IPv6"])
def test_kube_proxy_may_bind_the_same_ips_to_its_own_interface_at_any_time(
    lab, namespace, simple, node, version, ips
):
    """In ipvs mode it does so on every node, whether it starts before or after extip."""
    wanted = [f"{ip}/{PREFIX[version]}" for ip in ips]
    lab.add_service("web", ips, namespace=namespace)
    extip = simple("--resync=200ms", "--address-ttl=1h")
    extip.wait_for_addresses(*wanted)
    deletions = Deletions(node)
    node.run(["ip", "link", "add", "kube-ipvs0", "type", "veth", "peer", "name", "ipvs-peer"])
    try:
        for address in wanted:
            node.run(["ip", "address", "add", address, "dev", "kube-ipvs0"])
        wait_for_passes(extip, 5)
        assert [line for line in deletions.so_far() if "eth0" in line] == []
        extip.wait_for_addresses(*wanted)
        assert extip.events("address_refused") == []
        assert lab.wait_for_http(ips[0]) in lab.nodes
    finally:
        node.run(["ip", "link", "del", "kube-ipvs0"])
    wait_for_passes(extip, 5)
    assert [line for line in deletions.so_far() if "eth0" in line] == []


def test_refuses_what_would_hurt_and_says_so_once(lab, namespace, simple, node):
    n2 = lab.nodes["n2"]
    refused = {  # the API server itself refuses loopback, multicast and the like
        node.ip: "NodeAddress",
        n2.ip: "NodeAddress",
        "10.88.0.1": "GatewayAddress",
        "10.88.0.0": "NetworkAddress",
        "10.88.255.255": "BroadcastAddress",
        "10.77.0.1": "AddressNotAllowed",
    }
    lab.add_service("good", [V4[0]], namespace=namespace)
    for number, ip in enumerate(refused):
        lab.add_service(f"bad-{number}", [ip], namespace=namespace)
    extip = simple("--resync=200ms", "--address-ttl=1h", "--allow-cidr=10.88.0.0/16")
    extip.wait_for_addresses(f"{V4[0]}/32")
    accepted = [(f"bad-{number}", *pair) for number, pair in enumerate(refused.items())]
    for service, ip, reason in accepted:
        extip.wait_for_event("address_refused", address=ip, reason=reason)
        wait_until(partial(events_about, lab, namespace, service, reason), f"an Event on {service}")
        assert extip.metric("extip_addresses_refused", reason=reason) >= 1
    wait_for_passes(extip, 6)
    for service, ip, reason in accepted:
        assert len(extip.events("address_refused", address=ip)) == 1
        (event,) = events_about(lab, namespace, service, reason)
        assert (event["type"], event.get("count", 1)) == ("Warning", 1)
    assert extip.addresses() == {f"{V4[0]}/32"}
    lab.delete_service(accepted[0][0], namespace=namespace)
    extip.wait_for_event("address_refusal_ended", address=accepted[0][1])


def test_selectors_leave_other_services_alone(lab, namespace, simple):
    lab.kubectl("label", "namespace", namespace, "edge=yes")
    lab.create_namespace(f"{namespace}-b")
    labelled = {"labels": {"expose": "yes"}}
    lab.add_service("in", [V4[0]], namespace=namespace, metadata=labelled)
    lab.add_service("unlabelled", [V4[1]], namespace=namespace)
    lab.add_service("elsewhere", [V4[2]], namespace=f"{namespace}-b", metadata=labelled)
    extip = simple("--namespace-selector=edge=yes", "--service-selector=expose=yes")
    extip.wait_for_addresses(f"{V4[0]}/32")
    lab.kubectl("label", "namespace", f"{namespace}-b", "edge=yes")
    extip.wait_for_addresses(f"{V4[0]}/32", f"{V4[2]}/32")
    lab.kubectl("label", "namespace", namespace, "edge-")
    extip.wait_for_addresses(f"{V4[2]}/32")


def test_a_dry_run_tells_and_changes_nothing(lab, namespace, node, simple):
    lab.add_service("web", [V4[0], node.ip], namespace=namespace)
    running = simple("--on-exit=keep", "--address-ttl=1h")
    running.wait_for_addresses(f"{V4[0]}/32")
    set_external_ips(lab, namespace, "web", V4[0], V4[1], node.ip)
    running.wait_for_addresses(f"{V4[0]}/32", f"{V4[1]}/32")
    running.process.freeze()
    set_external_ips(lab, namespace, "web", V4[1], V4[2], node.ip)
    before = node.addresses("eth0")
    dry = simple("--dry-run")
    assert dry.process.wait() == 0
    lines = [" ".join(line.split()) for line in dry.process.output().splitlines()]
    assert f"add {V4[2]}/32" in lines
    assert f"delete {V4[0]}/32" in lines
    assert f"keep {V4[1]}" in lines
    assert any(line.startswith(f"refuse {node.ip} {namespace}/web:") for line in lines)
    assert [a.interface for a in node.addresses("eth0")] == [a.interface for a in before]


def test_a_dry_run_that_is_denied_says_so_instead_of_waiting(lab, namespace, node):
    lab.kubectl("create", "serviceaccount", "test-bare", "--namespace", namespace)
    dry = Extip(
        node,
        "simple",
        "--dry-run",
        kubeconfig=lab.service_account_kubeconfig(namespace, "test-bare"),
    )
    assert dry.process.wait() == 5
    last = dry.process.output().splitlines()[-1]
    assert last.startswith("extip: list ")
    assert "RBAC does not allow it" in last
    assert "did not answer" not in last


def test_a_thousand_addresses_at_the_start(lab, namespace, simple):
    for number in range(20):
        ips = [f"10.88.{2 + number}.{n}" for n in range(1, 51)]
        lab.add_service(f"web-{number}", ips, namespace=namespace)
    extip = simple("--resync=2s", "--address-ttl=1h")
    wait_until(lambda: len(extip.addresses()) == 1000, "1000 addresses")
    wait_until(lambda: extip.metric("extip_addresses_up") == 1000, "1000 in the metric")
    assert extip.process.terminate() == 0
    assert extip.addresses() == set()
