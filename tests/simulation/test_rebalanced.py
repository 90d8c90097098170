"""Moves for balance in whole clusters, in virtual time: none of them costs an IP."""

import asyncio
from collections import Counter
from ipaddress import ip_network

from tests.fakes.tasks import beside
from tests.fakes.virtual_time import run_virtually
from tests.simulation.cluster import Cluster
from tests.simulation.test_standbys import IPS, named

ANOTHER = (ip_network("10.99.0.0/24"),)
"""A network without any of the IPs."""

REBALANCE_AFTER_S = 5.0


def loads(cluster: Cluster) -> Counter[str]:
    """Return how many claims each node has."""
    return Counter(node for node, _ in named(cluster).values())


async def note_gaps(cluster: Cluster, gaps: set[str]) -> None:
    """Note the IPs that no node has, all the time."""
    while True:
        gaps.update(ip for ip in IPS if not cluster.holders(ip))
        await asyncio.sleep(0.05)


def test_a_node_that_refuses_an_ip_costs_it_nothing_and_has_its_share_when_it_does_no_more() -> (
    None
):
    async def scenario() -> None:
        async with Cluster().living() as cluster:
            for node in ("n1", "n2", "n3"):
                cluster.add_node(node)
            cluster.start_scheduler("s1", rebalance_after_s=REBALANCE_AFTER_S)
            for node in ("n1", "n2"):
                cluster.start_controller(node)
            for ip in IPS:
                cluster.add_service(f"web-{ip.replace('.', '-')}", ip)
            await cluster.until(lambda: all(map(cluster.holders, IPS)), within_s=10.0)
            refusing, gaps = cluster.start_controller("n3", allow_cidr=ANOTHER), set[str]()
            async with beside(note_gaps(cluster, gaps)):
                await cluster.until(lambda: loads(cluster)["n3"], within_s=20.0)
                await cluster.until(lambda: not loads(cluster)["n3"], within_s=4.0)
                await asyncio.sleep(12.0)
                assert loads(cluster) == {"n1": 3, "n2": 3}
                await refusing.stop()
                cluster.start_controller("n3")
                even = {"n1": 2, "n2": 2, "n3": 2}
                await cluster.until(lambda: loads(cluster) == even, within_s=20.0)
                await asyncio.sleep(2.0)
            assert gaps == set()

    run_virtually(scenario())
