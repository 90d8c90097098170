"""`--without-endpoints withdraw`, above all in simple mode: whole modes in virtual time."""

import asyncio

import pytest

from extip.api.resources import ENDPOINT_SLICES, EVENTS, SERVICES
from extip.endpoints.readiness import SETTLE_S
from tests.fakes.api_faults import FORBIDDEN, Hang, Rule
from tests.fakes.virtual_time import run_virtually
from tests.simulation.cluster import Cluster

IP = "10.88.1.1"
READY, UNREADY = True, False
WITHDRAW = {"without_endpoints": "withdraw"}


def publish(cluster: Cluster, *ready: bool) -> None:
    """Write the endpoints of the service, each ready or not."""
    endpoints = [
        {"addresses": [f"10.1.0.{n}"], "nodeName": f"n{n}", "conditions": {"ready": one}}
        for n, one in enumerate(ready, 2)
    ]
    if any(piece["metadata"]["name"] == "web" for piece in cluster.api.all(ENDPOINT_SLICES)):
        cluster.api.patch(ENDPOINT_SLICES, "web", {"endpoints": endpoints}, namespace="default")
    else:
        cluster.api.create(
            ENDPOINT_SLICES,
            "web",
            namespace="default",
            metadata={"labels": {"kubernetes.io/service-name": "web"}},
            endpoints=endpoints,
        )


def told(cluster: Cluster) -> list[str]:
    return [
        event["message"]
        for event in cluster.api.all(EVENTS)
        if event["reason"] == "NoReadyEndpoint"
    ]


def test_an_ip_without_endpoints_goes_is_told_of_and_comes_back() -> None:
    async def scenario() -> None:
        async with Cluster().living() as cluster:
            cluster.add_node("n1")
            cluster.add_service("web", IP)
            publish(cluster, READY, READY)
            cluster.start_simple("n1", **WITHDRAW)
            await cluster.until(lambda: cluster.holders(IP), within_s=5.0)
            publish(cluster, UNREADY, UNREADY)
            async with cluster.always(lambda: cluster.holders(IP)):
                await asyncio.sleep(SETTLE_S * 0.9)
            await cluster.until(lambda: not cluster.holders(IP), within_s=SETTLE_S)
            await cluster.until(lambda: told(cluster), within_s=5.0)
            publish(cluster, UNREADY, READY)
            await cluster.until(lambda: cluster.holders(IP), within_s=1.0)
            assert len(told(cluster)) == 1

    run_virtually(scenario())


def test_a_rolling_restart_takes_nothing_down() -> None:
    async def scenario() -> None:
        async with Cluster().living() as cluster:
            cluster.add_node("n1")
            cluster.add_service("web", IP)
            publish(cluster, READY)
            cluster.start_simple("n1", **WITHDRAW)
            await cluster.until(lambda: cluster.holders(IP), within_s=5.0)
            async with cluster.always(lambda: cluster.holders(IP)):
                for _ in range(4):
                    publish(cluster, UNREADY)
                    await asyncio.sleep(SETTLE_S * 0.9)
                    publish(cluster, READY)
                    await asyncio.sleep(1.0)
            assert told(cluster) == []

    run_virtually(scenario())


def test_the_next_process_leaves_down_what_is_down_and_up_what_is_up() -> None:
    async def scenario() -> None:
        async with Cluster().living() as cluster:
            cluster.add_node("n1")
            cluster.add_service("web", IP)
            publish(cluster, UNREADY)
            for _ in range(2):
                simple = cluster.start_simple("n1", **WITHDRAW)
                async with cluster.always(lambda: not cluster.holders(IP)):
                    await asyncio.sleep(3 * SETTLE_S)
                assert simple.not_ready() == {}
                await simple.kill()
            publish(cluster, READY)
            simple = cluster.start_simple("n1", **WITHDRAW)
            await cluster.until(lambda: cluster.holders(IP), within_s=5.0)
            await simple.kill()
            publish(cluster, UNREADY)
            cluster.start_simple("n1", **WITHDRAW)
            async with cluster.always(lambda: cluster.holders(IP)):
                await asyncio.sleep(SETTLE_S * 0.9)
            await cluster.until(lambda: not cluster.holders(IP), within_s=SETTLE_S)

    run_virtually(scenario())


@pytest.mark.parametrize("mode", ["simple", "claims"])
def test_an_ip_that_is_down_stays_down_while_its_service_is_deleted(mode: str) -> None:
    async def scenario() -> None:
        async with Cluster().living() as cluster:
            cluster.add_node("n1")
            cluster.add_service("web", IP)
            publish(cluster, UNREADY)
            if mode == "simple":
                cluster.start_simple("n1", **WITHDRAW)
            else:
                cluster.start_scheduler("s1", **WITHDRAW)
                cluster.start_controller("n1")
            await asyncio.sleep(3 * SETTLE_S)
            async with cluster.always(lambda: not cluster.holders(IP)):
                cluster.api.delete(SERVICES, "web", namespace="default")
                await asyncio.sleep(3 * SETTLE_S)

    run_virtually(scenario())


@pytest.mark.parametrize("effect", [FORBIDDEN, Hang()])
def test_where_endpoints_cannot_be_read_ips_are_up(effect: Hang) -> None:
    """To have them all down would be worse than to have one up that nobody serves."""

    async def scenario() -> None:
        async with Cluster().living() as cluster:
            cluster.api.faults.rules.append(
                Rule(effect, plurals=frozenset({"endpointslices"}), verbs=frozenset({"list"}))
            )
            cluster.add_node("n1")
            cluster.add_service("web", IP)
            publish(cluster, UNREADY)
            simple = cluster.start_simple("n1", **WITHDRAW)
            await cluster.until(lambda: cluster.holders(IP), within_s=5.0)
            assert simple.not_ready() == {}
            async with cluster.always(lambda: cluster.holders(IP)):
                await asyncio.sleep(3 * SETTLE_S)
            cluster.api.faults.rules.clear()
            await cluster.until(lambda: not cluster.holders(IP), within_s=120.0)

    run_virtually(scenario())


def test_without_the_flag_nothing_goes() -> None:
    async def scenario() -> None:
        async with Cluster().living() as cluster:
            cluster.add_node("n1")
            cluster.add_service("web", IP)
            publish(cluster, UNREADY)
            cluster.start_simple("n1")
            await cluster.until(lambda: cluster.holders(IP), within_s=1.0)
            async with cluster.always(lambda: cluster.holders(IP)):
                await asyncio.sleep(3 * SETTLE_S)

    run_virtually(scenario())
