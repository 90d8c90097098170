"""Ordered moves in whole clusters, in virtual time, while the API server fails."""

import asyncio

from extip.api.resources import IP_CLAIMS, IP_NODES
from tests.fakes.api_faults import Hang, Rule
from tests.fakes.tasks import beside
from tests.fakes.virtual_time import run_virtually
from tests.simulation.cluster import Cluster
from tests.simulation.test_standbys import named

IP = "10.88.1.1"


async def note_holders(cluster: Cluster, seen: list[set[str]]) -> None:
    """Note which nodes have the IP, whenever that differs."""
    while True:
        found = cluster.holders(IP)
        if not seen or seen[-1] != found:
            seen.append(found)
        await asyncio.sleep(0.1)


async def served_by_n1(cluster: Cluster) -> None:
    """Start two nodes, and wait until the first one has the IP and the second one is there."""
    for node in ("n1", "n2"):
        cluster.add_node(node)
    cluster.start_scheduler("s1")
    cluster.start_controller("n1")
    cluster.add_service("web", IP)
    await cluster.until(lambda: cluster.holders(IP) == {"n1"}, within_s=10.0)
    cluster.start_controller("n2")
    await asyncio.sleep(15.0)


def drain(cluster: Cluster, node: str) -> None:
    """Have the IPs of a node moved."""
    cluster.api.patch(IP_NODES, node, {"spec": {"draining": True}})


def test_an_ip_stays_up_when_the_api_server_goes_before_it_has_told_the_next_holder() -> None:
    async def scenario() -> None:
        async with Cluster().living() as cluster:
            await served_by_n1(cluster)
            seen: list[set[str]] = []
            async with beside(note_holders(cluster, seen)):
                cluster.api.faults.deaf |= {"controller on n2"}
                drain(cluster, "n1")
                await cluster.until(lambda: named(cluster)[IP][0] == "n2", within_s=2.0)
                await asyncio.sleep(0.1)
                cluster.api.faults.deaf -= {"controller on n2"}
                cluster.api.faults.refusing = True
                cluster.api.break_watches()
                await asyncio.sleep(30.0)
            assert seen == [{"n1"}]
            cluster.api.faults.refusing = False
            async with cluster.always(lambda: cluster.holders(IP)):
                await cluster.until(lambda: cluster.holders(IP) == {"n2"}, within_s=10.0)
            assert cluster.last_announced(IP) == "n2"

    run_virtually(scenario())


def test_an_ip_stays_up_when_the_api_server_goes_before_it_has_told_the_former_holder() -> None:
    """Both have it then. When their Leases are stale, the one with the lower MAC keeps it."""

    async def scenario() -> None:
        async with Cluster().living() as cluster:
            await served_by_n1(cluster)
            reports = frozenset({"patch"}), frozenset({IP_CLAIMS.plural})
            unheard = Rule(Hang(), frozenset({"controller on n2"}), *reports)
            cluster.api.faults.rules.append(unheard)
            seen: list[set[str]] = []
            async with beside(note_holders(cluster, seen)):
                drain(cluster, "n1")
                await cluster.until(lambda: cluster.holders(IP) == {"n1", "n2"}, within_s=2.0)
                cluster.api.faults.refusing = True
                cluster.api.break_watches()
                await asyncio.sleep(30.0)
                assert len(seen[-1]) == 1
                cluster.api.faults.rules.remove(unheard)
                cluster.api.faults.refusing = False
                await cluster.until(lambda: cluster.holders(IP) == {"n2"}, within_s=15.0)
            assert all(seen)

    run_virtually(scenario())
