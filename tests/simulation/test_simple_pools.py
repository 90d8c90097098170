"""Simple mode gives addresses of pools: each once, whoever leads, and none without a pool."""

import asyncio
from collections.abc import Iterable
from functools import partial

import pytest
from structlog.testing import capture_logs

from extip.api.resources import CUSTOM_RESOURCE_DEFINITIONS, IP_CLAIM_POOLS, LEASES, NODES, SERVICES
from tests.fakes.api_faults import FORBIDDEN, Rule
from tests.fakes.cluster_objects import Json
from tests.fakes.virtual_time import run_virtually
from tests.simulation.cluster import Cluster

NAMESPACE = "kube-system"
FIRST, FIRST_V6 = "10.88.2.1", "fd00:88::1"


def balancer(cluster: Cluster, name: str, *, namespace: str = "default", **more: object) -> None:
    cluster.api.create(
        SERVICES,
        name,
        namespace=namespace,
        spec={
            "type": "LoadBalancer",
            "clusterIP": "10.96.0.11",
            "ports": [{"port": 80, "protocol": "TCP"}],
            "ipFamilies": ["IPv4"],
            **more,
        },
    )


def pool(cluster: Cluster, cidr: str, name: str = "edge") -> None:
    cluster.api.create(IP_CLAIM_POOLS, name, spec={"cidr": cidr})


def shown(service: Json) -> list[str]:
    ways_in = service.get("status", {}).get("loadBalancer", {}).get("ingress") or ()
    return [way["ip"] for way in ways_in]


def given(cluster: Cluster) -> dict[str, list[str]]:
    return {one["metadata"]["name"]: shown(one) for one in cluster.api.all(SERVICES)}


def each_once(cluster: Cluster, names: Iterable[str]) -> bool:
    """Whether these services have an address each, and no address is that of two."""
    found = given(cluster)
    ips = [ip for name in names for ip in found[name]]
    return len(ips) == len({*ips}) == len([*names])


def has_any(cluster: Cluster, names: Iterable[str]) -> bool:
    found = given(cluster)
    return any(found[name] for name in names)


def leader(cluster: Cluster) -> str:
    """Return the node of the process that gives addresses."""
    holders = [
        lease["spec"].get("holderIdentity", "")
        for lease in cluster.api.all(LEASES)
        if lease["metadata"]["name"] == "extip-simple"
    ]
    return holders[0].partition("_")[0] if holders else ""


def test_a_load_balancer_gets_an_address_of_each_family_and_gives_it_back() -> None:
    async def scenario() -> None:
        async with Cluster().living() as cluster:
            cluster.add_node("n1")
            pool(cluster, "10.88.2.0/28")
            pool(cluster, "fd00:88::/112", "six")
            simple = cluster.start_simple("n1", load_balancers=True)
            families = ["IPv4", "IPv6"]
            balancer(cluster, "web", ipFamilies=families, ipFamilyPolicy="RequireDualStack")
            await cluster.until(lambda: cluster.holders(FIRST), within_s=10.0)
            await cluster.until(lambda: cluster.holders(FIRST_V6), within_s=10.0)
            assert given(cluster) == {"web": [FIRST, FIRST_V6]}
            (edge, _six) = cluster.api.all(IP_CLAIM_POOLS)
            assert edge["status"]["allocated"] == {FIRST: "default/web"}
            cluster.api.delete(SERVICES, "web", namespace="default")
            await cluster.until(lambda: not cluster.holders(FIRST), within_s=5.0)
            balancer(cluster, "next")
            await cluster.until(lambda: given(cluster)["next"], within_s=5.0)
            assert given(cluster)["next"] != [FIRST], "a freed address is given last"
            await simple.stop()
            assert leader(cluster) == ""

    run_virtually(scenario())


def test_a_cluster_ip_in_a_pool_is_not_given() -> None:
    """Clients inside the cluster would come to the service that has the address from the pool."""

    async def scenario() -> None:
        async with Cluster().living() as cluster:
            cluster.add_node("n1")
            pool(cluster, "10.96.0.10/31")
            cluster.start_simple("n1", load_balancers=True)
            balancer(cluster, "web", clusterIPs=["10.96.0.10"])
            await cluster.until(lambda: given(cluster)["web"], within_s=10.0)
            assert given(cluster)["web"] == ["10.96.0.11"]

    run_virtually(scenario())


def test_without_the_flag_or_without_pools_nothing_is_given() -> None:
    async def scenario() -> None:
        async with Cluster().living() as cluster:
            cluster.add_node("n1")
            cluster.add_node("n2")
            name = "ipclaimpools.ipcontroller.ext"
            cluster.api.delete(CUSTOM_RESOURCE_DEFINITIONS, name)
            has = cluster.api.has
            await cluster.until(lambda: not has(CUSTOM_RESOURCE_DEFINITIONS, name), within_s=30.0)
            without_flag = cluster.start_simple("n1")
            simple = cluster.start_simple("n2", load_balancers=True)
            balancer(cluster, "web")
            async with cluster.always(lambda: not given(cluster)["web"]):
                await cluster.until(lambda: simple.not_ready() == {}, within_s=5.0)
                assert leader(cluster) == ""
                await simple.stop()
                cluster.api.define(name)
                await cluster.until(lambda: has(CUSTOM_RESOURCE_DEFINITIONS, name), within_s=5.0)
                await cluster.until(
                    lambda: IP_CLAIM_POOLS.path() in cluster.api.collections, within_s=5.0
                )
                pool(cluster, "10.88.2.0/28")
            assert without_flag.not_ready() == {}
            cluster.start_simple("n2", load_balancers=True)
            await cluster.until(lambda: given(cluster)["web"], within_s=15.0)

    run_virtually(scenario())


def test_pools_that_are_defined_later_are_found() -> None:
    async def scenario() -> None:
        async with Cluster().living() as cluster:
            cluster.add_node("n1")
            name = "ipclaimpools.ipcontroller.ext"
            cluster.api.delete(CUSTOM_RESOURCE_DEFINITIONS, name)
            has = cluster.api.has
            await cluster.until(lambda: not has(CUSTOM_RESOURCE_DEFINITIONS, name), within_s=30.0)
            cluster.start_simple("n1", load_balancers=True)
            balancer(cluster, "web")
            cluster.api.define(name)
            await cluster.until(
                lambda: IP_CLAIM_POOLS.path() in cluster.api.collections, within_s=5.0
            )
            pool(cluster, "10.88.2.0/28")
            await cluster.until(lambda: cluster.holders(FIRST), within_s=20.0)

    run_virtually(scenario())


def test_pools_that_may_not_be_read_are_told_of_once_and_asked_for_again() -> None:
    async def scenario() -> None:
        async with Cluster().living() as cluster:
            cluster.add_node("n1")
            pool(cluster, "10.88.2.0/28")
            denied = Rule(FORBIDDEN, plurals=frozenset({"ipclaimpools"}))
            cluster.api.faults.rules.append(denied)
            cluster.start_simple("n1", load_balancers=True)
            balancer(cluster, "web")
            with capture_logs() as logs:
                await asyncio.sleep(60.0)
            told = [one["log_level"] for one in logs if one["event"] == "pools_unreadable"]
            assert told.count("warning") == 1
            assert sum("ipclaimpools" in path for *_, path in cluster.api.requests) > 2
            cluster.api.faults.rules.remove(denied)
            await cluster.until(lambda: given(cluster)["web"], within_s=20.0)

    run_virtually(scenario())


def test_no_address_is_given_twice_when_the_leader_dies_again_and_again() -> None:
    async def scenario() -> None:
        async with Cluster().living() as cluster:
            running = {}
            for node in ("n1", "n2"):
                cluster.add_node(node)
                running[node] = cluster.start_simple(node, load_balancers=True)
            pool(cluster, "10.88.2.0/27")
            names: list[str] = []
            for turn in range(4):
                new = [f"web-{turn}-{number}" for number in range(5)]
                names += new
                for name in new:
                    balancer(cluster, name)
                await cluster.until(partial(has_any, cluster, new), within_s=40.0)
                dead = leader(cluster)
                await running[dead].kill()
                running[dead] = cluster.start_simple(dead, load_balancers=True)
            await cluster.until(lambda: each_once(cluster, names), within_s=40.0)

    run_virtually(scenario())


def test_services_that_a_selector_leaves_out_keep_what_they_show_and_get_nothing() -> None:
    async def scenario() -> None:
        async with Cluster().living() as cluster:
            cluster.add_node("n1")
            pool(cluster, "10.88.2.0/28")
            balancer(cluster, "theirs")
            status = {"loadBalancer": {"ingress": [{"ip": FIRST}]}}
            cluster.api.patch(SERVICES, "theirs", {"status": status}, namespace="default")
            balancer(cluster, "other")
            cluster.start_simple("n1", load_balancers=True, service_selector="edge=yes")
            edge = {"metadata": {"labels": {"edge": "yes"}}}
            balancer(cluster, "web")
            cluster.api.patch(SERVICES, "web", edge, namespace="default")
            async with cluster.always(lambda: given(cluster)["theirs"] == [FIRST]):
                await cluster.until(lambda: given(cluster)["web"], within_s=10.0)
                assert given(cluster)["web"] != [FIRST]
                assert not given(cluster)["other"]
                cluster.api.patch(SERVICES, "other", edge, namespace="default")
                await cluster.until(lambda: given(cluster)["other"], within_s=10.0)

    run_virtually(scenario())


def test_an_address_whose_pool_is_gone_stays_after_a_restart() -> None:
    """Also beside one whose pool is there, and in `spec.externalIPs`."""

    async def scenario() -> None:
        async with Cluster().living() as cluster:
            cluster.add_node("n1")
            pool(cluster, "10.88.2.0/28")
            pool(cluster, "fd00:88::/112", "six")
            simple = cluster.start_simple("n1", load_balancers=True)
            both = ["IPv4", "IPv6"]
            balancer(cluster, "web", ipFamilies=both)
            await cluster.until(lambda: len(given(cluster)["web"]) == 2, within_s=10.0)
            auto = {"metadata": {"annotations": {"external-ip": "auto"}}}
            balancer(cluster, "auto", ipFamilies=both, type="ClusterIP")
            cluster.api.patch(SERVICES, "auto", auto, namespace="default")
            await cluster.until(lambda: len(written(cluster, "auto")) == 2, within_s=10.0)
            shows, writes = given(cluster)["web"], written(cluster, "auto")
            await simple.stop()
            cluster.api.delete(IP_CLAIM_POOLS, "edge")
            again = cluster.start_simple("n1", load_balancers=True)
            await cluster.until(lambda: cluster.holders(shows[0]), within_s=30.0)
            await asyncio.sleep(60.0)
            assert given(cluster)["web"] == shows
            assert written(cluster, "auto") == writes
            assert all(cluster.holders(ip) for ip in (*shows, *writes))
            assert again.not_ready() == {}
            balancer(cluster, "later")
            pool(cluster, "10.88.2.0/28", "again")
            await cluster.until(lambda: given(cluster)["later"], within_s=10.0)
            assert each_once(cluster, ["later"])
            assert given(cluster)["later"][0] not in (*shows, *writes)

    run_virtually(scenario())


def test_an_address_that_a_node_object_lists_stays_after_a_restart() -> None:
    """A kubelet may list each address of its interface."""

    async def scenario() -> None:
        async with Cluster().living() as cluster:
            cluster.add_node("n1")
            pool(cluster, "10.88.2.0/28")
            pool(cluster, "fd00:88::/112", "six")
            simple = cluster.start_simple("n1", load_balancers=True)
            balancer(cluster, "both", ipFamilies=["IPv4", "IPv6"])
            balancer(cluster, "one")
            balancer(cluster, "auto", type="ClusterIP")
            auto = {"metadata": {"annotations": {"external-ip": "auto"}}}
            cluster.api.patch(SERVICES, "auto", auto, namespace="default")
            await cluster.until(lambda: written(cluster, "auto"), within_s=10.0)
            await cluster.until(lambda: has_all(cluster, both=2, one=1), within_s=10.0)
            before = given(cluster), written(cluster, "auto")
            ips = [ip for shows in before[0].values() for ip in shows] + before[1]
            await cluster.until(lambda: all(map(cluster.holders, ips)), within_s=10.0)
            listed = [{"type": "InternalIP", "address": ip} for ip in ips if ip != FIRST_V6]
            cluster.api.patch(NODES, "n1", {"status": {"addresses": listed}})
            await asyncio.sleep(10.0)
            assert (given(cluster), written(cluster, "auto")) == before
            await simple.kill()
            cluster.start_simple("n1", load_balancers=True)
            async with cluster.always(lambda: (given(cluster), written(cluster, "auto")) == before):
                await asyncio.sleep(60.0)
            assert all(map(cluster.holders, ips))

    run_virtually(scenario())


def has_all(cluster: Cluster, **counts: int) -> bool:
    found = given(cluster)
    return all(len(found[name]) == count for name, count in counts.items())


def written(cluster: Cluster, name: str) -> list[str]:
    found = {one["metadata"]["name"]: one for one in cluster.api.all(SERVICES)}
    return found[name]["spec"].get("externalIPs") or []


@pytest.mark.parametrize("why", ["a link is wished", "two namespaces want an IP"])
def test_a_service_that_waits_for_ever_keeps_nothing_else_waiting(why: str) -> None:
    """What waits makes each decision another one, and each one asked for the next, for ever."""

    async def scenario() -> None:
        async with Cluster().living() as cluster:
            cluster.add_node("n1")
            pool(cluster, "10.88.2.0/28")
            cluster.add_service("own", "10.99.0.1")
            if why == "a link is wished":
                annotated = {"metadata": {"annotations": {"ipcontroller.ext/link": "eth0"}}}
                cluster.api.patch(SERVICES, "own", annotated, namespace="default")
            else:
                cluster.add_service("other", "10.99.0.1", namespace="b")
            balancer(cluster, "web")
            balancer(cluster, "waits", loadBalancerIP="10.77.0.1")
            cluster.start_simple("n1", load_balancers=True)
            await cluster.until(lambda: given(cluster)["web"] == [FIRST], within_s=10.0)
            await asyncio.sleep(20)  # of the cluster's time, which stands still in such a loop
            balancer(cluster, "later")
            await cluster.until(lambda: given(cluster)["later"] != [], within_s=10.0)

    run_virtually(scenario())
