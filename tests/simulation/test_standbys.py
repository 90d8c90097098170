"""Standbys in whole clusters, in virtual time: named beforehand, followed, and quiet at rest."""

import asyncio
from itertools import permutations

from extip.api.resources import IP_CLAIMS
from extip.api.resources import NODES as NODE_OBJECTS
from tests.fakes.api_faults import Delay, Rule
from tests.fakes.cluster_objects import Change
from tests.fakes.tasks import beside
from tests.fakes.virtual_time import run_virtually
from tests.simulation.cluster import Cluster

IPS = tuple(f"10.88.1.{number}" for number in range(1, 7))
NODES = ("n1", "n2", "n3")
MONITOR_S = 4.0


def named(cluster: Cluster) -> dict[str, tuple[str, str]]:
    """Return the node and the standby of each IP."""
    specs = [claim["spec"] for claim in cluster.api.all(IP_CLAIMS)]
    return {
        spec["cidr"].partition("/")[0]: (spec.get("nodeName", ""), spec.get("standby", ""))
        for spec in specs
    }


def are_named(cluster: Cluster) -> bool:
    """Whether each IP has a node and a standby."""
    found = named(cluster)
    return found.keys() == set(IPS) and all(node and to for node, to in found.values())


def test_the_ips_of_a_dead_node_are_up_on_their_standbys_whoever_leads_by_then() -> None:
    async def scenario() -> None:
        async with Cluster().living() as cluster:
            for node in NODES:
                cluster.add_node(node)
            first = cluster.start_scheduler("s1", leader_elect=True, monitor_s=MONITOR_S)
            controllers = {node: cluster.start_controller(node) for node in NODES}
            for ip in IPS:
                cluster.add_service(f"web-{ip.replace('.', '-')}", ip)
            await cluster.until(lambda: are_named(cluster), within_s=30.0)
            before = named(cluster)
            await first.stop()
            cluster.start_scheduler("s2", leader_elect=True, monitor_s=MONITOR_S)
            await asyncio.sleep(10.0)
            assert named(cluster) == before, "another leader has nothing to change"

            await controllers["n1"].kill()
            after = {ip: to if node == "n1" else node for ip, (node, to) in before.items()}
            await cluster.until(
                lambda: all(node in cluster.holders(ip) for ip, node in after.items()),
                within_s=MONITOR_S + 2.0,
            )
            await cluster.until(
                lambda: {ip: node for ip, (node, _) in named(cluster).items()} == after,
                within_s=2.0,
            )

    run_virtually(scenario())


def test_claims_are_not_written_again_and_again_at_rest() -> None:
    async def scenario() -> None:
        async with Cluster().living() as cluster:
            for node in NODES:
                cluster.add_node(node)
            cluster.start_scheduler("s1", rebalance_after_s=5.0)
            for node in NODES:
                cluster.start_controller(node)
            for ip in IPS:
                cluster.add_service(f"web-{ip.replace('.', '-')}", ip)
            await cluster.until(lambda: are_named(cluster), within_s=30.0)
            await asyncio.sleep(30.0)
            versions = [c["metadata"]["resourceVersion"] for c in cluster.api.all(IP_CLAIMS)]
            await asyncio.sleep(120.0)
            assert versions == [
                c["metadata"]["resourceVersion"] for c in cluster.api.all(IP_CLAIMS)
            ]

    run_virtually(scenario())


async def relabel_again(cluster: Cluster) -> None:
    """Have labels of the nodes change four times a second."""
    for number in range(10**6):
        for node in NODES:
            patch = {"metadata": {"labels": {"changes": str(number)}}}
            cluster.api.patch(NODE_OBJECTS, node, patch)
        await asyncio.sleep(0.25)


def standbys_written(cluster: Cluster) -> list[str]:
    """Return the claims whose standbys are written from now on, by name, as they are."""
    written: list[str] = []

    def note(change: Change) -> None:
        specs = [(item or {}).get("spec", {}) for item in (change.before, change.after)]
        if specs[0].get("standby") != specs[1].get("standby"):
            written.append(specs[1]["cidr"])

    cluster.api.on_change.append(note)
    return written


def test_standbys_are_spread_while_writes_are_slow_and_nodes_change() -> None:
    """Each change of a node has its IPs decided anew, also those whose standby is being written."""

    async def scenario() -> None:
        async with Cluster().living() as cluster:
            for node in NODES:
                cluster.add_node(node)
                cluster.start_controller(node)
            cluster.start_scheduler("s1")
            await asyncio.sleep(5.0)
            written = standbys_written(cluster)
            writes, claims = frozenset({"patch"}), frozenset({IP_CLAIMS.plural})
            cluster.api.faults.rules.append(Rule(Delay(3.0), verbs=writes, plurals=claims))
            async with beside(relabel_again(cluster)):
                for number, ip in enumerate(IPS):
                    await asyncio.sleep(0.5 if number else 0.0)
                    cluster.add_service(f"web-{number}", ip)
                await cluster.until(lambda: are_named(cluster), within_s=60.0)
                await asyncio.sleep(10.0)
            assert set(named(cluster).values()) == set(permutations(NODES, 2))
            assert len(written) == len(IPS)

    run_virtually(scenario())
