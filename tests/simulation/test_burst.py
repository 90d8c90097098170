"""Many load balancers are created in a row: what their addresses wait for, and what waits."""

import asyncio
from collections import Counter
from collections.abc import Iterable

from extip.api.resources import IP_CLAIM_POOLS, IP_CLAIMS, SERVICES
from tests.fakes.virtual_time import virtually
from tests.simulation.cluster import Cluster

COUNT, PER_SECOND = 50, 15
FEW = 16
"""Claims of a node that are reported of at once, however many follow."""

KINDS = {
    "create ipclaims",
    "get ipclaims",
    "patch ipclaims",
    "patch ipclaims/status",
    "patch services/status",
}


def sent(cluster: Cluster) -> Counter[str]:
    """Return the number of requests about claims and services by verb and kind."""
    found = Counter(" ".join(what.split()[:2]) for _, _, what in cluster.api.requests)
    return Counter({kind: count for kind, count in found.items() if kind in KINDS})


async def begin(cluster: Cluster, *, latency_s: float) -> None:
    cluster.api.latency_s = latency_s
    cluster.add_node("n1")
    cluster.start_controller("n1", probe_s=0.0)
    spec = {"cidr": "10.88.0.0/24", "ranges": [["10.88.0.1", "10.88.0.200"]]}
    cluster.api.create(IP_CLAIM_POOLS, "pool", spec=spec)
    cluster.start_scheduler("s1")
    await asyncio.sleep(30)
    cluster.api.requests.clear()


async def create(cluster: Cluster, numbers: Iterable[int]) -> None:
    for number in numbers:
        spec = {
            "type": "LoadBalancer",
            "ports": [{"port": 80, "protocol": "TCP"}],
            "clusterIP": f"10.96.1.{1 + number}",
            "ipFamilies": ["IPv4"],
            "ipFamilyPolicy": "SingleStack",
        }
        cluster.api.create(SERVICES, f"web-{number:02}", namespace="default", spec=spec)
        await asyncio.sleep(1 / PER_SECOND)


@virtually
async def test_of_many_services_each_costs_two_writes_before_its_address_answers_and_one_after():
    """A claim and an address at once; once no more come, a report that says `Assigned`, too."""
    async with Cluster().living() as cluster:
        await begin(cluster, latency_s=0.005)

        await create(cluster, range(COUNT))
        await asyncio.sleep(0.2)
        assert all(cluster.holders(f"10.88.0.{1 + number}") for number in range(COUNT))
        early = sent(cluster)
        assert early["create ipclaims"] == early["patch services/status"] == COUNT
        assert early["patch ipclaims/status"] <= FEW
        assert early["patch ipclaims"] <= FEW

        await asyncio.sleep(30)
        assert sent(cluster) == {
            "create ipclaims": COUNT,
            "patch services/status": COUNT,
            "patch ipclaims/status": COUNT,
        }
        for claim in cluster.api.all(IP_CLAIMS):
            told = {one["type"]: one for one in claim["status"]["conditions"]}
            assert told["Assigned"]["message"] == f"to {claim['spec']['nodeName']}"
            assert {kind: one["status"] for kind, one in told.items()} == dict.fromkeys(
                ("Accepted", "Up", "Assigned"), "True"
            )


@virtually
async def test_of_services_of_one_second_none_loses_its_address_to_another_while_it_is_claimed():
    """Of equal age the name counts: each one here comes before those that have an address."""
    async with Cluster().living() as cluster:
        await begin(cluster, latency_s=0.5)
        await create(cluster, range(FEW, 0, -1))
        await asyncio.sleep(20)
        assert sent(cluster) == {
            "create ipclaims": FEW,
            "patch services/status": FEW,
            "patch ipclaims/status": FEW,
        }
