"""Services leave `spec.externalIPs` and come back; no node lets an IP go, whatever fails."""

import asyncio
from contextlib import suppress
from random import Random

import pytest
from structlog.testing import capture_logs

from extip.api.resources import IP_CLAIM_POOLS, IP_CLAIMS, SERVICES, WHOLE_SERVICES
from extip.kube.client import ApiClient
from extip.migrate.policy.plan import Cluster as Known
from extip.migrate.policy.plan import Planner, Wish
from extip.migrate.policy.report import Row
from extip.migrate.writing import Migration
from tests.fakes.api_faults import (
    DENIED,
    ETCD_DOWN,
    TOO_MANY,
    WRITES,
    Effect,
    LoseAnswer,
    Overtake,
    Rule,
)
from tests.fakes.cluster_objects import Json
from tests.fakes.cluster_transport import ClusterTransport
from tests.fakes.virtual_time import VirtualClock, run_virtually
from tests.simulation.cluster import Cluster

PERSON = "a person"
IPS = [f"10.88.2.{n}" for n in range(1, 26)]
NOTE = "ipcontroller.ext/migrated-from"


async def populate(cluster: Cluster, *, claims: bool) -> dict[str, str]:
    """Run services with external IPs, every fifth one with two; return the node of each IP."""
    for number in range(20):
        more = IPS[20 + number // 5 : 21 + number // 5] if number % 5 == 0 else []
        cluster.add_service(f"web-{number}", IPS[number], *more)
    cluster.add_node("n1")
    if claims:
        for name in ("n2", "n3"):
            cluster.add_node(name)
        for name in cluster.networks:
            cluster.start_controller(name)
        cluster.start_scheduler("s1")
    else:
        cluster.start_simple("n1", load_balancers=True)
    spec = {"networks": [{"cidr": f"{ip}/32"} for ip in IPS], "autoAssign": False}
    cluster.api.create(IP_CLAIM_POOLS, "edge", spec=spec)
    wanted = IPS[:24]
    await cluster.until(lambda: all(cluster.holders(ip) for ip in wanted), within_s=60.0)
    await cluster.until(lambda: not claims or holders_told(cluster) == len(wanted), within_s=60.0)
    return {ip: next(iter(cluster.holders(ip))) for ip in wanted}


def holders_told(cluster: Cluster) -> int:
    return sum(bool(one.get("status", {}).get("holder")) for one in cluster.api.all(IP_CLAIMS))


def balanced(cluster: Cluster) -> int:
    """Return how many services are through."""
    return sum(
        "externalIPs" not in one["spec"] and one["spec"]["type"] == "LoadBalancer"
        for one in cluster.api.all(SERVICES)
    )


def unmarked(cluster: Cluster) -> dict[str, tuple[Json, Json]]:
    """Return what a person wrote; somebody who overtakes leaves another annotation."""
    return {
        one["metadata"]["name"]: (
            {"type": "ClusterIP", **one["spec"]},
            {
                key: value
                for key, value in one["metadata"].get("annotations", {}).items()
                if key != "touched"
            },
        )
        for one in cluster.api.all(SERVICES)
    }


async def migrate(cluster: Cluster, *, undo: bool = False, wait_s: float = 60.0) -> list[Row]:
    """Do what the command does, after the plans; return what it tells."""
    client = ApiClient(ClusterTransport(cluster.api, PERSON))
    wish = Wish(undo=undo)
    known = Known(
        services=(await client.list(WHOLE_SERVICES)).items,
        claims=(await client.list(IP_CLAIMS)).items,
        pools=(await client.list(IP_CLAIM_POOLS)).items,
        namespaces={},
        version=(1, 30),
        nobody_gives="",
    )
    plans = Planner(known, known.services, wish).plan()
    assert not any(plan.obstacles for plan in plans)
    rows: list[Row] = []
    migration = Migration(client, wish, wait_s=wait_s, clock=VirtualClock(), on_end=rows.append)
    await migration.run(plans)
    return rows


@pytest.mark.parametrize(
    ("claims", "seed"), [(True, 0), (False, 0), (False, 1)], ids=["claims", "simple", "again"]
)
def test_whatever_fails_and_whenever_it_is_interrupted_no_ip_leaves_its_node(
    seed: int,
    claims: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    rng = Random(seed)  # noqa: S311 - a simulation's chance
    faults: list[Effect] = [TOO_MANY, ETCD_DOWN, LoseAnswer(), Overtake()]

    async def scenario() -> None:
        async with Cluster(seed=seed).living() as cluster:
            places = await populate(cluster, claims=claims)
            before = unmarked(cluster)
            cluster.api.faults.rng = rng
            cluster.api.faults.rules = [
                Rule(one, who=frozenset({PERSON}), verbs=WRITES, chance=0.1) for one in faults
            ]
            with capture_logs() as said:
                for undo in (False, True):
                    for _ in range(3):
                        with suppress(TimeoutError):
                            async with asyncio.timeout(rng.uniform(0.0, 3.0)):
                                await migrate(cluster, undo=undo)
                        await asyncio.sleep(rng.uniform(0.0, 5.0))
                    rows = await migrate(cluster, undo=undo)
                    assert not any(row.is_stuck for row in rows), rows
                    assert balanced(cluster) == (0 if undo else 20)
                    await asyncio.sleep(10.0)
            assert not [line for line in said if line["event"] == "address_deleted"]
            assert {ip: cluster.holders(ip) for ip in places} == {
                ip: {node} for ip, node in places.items()
            }
            assert unmarked(cluster) == before

    run_virtually(scenario())


def test_what_is_refused_for_the_first_one_is_not_tried_for_all() -> None:
    async def scenario() -> None:
        async with Cluster().living() as cluster:
            await populate(cluster, claims=True)
            cluster.api.faults.rules = [
                Rule(DENIED, who=frozenset({PERSON}), verbs=frozenset({"patch"}))
            ]
            began = len(cluster.api.requests)
            rows = await migrate(cluster)
            (first, *others) = rows
            assert "admission webhook" in first.obstacles[0]
            assert {row.obstacles for row in others} == {
                ("not begun, since default/web-0 stopped",)
            }
            tried = [what for _, who, what in cluster.api.requests[began:] if who == PERSON]
            assert sum(what.startswith("patch") for what in tried) == 1
            assert balanced(cluster) == 0
            cluster.api.faults.rules.clear()

    run_virtually(scenario())


def test_without_a_scheduler_only_the_first_one_begins_and_the_end_says_why() -> None:
    async def scenario() -> None:
        async with Cluster().living() as cluster:
            for number in range(20):
                cluster.add_service(f"web-{number}", IPS[number])
            spec = {"networks": [{"cidr": f"{ip}/32"} for ip in IPS], "autoAssign": False}
            cluster.api.create(IP_CLAIM_POOLS, "edge", spec=spec)
            (first, *others) = await migrate(cluster)
            why = "after 60 s its status does not have 10.88.2.1: does extip serve this class?"
            assert first.obstacles[0].startswith(why)
            assert {row.state for row in others} == {"left out"}
            begun = [one for one in cluster.api.all(SERVICES) if one["spec"].get("type")]
            assert len(begun) == 1, "the first one goes alone"
            assert begun[0]["spec"]["externalIPs"] == [IPS[0]]

    run_virtually(scenario())


def test_a_service_that_is_changed_back_deleted_or_made_anew_ends_with_its_reason() -> None:
    async def scenario() -> None:
        async with Cluster().living() as cluster:
            spec = {"networks": [{"cidr": f"{ip}/32"} for ip in IPS], "autoAssign": False}
            cluster.api.create(IP_CLAIM_POOLS, "edge", spec=spec)
            for number in range(4):
                cluster.add_service(f"web-{number}", IPS[number])

            async def meddle() -> None:
                await _begun(cluster, "web-0")
                ways_in = {"loadBalancer": {"ingress": [{"ip": IPS[0]}]}}
                cluster.api.patch(SERVICES, "web-0", {"status": ways_in}, namespace="default")
                await _begun(cluster, "web-3")
                back = {"spec": {"type": "ClusterIP"}}
                cluster.api.patch(SERVICES, "web-1", back, namespace="default")
                cluster.api.delete(SERVICES, "web-2", namespace="default")
                cluster.api.delete(SERVICES, "web-3", namespace="default")
                cluster.add_service("web-3", IPS[3])

            async with asyncio.TaskGroup() as group:
                meddling = group.create_task(meddle())
                rows = await migrate(cluster)
                await meddling
            told = {row.service: "; ".join(row.obstacles) for row in rows}
            assert told["default/web-0"] == ""
            assert told["default/web-1"] == "another program changes it back"
            assert "default/web-2: " in told["default/web-2"]
            assert told["default/web-3"] == "service default/web-3 is another one by now"

    run_virtually(scenario())


async def _begun(cluster: Cluster, name: str) -> None:
    """Wait until a service is a load balancer."""

    def is_balancer() -> bool:
        return any(
            one["metadata"]["name"] == name and one["spec"].get("type") == "LoadBalancer"
            for one in cluster.api.all(SERVICES)
        )

    await cluster.until(is_balancer, within_s=10.0)
