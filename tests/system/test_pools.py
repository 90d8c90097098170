"""Addresses from pools on a real cluster: given, shown, answering, freed, and never given twice."""

import time

import pytest

from tests.lab.network import CLIENT, lan_mac
from tests.lab.wait import wait_until
from tests.system.lenient import lenient_definition
from tests.system.pooled_cluster import ADDRESSES, LOAD_BALANCER, PooledCluster, pool

AUTO = {"annotations": {"external-ip": "auto"}}

PREDECESSORS_POOL = """
apiVersion: ipcontroller.ext/v1
kind: IpClaimPool
metadata:
  name: test-pool
spec:
  cidr: 192.168.16.248/29
  ranges:
  - - 192.168.16.250
    - 192.168.16.252
"""


@pytest.fixture
def cluster(lab, namespace):
    """Three controllers and one scheduler."""
    made = PooledCluster(lab, namespace)
    made.install()
    made.start()
    yield made
    made.end()
    made.clean_up()


def test_an_address_that_a_station_has_is_set_aside_and_another_given(cluster, lab):
    """But one that the service asks for by name stays asked for, and one that was up stays its."""
    taken = ("10.88.7.241", "10.88.7.242")
    given, asked = "10.88.7.243", "10.88.7.241"
    for ip in taken:
        lab.client.run(["ip", "address", "add", f"{ip}/32", "dev", "eth0"])
    try:
        lab.apply(pool("v4", "10.88.7.240/29"))
        cluster.add("web", **LOAD_BALANCER)
        cluster.wait_ingress("web", given)
        assert lab.wait_for_http(given) in lab.nodes
        wait_until(
            lambda: set(cluster.pool_status("v4").get("setAside", {})) == set(taken),
            "both to be set aside",
        )
        for found in cluster.pool_status("v4")["setAside"].values():
            assert lan_mac(CLIENT) in found["message"]
        assert cluster.pool_status("v4")["free"] == 3
        cluster.wait_settled(given)
        cluster.add("other", **LOAD_BALANCER, metadata={"annotations": {ADDRESSES: asked}}, port=81)
        wait_until(lambda: len(cluster.claims()) == 2, "what was asked for by name to be claimed")

        def told():
            return any(reason == "AddressInUse" for reason, _ in cluster.events("other"))

        wait_until(told, "the Event")
        assert cluster.placed().keys() == {given, asked}
        lab.client.run(["ip", "address", "del", f"{asked}/32", "dev", "eth0"])
        cluster.wait_settled(given, asked)
        cluster.wait_ingress("other", asked)
        wait_until(
            lambda: set(cluster.pool_status("v4").get("setAside", {})) == {taken[1]},
            "what is up not to be set aside any more",
        )

        # Whoever asks for what a station has keeps what is up.
        wish = {"ipcontroller.ext/addresses": taken[1]}
        cluster.merge("web", {"metadata": {"annotations": wish}})
        why = f"another station has {taken[1]}; it keeps {given} until then"
        wait_until(lambda: ("AddressNotAllocated", why) in cluster.events("web"), "the other Event")
        assert given in cluster.ingress("web")
        assert set(cluster.up()) == {given, asked}
        assert lab.wait_for_http(given) in lab.nodes
    finally:
        for ip in taken:
            lab.client.run(["ip", "address", "del", f"{ip}/32", "dev", "eth0"], check=False)


def test_the_predecessors_pool_serves_an_annotated_service(cluster, lab):
    lab.apply(PREDECESSORS_POOL)
    cluster.add("web", metadata=AUTO)
    wait_until(
        lambda: cluster.service("web")["spec"].get("externalIPs") == ["192.168.16.250"],
        "the address in spec.externalIPs",
    )
    wait_until(lambda: len(cluster.claims()) == 1, "a claim")
    (claim,) = cluster.claims()
    assert claim["metadata"]["name"] == "192-168-16-250-29"
    assert claim["metadata"]["labels"]["ip-pool-name"] == "test-pool"
    cluster.wait_settled("192.168.16.250")
    (node,) = cluster.up()["192.168.16.250"]
    assert "192.168.16.250/29" in cluster.controllers[node].addresses()
    cluster.wait_allocated("test-pool", {"192.168.16.250": f"{cluster.namespace}/web"})
    status = cluster.pool_status("test-pool")
    assert (status["size"], status["free"]) == (3, 2)
    lab.delete_service("web", namespace=cluster.namespace)
    cluster.wait_settled()
    cluster.wait_allocated("test-pool", {})


def test_a_load_balancer_answers_at_the_address_in_its_status(cluster, lab):
    lab.apply(pool("v4", "10.88.7.0/28"))
    lab.apply(pool("v6", "fd00:88::7:0/112"))
    cluster.add("web", **LOAD_BALANCER, ipFamilyPolicy="RequireDualStack", ipFamilies=None)
    cluster.wait_ingress("web", "10.88.7.1", "fd00:88::7:1")
    assert "externalIPs" not in cluster.service("web")["spec"]
    assert lab.wait_for_http("10.88.7.1") in lab.nodes
    assert lab.wait_for_http("fd00:88::7:1") in lab.nodes
    assert {c["metadata"]["name"] for c in cluster.claims()} == {
        "10-88-7-1-28",
        "fd00-88-0-0-0-0-7-1-112",
    }
    cluster.merge("web", {"status": {"loadBalancer": None}}, subresource="status")
    cluster.wait_ingress("web", "10.88.7.1", "fd00:88::7:1")
    cluster.merge("web", {"spec": {"type": "ClusterIP"}})
    cluster.wait_ingress("web")
    cluster.wait_settled()
    cluster.wait_allocated("v4", {})


def test_a_service_waits_for_a_pool_and_is_told_so_once(cluster, lab):
    cluster.add("web", **LOAD_BALANCER)
    no_pool = ("AddressNotAllocated", "no pool of IPv4 addresses serves it")
    wait_until(lambda: no_pool in cluster.events("web"), "the Event")
    cluster.add("other", **LOAD_BALANCER)
    lab.apply(pool("small", "10.88.7.9/32"))
    names = ("web", "other")
    wait_until(lambda: any(cluster.ingress(name) for name in names), "an address")
    winner, loser = sorted(names, key=cluster.ingress, reverse=True)
    full = ("AddressNotAllocated", "no IPv4 address is free in pool small")
    wait_until(lambda: full in cluster.events(loser), "the Event")
    wait_until(
        lambda: ("AddressAllocated", "10.88.7.9 from pool small") in cluster.events(winner),
        "the Event",
    )
    cluster.wait_allocated("small", {"10.88.7.9": f"{cluster.namespace}/{winner}"})
    conditions = cluster.pool_status("small")["conditions"]
    assert {c["type"]: c["status"] for c in conditions} == {
        "Exhausted": "True",
        "Overlapping": "False",
    }
    lab.apply(pool("small", "10.88.7.8/31"))
    cluster.wait_ingress(loser, "10.88.7.8")
    assert cluster.events("web")[no_pool] == 1


def test_two_services_share_an_address_on_different_ports(cluster, lab):
    lab.apply(pool("p", "10.88.7.0/28"))
    same = {"annotations": {"ipcontroller.ext/addresses": "10.88.7.5"}}
    cluster.add("one", metadata=same, **LOAD_BALANCER)
    cluster.add("two", metadata=same, port=81, **LOAD_BALANCER)
    cluster.wait_ingress("one", "10.88.7.5")
    cluster.wait_ingress("two", "10.88.7.5")
    cluster.add("three", metadata=same, port=81, **LOAD_BALANCER)  # who comes later waits
    assert lab.wait_for_http("10.88.7.5", 80) in lab.nodes
    assert lab.wait_for_http("10.88.7.5", 81) in lab.nodes
    in_use = f"10.88.7.5 is in use by {cluster.namespace}/two"
    wait_until(lambda: ("AddressNotAllocated", in_use) in cluster.events("three"), "the Event")
    assert cluster.ingress("three") == []

    # An older service comes to ask for a younger one's port, and the next scheduler finds it so.
    for scheduler in cluster.schedulers:
        assert scheduler.process.terminate() == 0
    (port,) = cluster.service("one")["spec"]["ports"]
    cluster.merge("one", {"spec": {"ports": [{**port, "port": 81}]}})
    cluster.start_scheduler()
    cluster.wait_ingress("one")
    assert ("AddressNotAllocated", in_use) in cluster.events("one")
    assert cluster.ingress("two") == ["10.88.7.5"]
    assert lab.wait_for_http("10.88.7.5", 81) in lab.nodes
    cluster.merge("one", {"spec": {"ports": [{**port, "port": 82}]}})
    cluster.wait_ingress("one", "10.88.7.5")


def test_what_cannot_be_had_takes_nothing_away_and_nothing_is_given_in_its_place(cluster, lab):
    lab.apply(pool("p", "10.88.7.0/28"))
    cluster.add("web", metadata=AUTO, **LOAD_BALANCER)
    cluster.wait_ingress("web", "10.88.7.1")
    assert "externalIPs" not in cluster.service("web")["spec"], "it is shown once"
    cluster.add("other", **LOAD_BALANCER)
    cluster.wait_ingress("other", "10.88.7.2")

    def waits(name, why):
        told = ("AddressNotAllocated", why)
        wait_until(lambda: told in cluster.events(name), f"{why!r} in {cluster.events(name)}")

    for wish, why in {
        ("addresses", "10.88.7.2"): f"10.88.7.2 is in use by {cluster.namespace}/other",
        ("addresses", "10.88.7.500"): "'10.88.7.500' is no IP address",
        ("addresses", "10.99.0.1"): "10.99.0.1 is in no pool",
        ("pool", "egde"): "there is no pool egde",
    }.items():
        keys = ("addresses", "pool")
        asked = {f"ipcontroller.ext/{key}": wish[1] if key == wish[0] else None for key in keys}
        cluster.merge("web", {"metadata": {"annotations": asked}})
        waits("web", f"{why}; it keeps 10.88.7.1 until then")
        assert cluster.ingress("web") == ["10.88.7.1"]
    six = {"annotations": {"ipcontroller.ext/addresses": "fd00:88::9"}}
    cluster.add("six", metadata=six, **LOAD_BALANCER)
    waits("six", "fd00:88::9 is an IPv6 address, and the service has IPv4 alone")
    slips = {"ipcontroller.ext/adresses": "10.88.7.9", "external-ip": "true"}
    cluster.add("slip", metadata={"annotations": slips})
    wait_until(
        lambda: any(
            reason == "AnnotationNotUnderstood"
            and "external-ip is 'true'" in message
            and "no annotation ipcontroller.ext/adresses" in message
            for reason, message in cluster.events("slip")
        ),
        "the Event",
    )
    assert lab.wait_for_http("10.88.7.1") in lab.nodes
    assert set(cluster.placed()) == {"10.88.7.1", "10.88.7.2"}
    free = {"ipcontroller.ext/addresses": "10.88.7.2", "ipcontroller.ext/pool": None}
    cluster.merge("web", {"metadata": {"annotations": free}})
    lab.delete_service("other", namespace=cluster.namespace)
    cluster.wait_ingress("web", "10.88.7.2")
    cluster.wait_settled("10.88.7.2")


def test_another_writer_of_a_status_is_answered_ever_more_rarely_and_named(cluster, lab):
    lab.apply(pool("p", "10.88.7.0/28"))
    cluster.add("web", **LOAD_BALANCER)
    cluster.wait_ingress("web", "10.88.7.1")
    theirs = {"status": {"loadBalancer": {"ingress": [{"ip": "10.88.9.9"}]}}}
    ends = time.monotonic() + 8
    undone = 0
    while time.monotonic() < ends:
        if cluster.ingress("web") != ["10.88.9.9"]:
            path = cluster.path("web/status?fieldManager=rival")
            lab.api.request("PATCH", path, theirs, content_type="application/merge-patch+json")
            undone += 1
        time.sleep(0.05)
    assert 2 <= undone <= 6  # without patience some fifteen a second
    (scheduler,) = cluster.schedulers
    (said,) = scheduler.events("field_contested")
    assert (said["field"], said["rival"]) == ("status.loadBalancer", "rival")
    told = [key for key in cluster.events("web") if key[0] == "FieldContested"]
    assert len(told) == 1
    assert "field manager rival" in told[0][1]
    cluster.wait_ingress("web", "10.88.7.1")


def by_hand(name, **spec):
    return {
        "apiVersion": "ipcontroller.ext/v1",
        "kind": "IpClaim",
        "metadata": {"name": name},
        "spec": spec,
    }


def test_what_is_wrong_with_a_pool_or_a_claim_is_in_a_column(cluster, lab):
    lab.apply(pool("host-bits", "10.88.7.200/28"))
    lab.apply(pool("foreign", "10.88.7.0/28", ("10.88.9.1", "10.88.9.2")))
    lab.apply(by_hand("nowhere", cidr="10.88.7.99/32", nodeName="nosuch"))
    lab.apply(by_hand("no-link", cidr="10.88.7.98/32", link="eth9"))
    cluster.add("web", **LOAD_BALANCER)

    def row(kind, name):
        return lab.kubectl("get", kind, name, "-o", "wide").splitlines()[-1]

    for kind, name, *said in (
        ("ipp", "host-bits", "write 10.88.7.192/28 for all of it", "10.88.7.200-10.88.7.206"),
        ("ipp", "foreign", "range 10.88.9.1-10.88.9.2 is outside of cidr 10.88.7.0/28"),
        ("ipc", "nowhere", "NoController", "nosuch"),
        ("ipc", "no-link", "NoEligibleNode", "does not have the interface"),
    ):
        wait_until(lambda: all(text in row(kind, name) for text in said), f"{said} of {name}")  # noqa: B023
    assert cluster.ingress("web") == []
    lab.apply(pool("host-bits", "10.88.7.200/28", ("10.88.7.200", "10.88.7.206")))
    cluster.wait_ingress("web", "10.88.7.200")


def test_a_claim_that_nobody_can_read_says_so_in_a_column(cluster, lab):
    with lenient_definition(lab):
        lab.apply(by_hand("unread", cidr="fd00::1:/64"))

        def said():
            row = lab.kubectl("get", "ipc", "unread", "-o", "wide").splitlines()[-1]
            return "Malformed" in row and "'fd00::1:/64' is no IP address" in row

        wait_until(said, "the reason")


def test_the_class_selects_load_balancers(cluster, lab):
    """Servers before 1.21 know no classes: there, all are without one."""
    lab.apply(pool("p", "10.88.7.0/28"))
    for scheduler in cluster.schedulers:
        assert scheduler.process.terminate() == 0
    cluster.start_scheduler("--lb-class=ext.io/mine")
    cluster.add("plain", **LOAD_BALANCER)
    cluster.add("auto", metadata=AUTO)
    wait_until(lambda: cluster.service("auto")["spec"].get("externalIPs"), "an address")
    assert cluster.ingress("plain") == []


def test_no_address_is_given_twice_when_the_leader_dies_again_and_again(cluster, lab):
    lab.apply(pool("p", "10.88.8.0/27"))
    names = []
    (leader,) = cluster.schedulers
    assert leader.process.terminate() == 0  # for one whose Lease is not waited for so long
    cluster.scheduler_flags += (
        "--leader-elect-lease-duration=3s",
        "--leader-elect-renew-deadline=2s",
    )
    leader = cluster.start_scheduler()
    leader.wait_for_event("leadership_acquired")
    for burst, delay_s in enumerate((0.0, 0.03, 0.1)):
        for n in range(12):
            names.append(f"s{burst}-{n}")
            cluster.add(names[-1], **LOAD_BALANCER)
        time.sleep(delay_s)
        lab.delete_service(names.pop(-3), namespace=cluster.namespace)
        leader.process.kill()
        leader = cluster.start_scheduler()
        leader.wait_for_event("leadership_acquired")
    given: dict[str, list[str]] = {}

    def all_given():
        items = lab.api.get(cluster.path())["items"]
        given.clear()
        for item in items:
            ways = item["status"]["loadBalancer"].get("ingress", [])
            given[item["metadata"]["name"]] = [way["ip"] for way in ways]
        ips = [ip for shown in given.values() for ip in shown]
        assert len(ips) == len(set(ips)), "an address was given twice"
        return len(ips) == 30

    wait_until(all_given, "all 30 addresses to be in use")
    assert set(given) == set(names)
    claimed = {f"{ip.replace('.', '-')}-27" for shown in given.values() for ip in shown}
    wait_until(
        lambda: {c["metadata"]["name"] for c in cluster.claims()} == claimed, "a claim for each"
    )
    time.sleep(2)
    before = dict(given)
    assert all_given()
    assert given == before
