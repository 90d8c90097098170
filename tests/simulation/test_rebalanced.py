"""Moves for balance in whole clusters, in virtual time: none of them costs an IP."""

import asyncio
import errno
from collections import Counter
from ipaddress import ip_interface, ip_network

import pytest

from extip.api.resources import IP_CLAIMS
from tests.fakes.api_faults import WEBHOOK_DOWN, Call, Effect, Overtake, Rule
from tests.fakes.cluster_objects import Json
from tests.fakes.tasks import beside
from tests.fakes.virtual_time import run_virtually
from tests.simulation.cluster import Cluster
from tests.simulation.test_standbys import IPS, named

ANOTHER = (ip_network("10.99.0.0/24"),)
"""A network without any of the IPs."""

REBALANCE_AFTER_S = 5.0

EVEN = {"n1": 2, "n2": 2, "n3": 2}


def loads(cluster: Cluster) -> Counter[str]:
    """Return how many claims each node has."""
    return Counter(node for node, _ in named(cluster).values())


async def note_gaps(cluster: Cluster, gaps: set[str]) -> None:
    """Note the IPs that no node has, all the time."""
    while True:
        gaps.update(ip for ip in IPS if not cluster.holders(ip))
        await asyncio.sleep(0.05)


async def settle_on_two_nodes(cluster: Cluster) -> None:
    """Have all IPs up on two of three nodes: the third one has no controller."""
    for node in ("n1", "n2", "n3"):
        cluster.add_node(node)
    cluster.start_scheduler("s1", rebalance_after_s=REBALANCE_AFTER_S)
    for node in ("n1", "n2"):
        cluster.start_controller(node)
    for ip in IPS:
        cluster.add_service(f"web-{ip.replace('.', '-')}", ip)
    await cluster.until(lambda: all(map(cluster.holders, IPS)), within_s=10.0)


def fail_moves_from(cluster: Cluster, node: str, effect: Effect) -> set[str]:
    """Have the first write of each claim fail that takes it from the node; return their names."""
    failed: set[str] = set()
    faults = cluster.api.faults

    def look(call: Call) -> None:
        faults.rules.clear()
        there = {c["metadata"]["name"] for c in cluster.api.all(IP_CLAIMS) if on(node, c)}
        if call.name in there - failed and b'"nodeName"' in call.sent:
            failed.add(call.name)
            faults.rules.append(Rule(effect))

    faults.observed = look
    return failed


def on(node: str, claim: Json) -> bool:
    """Whether the claim names the node."""
    return bool(claim["spec"].get("nodeName") == node)


@pytest.mark.parametrize(
    "effect", [None, WEBHOOK_DOWN, Overtake()], ids=["written", "refused", "overtaken"]
)
def test_a_node_that_cannot_have_an_ip_costs_it_nothing_and_has_its_share_when_it_can(
    effect: Effect | None,
) -> None:
    """Its kernel refuses the IPs: no check beforehand sees that. The write back may fail once."""

    async def scenario() -> None:
        async with Cluster().living() as cluster:
            await settle_on_two_nodes(cluster)
            kernel = cluster.networks["n3"].node
            kernel.failures.update(dict.fromkeys(map(ip_interface, IPS), errno.ENOBUFS))
            unable, gaps = cluster.start_controller("n3"), set[str]()
            async with beside(note_gaps(cluster, gaps)):
                await cluster.until(lambda: loads(cluster)["n3"], within_s=20.0)
                failed = effect and fail_moves_from(cluster, "n3", effect)
                await cluster.until(lambda: not loads(cluster)["n3"], within_s=6.0)
                assert bool(failed) == bool(effect)
                await asyncio.sleep(12.0)
                assert loads(cluster) == {"n1": 3, "n2": 3}
                await unable.stop()
                kernel.failures.clear()
                cluster.start_controller("n3")
                await cluster.until(lambda: loads(cluster) == EVEN, within_s=20.0)
                await asyncio.sleep(2.0)
            assert gaps == set()

    run_virtually(scenario())


def test_no_ip_is_moved_to_a_node_that_says_beforehand_that_it_refuses_it() -> None:
    async def scenario() -> None:
        async with Cluster().living() as cluster:
            await settle_on_two_nodes(cluster)
            refusing = cluster.start_controller("n3", allow_cidr=ANOTHER)
            async with cluster.always(lambda: not loads(cluster)["n3"]):
                await asyncio.sleep(30.0)
            await refusing.stop()
            cluster.start_controller("n3")
            await cluster.until(lambda: loads(cluster) == EVEN, within_s=20.0)

    run_virtually(scenario())
