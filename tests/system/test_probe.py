"""A new IP comes up only where no other station of the segment has it; takeovers ask afterwards."""

import signal
import time
from contextlib import contextmanager
from functools import partial
from ipaddress import ip_address

from tests.lab.api import GROUP
from tests.lab.network import CLIENT, lan_mac
from tests.lab.wait import wait_until

V4, V4_TOO, V6, FREE = "10.88.9.1", "10.88.9.2", "fd00:88::9:1", "10.88.9.9"
IN_USE = "AddressInUse"
CONFLICT = "AddressConflict"
CLIENT_MAC = lan_mac(CLIENT)
PREFIX = (32, 128)


def cidr(ip):
    return f"{ip}/{PREFIX[':' in ip]}"


def hears_questions(host, ip):
    """Whether a host listens to the group of an IPv6 address that it was just given (RFC 4291)."""
    group = ip_address(int(ip_address("ff02::1:ff00:0")) | int(ip_address(ip)) & 0xFFFFFF)
    return str(group) in host.run(["ip", "-6", "maddress", "show", "dev", "eth0"]).stdout.split()


@contextmanager
def held_by_client(lab, *ips):
    """Have a station that runs no extip hold the IPs."""
    for ip in ips:
        nodad = ["nodad"] if ":" in ip else []
        lab.client.run(["ip", "address", "add", cidr(ip), "dev", "eth0", *nodad])
        if ":" in ip:
            wait_until(partial(hears_questions, lab.client, ip), f"{ip} to be asked for")
    try:
        yield
    finally:
        for ip in ips:
            lab.client.run(["ip", "address", "del", cidr(ip), "dev", "eth0"])


def events_about(lab, namespace, name):
    listed = lab.api.get(f"/api/v1/namespaces/{namespace}/events")["items"]
    return [e for e in listed if e["involvedObject"]["name"] == name and e["reason"] == IN_USE]


def test_what_another_station_has_stays_down_until_it_is_gone(lab, namespace, simple):
    extip = simple()
    extip.wait_for_event("reconcile_succeeded")
    with held_by_client(lab, V4, V6):
        lab.add_service("web", [V4, V6, FREE], namespace=namespace)
        extip.wait_for_addresses(cidr(FREE))
        for ip in (V4, V6):
            refused = extip.wait_for_event("address_refused", address=ip, reason=IN_USE)
            assert CLIENT_MAC in refused["message"]
        wait_until(lambda: len(events_about(lab, namespace, "web")) == 2, "Events on the service")
        for event in events_about(lab, namespace, "web"):
            assert CLIENT_MAC in event["message"]
        wait_until(lambda: extip.metric("extip_addresses_refused", reason=IN_USE) == 2, "metric")
        time.sleep(4)  # it is asked for again by now, twice
        assert extip.addresses() == {cidr(FREE)}
        assert [e.get("count", 1) for e in events_about(lab, namespace, "web")] == [1, 1]
        assert len(extip.events("address_refused")) == 2
    extip.wait_for_addresses(*map(cidr, (V4, V6, FREE)))
    extip.wait_for_event("address_refusal_ended", count=2)
    assert lab.wait_for_http(V4) in lab.nodes


def test_a_claim_says_who_has_its_ip(lab, claims, controller):
    extip = controller()
    with held_by_client(lab, V4, V6):
        names = [claims.create(ip, "n1", prefix=PREFIX[":" in ip]) for ip in (V4, V6)]
        for name in names:
            assert CLIENT_MAC in claims.wait_for(name, "Accepted", "False", IN_USE)["message"]
            claims.wait_for(name, "Up", "False", IN_USE)
            wait_until(partial(events_about, lab, "default", name), "an Event on the claim")
        assert extip.addresses() == set()
    for name in names:
        claims.wait_for(name, "Up", "True", "AddressUp")
        claims.wait_for(name, "Accepted", "True", "Accepted")


def test_a_takeover_does_not_ask_and_leaves_the_ip_to_a_station_that_has_it(
    lab, claims, controller
):
    """The former holder may still answer; any other station that does was there first."""
    extip = controller()
    with held_by_client(lab, V4, V6):
        names = [claims.create(ip, "n2", prefix=PREFIX[":" in ip]) for ip in (V4, V6)]
        for name in names:
            claims.report_up(name, "n2")
            claims.move(name, "n1", before="n2")
        extip.wait_for_addresses(cidr(V4), cidr(V6))
        assert extip.metric("extip_probes_total") == 0
        for name in names:
            assert CLIENT_MAC in claims.wait_for(name, "Accepted", "False", IN_USE)["message"]
            assert CLIENT_MAC in claims.wait_for(name, "Conflict", "True", CONFLICT)["message"]
            assert not claims.status(name).get("holder")
            wait_until(partial(events_about, lab, "default", name), "an Event on the claim")
        assert extip.addresses() == set()
        assert {e["mac"] for e in extip.events("address_ceased")} == {CLIENT_MAC}
        assert extip.metric("extip_address_conflicts_total", outcome="ceased") == 2
    for name in names:
        claims.wait_for(name, "Up", "True", "AddressUp")
        claims.wait_for(name, "Conflict", "False", "NoConflict")
    new = claims.create(V4_TOO, "n1")
    claims.wait_for(new, "Up", "True", "AddressUp")
    assert extip.metric("extip_probes_total", result="clear") == 3


def test_another_controller_does_not_stand_in_the_way(lab, claims, controller):
    """It hangs, and its kernel still answers for an IP that has no holder on record."""
    other = controller("--address-ttl=1h", node="n2")
    wait_until(
        lambda: lab.api.get(f"{GROUP}/ipnodes/n2").get("status", {}).get("links"), "its IpNode"
    )
    extip = controller()  # which begins with a list of all IpNodes
    name = claims.create(V4, "n2")
    other.wait_for_addresses(cidr(V4))
    claims.wait_for(name, "Up", "True", "AddressUp")
    other.process.freeze()
    try:
        claims.delete(name)
        name = claims.create(V4, "n1")
        extip.wait_for_addresses(cidr(V4))
        claims.wait_for(name, "Up", "True", "AddressUp")
        assert extip.events("address_refused") == []
        assert other.addresses() == {cidr(V4)}
    finally:
        other.process.thaw()


def test_what_is_up_is_put_back_and_adopted_without_a_question(lab, namespace, simple):
    lab.add_service("web", [V4, V6], namespace=namespace)
    extip = simple("--on-exit=keep", "--resync=10m", "--address-ttl=1h")
    extip.wait_for_addresses(cidr(V4), cidr(V6))
    wait_until(lambda: extip.metric("extip_probes_total", result="clear") == 2, "the metric")
    for ip in (V4, V6):
        lab.nodes["n1"].run(["ip", "address", "del", cidr(ip), "dev", "eth0"])
        extip.wait_for_addresses(cidr(V4), cidr(V6))
    assert extip.metric("extip_probes_total") == 2
    extip.process.kill(signal.SIGKILL)
    extip.process.wait()
    extip = simple("--resync=10m", "--address-ttl=1h")
    wait_until(lambda: extip.metric("extip_addresses_up") == 2, "adopted")
    assert extip.metric("extip_probes_total") == 0


def test_zero_asks_nobody(lab, namespace, simple):
    with held_by_client(lab, V4):
        lab.add_service("web", [V4], namespace=namespace)
        extip = simple("--probe=0s")
        extip.wait_for_addresses(cidr(V4))
        assert extip.metric("extip_probes_total") == 0


def test_a_new_ip_waits_for_the_carrier(lab, namespace, simple):
    node = lab.nodes["n1"]
    extip = simple()
    extip.wait_for_event("reconcile_succeeded")
    node.carrier_down()
    extip.wait_for_event("link_changed", carrier=False)
    lab.add_service("web", [V4, V6], namespace=namespace)
    extip.wait_for_event("probes_wait_for_carrier")
    assert extip.addresses() == set()
    with held_by_client(lab, V6):
        node.carrier_up()
        extip.wait_for_addresses(cidr(V4))
        extip.wait_for_event("address_refused", address=V6, reason=IN_USE)


def test_of_two_that_begin_together_one_gets_it_and_the_other_when_that_is_gone(
    lab, namespace, simple
):
    flags = ("--address-ttl=6s", "--resync=500ms")
    nodes = {name: simple(*flags, node=name) for name in ("n1", "n2")}
    for extip in nodes.values():
        extip.wait_for_event("reconcile_succeeded")
    with lab.observe([V4]) as observer:
        lab.add_service("web", [V4], namespace=namespace)
        wait_until(lambda: any(extip.addresses() for extip in nodes.values()), "one to get it")
        winner = next(name for name, extip in nodes.items() if extip.addresses())
        loser = next(extip for name, extip in nodes.items() if name != winner)
        loser.wait_for_event("address_refused", address=V4, reason=IN_USE)
        assert loser.addresses() == set()
        nodes[winner].process.kill(signal.SIGKILL)
        loser.wait_for_addresses(cidr(V4))
        assert nodes[winner].addresses() == set(), "its kernel was first to let go"
        assert observer.double_ownership_s(V4) == 0
