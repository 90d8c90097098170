"""An older version beside this one: no IP is lost, whichever of them is the older one.

The older one knows none of `tests.fakes.older_transport.NEWER`. `tests/system/test_upgrade.py` has
the real programs of another version, and random histories have all that may happen meanwhile.
"""

import asyncio
from collections.abc import Iterable
from typing import Any

import pytest

from extip import __version__
from extip.api.ipcontroller_v1 import IpClaim, IpNode
from extip.api.names import STANDBY_LABEL
from extip.api.resources import IP_CLAIMS, IP_NODES, Resource
from extip.cache.listwatch import WatchEvent
from extip.definitions.schema import schema_of
from extip.kube.client import ApiClient, Scope
from extip.nodes.registration import LEFT_S
from extip.scheduling import failovers
from tests.fakes.cluster_api import ClusterApi
from tests.fakes.cluster_transport import ClusterTransport
from tests.fakes.older_transport import NEWER, VERSION, OlderTransport
from tests.fakes.virtual_time import run_virtually
from tests.simulation.cluster import Cluster, Running
from tests.simulation.test_failed_over import failed_over, play
from tests.simulation.test_standbys import IPS, MONITOR_S, NODES, are_named, named

SETTLED_S, TAKEN_S = 15.0, 2.0
LED_S = LEFT_S + 60.0
"""An older leader leaves the end of a fail-over to the node."""

LEADING: dict[str, object] = {"leader_elect": True, "monitor_s": MONITOR_S}


@pytest.fixture(autouse=True)
def _few_claims_are_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(failovers, "LEAST", 1)


def nodes_of(cluster: Cluster) -> dict[str, str]:
    return {ip: node for ip, (node, _) in named(cluster).items()}


def are_where_claimed(cluster: Cluster) -> bool:
    return all(cluster.holders(ip) == {node} for ip, node in nodes_of(cluster).items())


async def mixed(cluster: Cluster, older: Iterable[str]) -> dict[str, Running]:
    """Have standbys chosen by this version, and then some processes replaced by an older one.

    Return the last process of each name.
    """
    for node in NODES:
        cluster.add_node(node)
    running = {node: cluster.start_controller(node) for node in NODES}
    running["s1"] = cluster.start_scheduler("s1", **LEADING)
    for ip in IPS:
        cluster.add_service(f"web-{ip.replace('.', '-')}", ip)
    await cluster.until(lambda: are_named(cluster), within_s=30.0)
    for name in older:
        await running[name].stop()
        cluster.older.add(name)
        if name in NODES:
            running[name] = cluster.start_controller(name)
        else:
            running[name] = cluster.start_scheduler(name, **LEADING)
        await asyncio.sleep(SETTLED_S)
    await asyncio.sleep(SETTLED_S)
    return running


@pytest.mark.parametrize(
    "older", [("n1",), ("n2",), ("n1", "n2", "n3"), ("s1",), ("s1", "n2"), ("s1", "n1", "n2", "n3")]
)
def test_the_ips_of_a_dead_node_are_up_elsewhere_whichever_programs_are_older(
    older: tuple[str, ...],
) -> None:
    async def scenario(cluster: Cluster) -> None:
        running = await mixed(cluster, older)
        assert are_where_claimed(cluster)
        dies = next(node for node in NODES if node in nodes_of(cluster).values())
        lost = [ip for ip, node in nodes_of(cluster).items() if node == dies]
        await running[dies].kill()
        await cluster.until(
            lambda: all(cluster.holders(ip) - {dies} for ip in lost),
            within_s=MONITOR_S + TAKEN_S,
        )
        async with cluster.always(lambda: all(cluster.holders(ip) - {dies} for ip in lost)):
            await asyncio.sleep(TAKEN_S)
        await asyncio.sleep(SETTLED_S)
        assert are_where_claimed(cluster)

    play(scenario)


@pytest.mark.parametrize("back", [(), ("n1",)], ids=["dead", "back"])
def test_a_fail_over_by_one_write_goes_on_when_an_older_version_leads(
    back: tuple[str, ...],
) -> None:
    async def scenario(cluster: Cluster) -> None:
        running = await mixed(cluster, ())
        cluster.older.add("s2")
        cluster.start_scheduler("s2", **LEADING)
        lost = [ip for ip, node in nodes_of(cluster).items() if node == "n1"]
        await running["n1"].kill()
        await cluster.until(lambda: failed_over(cluster, "n1"), within_s=MONITOR_S + TAKEN_S)
        await running["s1"].kill()
        for node in back:
            cluster.start_controller(node)
        await cluster.until(lambda: all(map(cluster.holders, lost)), within_s=TAKEN_S)
        async with cluster.always(lambda: all(map(cluster.holders, lost))):
            await asyncio.sleep(TAKEN_S)
        await asyncio.sleep(LED_S)
        assert are_where_claimed(cluster)

    play(scenario)


def test_an_older_version_reads_and_writes_none_of_the_newer_fields() -> None:
    async def scenario() -> None:
        api = ClusterApi()
        newer = ApiClient(ClusterTransport(api, "newer"))
        older = ApiClient(OlderTransport(api, "older"))
        api.create(
            IP_CLAIMS,
            "c",
            metadata={"labels": {STANDBY_LABEL: "n2"}},
            spec={"cidr": "10.88.1.1/32", "nodeName": "n1", "standby": "n2"},
        )
        (seen,) = (await older.list(IP_CLAIMS)).items
        assert seen == await older.get(IP_CLAIMS, name="c")
        assert (seen.spec.node_name, seen.spec.standby, seen.metadata.labels) == ("n1", "", {})
        scope = Scope(label_selector=f"{STANDBY_LABEL}=n2")
        assert len((await newer.list(IP_CLAIMS, scope)).items) == 1
        assert not (await older.list(IP_CLAIMS, scope)).items

        version = seen.metadata.resource_version
        async with older.watch(IP_CLAIMS, resource_version=version, timeout_s=60) as events:
            patch = {"spec": {"nodeName": "n3", "standby": None}}
            written = await older.patch(IP_CLAIMS, patch, name="c")
            event = await anext(events)
        assert isinstance(event, WatchEvent)
        assert event.object == written
        found = await newer.get(IP_CLAIMS, name="c")
        assert (found.spec.node_name, found.spec.standby) == ("n3", "n2")
        assert (written.spec.node_name, written.spec.standby) == ("n3", "")

        api.create(IP_NODES, "n1")
        report = {"status": {"version": __version__, "silent": ["n2"], "claims": 3}}
        told = await older.patch(IP_NODES, report, name="n1", subresource="status")
        status = (await newer.get(IP_NODES, name="n1")).status
        assert (status.version, status.silent, status.claims) == (VERSION, None, 3)
        assert told.status.version == __version__

    run_virtually(scenario())


@pytest.mark.parametrize("kind", [IP_CLAIMS, IP_NODES], ids=lambda kind: kind.plural)
def test_the_fields_that_an_older_version_does_not_know_are_there_now(
    kind: Resource[IpClaim] | Resource[IpNode],
) -> None:
    parts: Any = schema_of(kind.type)["properties"]
    fields = [path for path in NEWER[kind.path()] if path[0] != "metadata"]
    assert fields
    for part, name in fields:
        assert name in parts[part]["properties"]
