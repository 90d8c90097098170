"""Whole modes, as they run on nodes, on one loop in virtual time."""

import asyncio

import pytest
from structlog.testing import capture_logs

from extip.api.resources import ENDPOINT_SLICES, IP_CLAIMS, SERVICES
from tests.fakes.virtual_time import run_virtually
from tests.simulation.cluster import Cluster

IP = "10.88.1.1"
MONITOR_S, TTL_S = 4.0, 6.0


def test_simple_mode_brings_an_external_ip_up_and_withdraws_it() -> None:
    async def scenario() -> None:
        async with Cluster().living() as cluster:
            cluster.add_node("n1")
            cluster.add_service("web", IP)
            simple = cluster.start_simple("n1")
            await cluster.until(lambda: cluster.holders(IP), within_s=5.0)
            assert cluster.last_announced(IP) == "n1"
            assert simple.not_ready() == {}
            cluster.api.delete(SERVICES, "web", namespace="default")
            await cluster.until(lambda: not cluster.holders(IP), within_s=5.0)
            cluster.add_service("web", IP)
            await cluster.until(lambda: cluster.holders(IP), within_s=5.0)
            await simple.stop()
            assert not cluster.holders(IP)

    run_virtually(scenario())


def test_simple_mode_puts_an_ip_on_the_interface_that_its_service_names() -> None:
    """And on the first one that may have it again, when the service names none any more."""

    async def scenario() -> None:
        async with Cluster().living() as cluster:
            node = cluster.add_node("n1").node
            node.add_link("eth1", mac=b"\x02\x00\x00\x00\x01\x01")
            cluster.add_service("web", IP)

            def name(link: str | None) -> None:
                note = {"metadata": {"annotations": {"ipcontroller.ext/link": link}}}
                cluster.api.patch(SERVICES, "web", note, namespace="default")

            def on() -> set[str]:
                indexes = {one.link_index for one in node.observed() if one.ours}
                return {link.name for link in node.all_links() if link.index in indexes}

            name("eth1")
            simple = cluster.start_simple("n1", iface="eth0,eth1")
            await cluster.until(lambda: on() == {"eth1"}, within_s=5.0)
            name(None)
            await cluster.until(lambda: on() == {"eth0"}, within_s=5.0)
            name("eth7")
            await cluster.until(lambda: on() == set(), within_s=5.0)
            name("eth1")
            await cluster.until(lambda: on() == {"eth1"}, within_s=15.0)
            assert simple.not_ready() == {}
            await simple.stop()

    run_virtually(scenario())


def test_simple_mode_knows_its_node_by_its_addresses_from_the_first_pass_on() -> None:
    """The host name is another one. The IP would be up for seconds without an endpoint there."""

    async def scenario() -> None:
        async with Cluster().living() as cluster:
            cluster.add_node("n1").hostname = "n1.example.org"
            spec = {"externalTrafficPolicy": "Local", "type": "NodePort"}
            cluster.add_service("web", IP)
            cluster.api.patch(SERVICES, "web", {"spec": spec}, namespace="default")
            cluster.api.create(
                ENDPOINT_SLICES,
                "web",
                namespace="default",
                metadata={"labels": {"kubernetes.io/service-name": "web"}},
                endpoints=[{"addresses": ["10.1.0.1"], "nodeName": "n2"}],
            )
            with capture_logs() as logs:
                simple = cluster.start_simple("n1")
                async with cluster.always(lambda: not cluster.holders(IP)):
                    await asyncio.sleep(30.0)
                assert simple.not_ready() == {}
            assert "own_node_unknown" not in {one["event"] for one in logs}
            endpoints = [{"addresses": ["10.1.0.2"], "nodeName": "n1"}]
            cluster.api.patch(ENDPOINT_SLICES, "web", {"endpoints": endpoints}, namespace="default")
            await cluster.until(lambda: cluster.holders(IP), within_s=5.0)

    run_virtually(scenario())


def test_the_ip_of_a_controller_that_is_killed_comes_up_on_another_node_in_time() -> None:
    async def scenario() -> None:
        async with Cluster().living() as cluster:
            cluster.add_node("n1")
            cluster.add_node("n2")
            cluster.start_scheduler("s1", monitor_s=MONITOR_S)
            controllers = {node: cluster.start_controller(node) for node in ("n1", "n2")}
            cluster.add_service("web", IP)
            await cluster.until(lambda: cluster.holders(IP), within_s=10.0)
            (first,) = cluster.holders(IP)
            second = "n2" if first == "n1" else "n1"
            assert cluster.last_announced(IP) == first

            await controllers[first].kill()
            took_s = await cluster.until(
                lambda: second in cluster.holders(IP), within_s=MONITOR_S + 1.0
            )
            assert took_s > MONITOR_S / 2, "it was not the silence of the node that moved the IP"
            assert cluster.last_announced(IP) == second
            (claim,) = cluster.api.all(IP_CLAIMS)
            assert claim["spec"]["nodeName"] == second
            await cluster.until(lambda: cluster.holders(IP) == {second}, within_s=TTL_S)

    run_virtually(scenario())


def test_the_ip_of_a_controller_that_is_stopped_is_up_on_another_node_before_it_goes() -> None:
    async def scenario() -> None:
        async with Cluster().living() as cluster:
            cluster.add_node("n1")
            cluster.add_node("n2")
            cluster.start_scheduler("s1")
            controllers = {node: cluster.start_controller(node) for node in ("n1", "n2")}
            cluster.add_service("web", IP)
            await cluster.until(lambda: cluster.holders(IP), within_s=10.0)
            (first,) = cluster.holders(IP)
            async with cluster.always(lambda: cluster.holders(IP)):
                await controllers[first].stop()
            assert cluster.holders(IP) == {"n1", "n2"} - {first}

    run_virtually(scenario())


def test_with_on_api_loss_release_two_nodes_never_have_an_ip() -> None:
    async def scenario() -> None:
        async with Cluster().living() as cluster:
            cluster.add_node("n1")
            cluster.add_node("n2")
            cluster.start_scheduler("s1", monitor_s=MONITOR_S)
            controllers = {
                node: cluster.start_controller(node, on_api_loss="release") for node in ("n1", "n2")
            }
            cluster.add_service("web", IP)
            await cluster.until(lambda: cluster.holders(IP), within_s=10.0)
            (first,) = cluster.holders(IP)
            second = "n2" if first == "n1" else "n1"
            async with cluster.always(lambda: len(cluster.holders(IP)) < 2):
                controllers[first].cut_off()
                # Its addresses end by themselves, before anybody else has the IP.
                await cluster.until(lambda: not cluster.holders(IP), within_s=TTL_S + 1.1)
                await cluster.until(lambda: cluster.holders(IP) == {second}, within_s=MONITOR_S)

    run_virtually(scenario())


def test_an_api_server_that_is_away_for_all_takes_no_ip_down_and_moves_none() -> None:
    async def scenario() -> None:
        async with Cluster().living() as cluster:
            cluster.add_node("n1")
            cluster.add_node("n2")
            cluster.start_scheduler("s1", monitor_s=MONITOR_S)
            for node in ("n1", "n2"):
                cluster.start_controller(node)
            cluster.add_service("web", IP)
            await cluster.until(lambda: cluster.holders(IP), within_s=10.0)
            holders = cluster.holders(IP)
            async with cluster.always(lambda: cluster.holders(IP) == holders):
                cluster.api.faults.refusing = True
                await asyncio.sleep(2 * TTL_S)
                cluster.api.faults.refusing = False
                await asyncio.sleep(2 * TTL_S)

    run_virtually(scenario())


def test_the_same_chance_gives_the_same_run() -> None:
    """Whatever a simulation finds can be found again: by the seed, to the last request."""

    async def requests(seed: int) -> list[tuple[float, str, str]]:
        async with Cluster(seed=seed).living() as cluster:
            for node in ("n1", "n2", "n3"):
                cluster.add_node(node)
                cluster.start_controller(node)
            cluster.start_scheduler("s1", monitor_s=MONITOR_S)
            ips = [f"10.88.1.{number}" for number in range(1, 11)]
            for ip in ips:
                cluster.add_service(f"web-{ip.replace('.', '-')}", ip)
            await cluster.until(lambda: all(map(cluster.holders, ips)), within_s=10.0)
            return cluster.api.requests

    first = run_virtually(requests(1))
    assert len(first) > 100
    assert run_virtually(requests(1)) == first
    assert run_virtually(requests(2)) != first


@pytest.mark.parametrize(
    ("of_scheduler", "of_controller", "given"),
    [(None, 24, 24), (28, 24, 28), (32, 24, 32), (None, None, 32)],
)
def test_a_prefix_length_that_a_person_said_counts_more_than_a_default(
    of_scheduler: int | None, of_controller: int | None, given: int
) -> None:
    async def scenario() -> None:
        async with Cluster().living() as cluster:
            cluster.add_node("n1")
            cluster.start_scheduler("s1", mask=of_scheduler)
            cluster.start_controller("n1", mask=of_controller)
            cluster.add_service("web", IP)
            await cluster.until(lambda: cluster.holders(IP), within_s=10.0)
            found = [a.interface for a in cluster.networks["n1"].node.observed() if a.ours]
            assert [str(one) for one in found] == [f"{IP}/{given}"]

    run_virtually(scenario())


def test_a_scheduler_that_is_told_a_prefix_length_later_marks_the_claims_that_there_are() -> None:
    async def scenario() -> None:
        async with Cluster().living() as cluster:
            cluster.add_node("n1")
            first = cluster.start_scheduler("s1")
            cluster.start_controller("n1", mask=24)
            cluster.add_service("web", IP)
            addresses = cluster.networks["n1"].node.observed

            def has(length: int) -> bool:
                return [str(a.interface) for a in addresses() if a.ours] == [f"{IP}/{length}"]

            await cluster.until(lambda: has(24), within_s=10.0)
            await first.stop()
            cluster.start_scheduler("s2", mask=32)
            await cluster.until(lambda: has(32), within_s=30.0)

    run_virtually(scenario())
