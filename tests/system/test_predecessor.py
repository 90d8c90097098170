"""The scenarios that the predecessor's end-to-end and integration tests played, on the lab.

What they saw is seen here, or in the test that the table names:

=====================================================  ====================================
its scenario                                           test
=====================================================  ====================================
a pod answers by its service's external IP             `test_simple.py`:
                                                       test_traffic_reaches_a_service...
missing definitions are made                           test_definitions_that_are_gone...
a scheduler alone makes claims                         test_a_scheduler_alone...
two schedulers, each frozen in turn                    test_two_schedulers...
a pool serves an annotated service                     `test_pools.py`:
                                                       test_the_predecessors_pool...
a pool is made, read, changed and deleted              test_a_pool_is_made...
a watch with and without a version                     test_a_watch_tells_of_two_changes...
a claim that cannot be read beside one that can        `test_controller.py`:
                                                       test_a_manifest_of_the_predecessor...
an IP that is removed by hand comes back               `test_simple.py`:
                                                       test_an_address_removed_by_hand...
services go while no scheduler runs                    test_what_services_gave_up...
four IPs on two nodes, one of which is frozen          test_four_ips_on_two_nodes...
first-alive keeps all IPs together                     test_first_alive...
two controllers with one host name                     `test_controller.py`:
                                                       test_a_name_that_is_in_use...
the same address is asked for twice                    test_addresses_are_the_union...
services share addresses and change                    test_addresses_are_the_union...
=====================================================  ====================================

Only one ends otherwise: of two controllers with one host name the predecessor's both had all IPs.
Here the second one is refused.
"""

import asyncio
from functools import partial
from http import HTTPStatus

from extip.api.resources import IP_CLAIMS
from extip.cache.listwatch import MOST_RECENT, EventType
from extip.kube.client import connect
from extip.metrics import Metrics
from tests.lab.api import GROUP, ApiStatusError
from tests.lab.wait import wait_until
from tests.system.claims_cluster import IPS
from tests.system.pooled_cluster import pool

SHARED = IPS[1]
PREFIX = 24


def claim_names(cluster):
    return {claim["metadata"]["name"] for claim in cluster.claims()}


def has_claims(cluster, count):
    return len(cluster.claims()) == count


def macs(lab, ips):
    """Return which MACs the client has learnt for some IPs, after it asked for each anew."""
    lab.client.run(["ip", "neigh", "flush", "all"])
    for ip in ips:
        lab.wait_for_http(ip)
    return {n.mac for n in lab.client.neighbours() if n.ip in ips}


def kinds_served(lab, plurals):
    """Return the kinds of which the API server gives a list."""
    served = set()
    for plural in plurals:
        try:
            lab.api.get(f"{GROUP}/{plural}")
        except ApiStatusError as error:
            if error.status != HTTPStatus.NOT_FOUND:
                raise
        else:
            served.add(plural)
    return served


def test_definitions_that_are_gone_are_made_by_the_next_program(lab, idle_cluster):
    """And the kinds are served again; the server begins and ends each in its own time."""
    plurals = ("ipclaims", "ipclaimpools", "ipnodes")
    for plural in plurals:
        lab.kubectl("delete", "crd", f"{plural}.ipcontroller.ext")
    wait_until(lambda: kinds_served(lab, plurals) == set(), "the kinds to be gone")
    idle_cluster.start_scheduler().wait_for_event("definition_created", count=3)
    wait_until(lambda: kinds_served(lab, plurals) == set(plurals), "the kinds to be served")


def test_a_scheduler_alone_makes_a_claim_for_each_ip_of_a_service(lab, idle_cluster):
    idle_cluster.start_scheduler()
    lab.add_service("web", IPS[:2], namespace=idle_cluster.namespace)
    wait_until(partial(has_claims, idle_cluster, 2), "two claims")
    assert idle_cluster.placed() == dict.fromkeys(IPS[:2], "")


def test_two_schedulers_each_frozen_in_turn_make_the_claims_of_every_service(lab, idle_cluster):
    cluster = idle_cluster
    first = cluster.start_scheduler()
    first.wait_for_event("leadership_acquired")
    lab.add_service("one", IPS[:1], namespace=cluster.namespace)
    wait_until(partial(has_claims, cluster, 1), "a claim")
    second = cluster.start_scheduler()
    second.wait_for_event("leader_changed")
    first.process.freeze()
    lab.add_service("two", IPS[1:2], namespace=cluster.namespace)
    wait_until(partial(has_claims, cluster, 2), "two claims")
    first.process.kill()
    third = cluster.start_scheduler()
    third.wait_for_event("leader_changed")
    second.process.freeze()
    lab.add_service("three", IPS[2:3], namespace=cluster.namespace)
    wait_until(partial(has_claims, cluster, 3), "three claims")
    second.process.thaw()
    second.wait_for_event("leadership_lost")
    assert set(cluster.placed()) == set(IPS[:3])


def test_a_pool_is_made_read_changed_and_deleted(lab, idle_cluster):
    path = f"{GROUP}/ipclaimpools/test-pool"
    lab.apply(pool("test-pool", "10.20.0.0/24", ("10.20.0.10", "10.20.0.20")))
    made = lab.api.get(path)
    assert made["spec"]["ranges"] == [["10.20.0.10", "10.20.0.20"]]
    made["spec"]["ranges"].append(["10.20.0.30", "10.20.0.40"])
    changed = lab.api.request("PUT", path, made)
    assert changed["metadata"]["resourceVersion"] != made["metadata"]["resourceVersion"]
    assert len(lab.api.get(path)["spec"]["ranges"]) == 2
    lab.api.discard(path)
    assert lab.api.get(f"{GROUP}/ipclaimpools")["items"] == []


async def test_a_watch_tells_of_two_changes_with_and_without_a_version(lab, claims):
    first = claims.create(IPS[0], "test")
    claims.create(IPS[1], "test")
    version = claims.get(first)["metadata"]["resourceVersion"]

    async def events(client, since):
        found = []
        stream = client.watch(IP_CLAIMS, resource_version=since, timeout_s=30)
        async with asyncio.timeout(60), stream as seen:
            async for event in seen:
                if event.type is not EventType.BOOKMARK:
                    found.append((event.type, event.object.metadata.name))
                if len(found) == 2:
                    return found
        return found

    kubeconfig = str(lab.outside_kubeconfig())
    async with connect(kubeconfig, metrics=Metrics("test")) as client:
        without = await events(client, MOST_RECENT)
        assert {kind for kind, _ in without} == {EventType.ADDED}
        claims.delete(first)
        (added, _), deleted = await events(client, version)
        assert (added, deleted) == (EventType.ADDED, (EventType.DELETED, first))


def test_what_services_gave_up_while_no_scheduler_ran_goes_when_one_runs(lab, cluster):
    names = {ip: f"{ip.replace('.', '-')}-32" for ip in IPS}
    lab.add_service("one", [IPS[0], SHARED], namespace=cluster.namespace)
    lab.add_service("two", [SHARED, IPS[2]], namespace=cluster.namespace, port=81)
    cluster.wait_settled(*IPS[:3])
    cluster.schedulers[0].process.kill()
    lab.delete_service("two", namespace=cluster.namespace)
    cluster.start_scheduler()
    wait_until(lambda: claim_names(cluster) == {names[IPS[0]], names[SHARED]}, "two claims")
    cluster.wait_settled(IPS[0], SHARED)
    for ip in (IPS[0], SHARED):
        assert lab.wait_for_http(ip) in lab.nodes
    lab.delete_service("one", namespace=cluster.namespace)
    cluster.wait_settled()


def test_four_ips_on_two_nodes_move_when_one_is_frozen_and_go_with_the_service(lab, idle_cluster):
    cluster, ips = idle_cluster, IPS[:4]
    scheduler = cluster.start_scheduler()
    for name in ("n1", "n2"):
        cluster.start_controller(name)
    cluster.wait_alive(scheduler)
    cluster.wait_ready()
    lab.add_service("web", ips, namespace=cluster.namespace)
    cluster.wait_settled(*ips)
    before = cluster.placed()
    assert sorted(list(before.values()).count(node) for node in ("n1", "n2")) == [2, 2]
    assert macs(lab, ips) == {lab.nodes["n1"].mac, lab.nodes["n2"].mac}

    scheduler.process.kill()
    again = cluster.start_scheduler()
    cluster.wait_alive(again)
    again.wait_for_event("leadership_acquired")
    cluster.wait_settled(*ips)
    assert cluster.placed() == before

    frozen = cluster.controllers["n1"].process
    frozen.freeze()
    wait_until(lambda: set(cluster.placed().values()) == {"n2"}, "all to be on the other node")
    cluster.wait_settled(*ips)
    assert macs(lab, ips) == {lab.nodes["n2"].mac}
    frozen.thaw()
    cluster.controllers["n1"].wait_for_addresses()
    cluster.wait_settled(*ips)
    lab.delete_service("web", namespace=cluster.namespace)
    cluster.wait_settled()


def test_first_alive_keeps_all_ips_on_one_node_also_when_others_come(lab, idle_cluster):
    cluster, ips = idle_cluster, IPS[:4]
    cluster.scheduler_flags += ("--nodefilter=first-alive",)
    cluster.start()
    lab.add_service("web", ips, namespace=cluster.namespace)
    cluster.wait_settled(*ips)
    (first,) = {*cluster.placed().values()}
    (only, *_) = [name for name in lab.nodes if name != first]
    for name in [*cluster.controllers]:
        if name != only:
            cluster.controllers.pop(name).process.kill()
    wait_until(lambda: {*cluster.placed().values()} == {only}, f"all to be on {only}")
    cluster.wait_settled(*ips)
    returned = cluster.start_controller(first)
    returned.wait_for_event("heartbeat_started")
    cluster.wait_alive(cluster.schedulers[0], first)
    cluster.wait_settled(*ips)
    assert {*cluster.placed().values()} == {only}
    assert returned.addresses() == set()


def test_addresses_are_the_union_of_what_services_ask_for(lab, namespace, simple):
    """Some ask for the same; one changes, one goes, and what is shared stays to the last."""
    one, two, three, four, five, seven = (f"10.107.10.{n}" for n in (1, 2, 3, 4, 5, 7))

    def wanted(*ips):
        return {f"{ip}/{PREFIX}" for ip in ips}

    extip = simple(f"--mask={PREFIX}")
    lab.add_service("svc-1", [two, three, four], namespace=namespace)
    lab.add_service("svc-2", [two, three, five], namespace=namespace, port=81)
    lab.add_service("svc-3", [one, two, three], namespace=namespace, port=82)
    extip.wait_for_addresses(*wanted(one, two, three, four, five))
    path = f"/api/v1/namespaces/{namespace}/services/svc-2"
    patch = {"spec": {"externalIPs": [two, three, seven]}}
    lab.api.request("PATCH", path, patch, content_type="application/merge-patch+json")
    extip.wait_for_addresses(*wanted(one, two, three, four, seven))
    lab.delete_service("svc-2", namespace=namespace)
    extip.wait_for_addresses(*wanted(one, two, three, four))
    lab.delete_service("svc-1", namespace=namespace)
    extip.wait_for_addresses(*wanted(one, two, three))
