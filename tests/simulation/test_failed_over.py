"""A node dies with its claims: one write, and each standby takes its share, in virtual time."""

import asyncio
from collections.abc import Callable

import pytest

from extip.api.resources import CUSTOM_RESOURCE_DEFINITIONS, IP_CLAIMS, IP_NODES
from extip.scheduling import failovers
from tests.fakes.api_faults import DENIED, Delay, Effect, Hang, Rule
from tests.fakes.virtual_time import run_virtually
from tests.simulation.cluster import Cluster, Running
from tests.simulation.test_standbys import IPS, MONITOR_S, NODES, are_named, named

CONVERGED_S = 10.0


@pytest.fixture(autouse=True)
def _few_claims_are_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(failovers, "LEAST", 2)


def failed_over(cluster: Cluster, node: str) -> set[str]:
    """Return the claims that the IpNode of a dead node names."""
    (record,) = [r for r in cluster.api.all(IP_NODES) if r["metadata"]["name"] == node]
    return set(record["status"].get("failedOver") or ())


async def served(cluster: Cluster, **flags: object) -> dict[str, Running]:
    """Start a scheduler and controllers, wait until all IPs have standbys; return controllers."""
    for node in NODES:
        cluster.add_node(node)
    cluster.start_scheduler("s1", monitor_s=MONITOR_S, **flags)
    controllers = {node: cluster.start_controller(node) for node in NODES}
    for ip in IPS:
        cluster.add_service(f"web-{ip.replace('.', '-')}", ip)
    await cluster.until(lambda: are_named(cluster), within_s=30.0)
    await asyncio.sleep(15.0)
    return controllers


def play(scenario: Callable[[Cluster], object], *, seed: int = 0) -> None:
    async def main() -> None:
        async with Cluster(seed=seed).living() as cluster:
            await scenario(cluster)  # type: ignore[misc]

    run_virtually(main())


def test_standbys_have_the_ips_of_a_dead_node_up_before_any_claim_names_them() -> None:
    async def scenario(cluster: Cluster) -> None:
        controllers = await served(cluster)
        before = named(cluster)
        taken = {ip: to for ip, (node, to) in before.items() if node == "n1"}
        assert len(taken) == 2
        await controllers["n1"].kill()
        await cluster.until(
            lambda: all(to in cluster.holders(ip) for ip, to in taken.items()),
            within_s=MONITOR_S + 2.0,
        )
        assert named(cluster) == before
        assert len(failed_over(cluster, "n1")) == len(taken)
        after = {ip: to if node == "n1" else node for ip, (node, to) in before.items()}
        async with cluster.always(
            lambda: all(to in cluster.holders(ip) for ip, to in taken.items())
        ):
            await asyncio.sleep(CONVERGED_S)
        assert {ip: node for ip, (node, _) in named(cluster).items()} == after
        assert not failed_over(cluster, "n1")
        assert are_named(cluster)

    play(scenario)


def test_a_node_that_comes_back_while_its_claims_fail_over_has_none_of_them() -> None:
    async def scenario(cluster: Cluster) -> None:
        controllers = await served(cluster)
        taken = {ip: to for ip, (node, to) in named(cluster).items() if node == "n1"}
        await controllers["n1"].kill()
        await cluster.until(lambda: failed_over(cluster, "n1"), within_s=MONITOR_S + 2.0)
        cluster.start_controller("n1")
        async with cluster.always(
            lambda: (
                all(cluster.last_announced(ip) != "n1" for ip in taken)
                or not all(to in cluster.holders(ip) for ip, to in taken.items())
            )
        ):
            await cluster.until(lambda: not failed_over(cluster, "n1"), within_s=CONVERGED_S)
            await asyncio.sleep(CONVERGED_S)
        for ip, to in taken.items():
            assert cluster.holders(ip) == {to}

    play(scenario)


def test_a_new_leader_ends_a_fail_over_that_another_one_began() -> None:
    async def scenario(cluster: Cluster) -> None:
        for node in NODES:
            cluster.add_node(node)
        first = cluster.start_scheduler("s1", leader_elect=True, monitor_s=MONITOR_S)
        controllers = {node: cluster.start_controller(node) for node in NODES}
        for ip in IPS:
            cluster.add_service(f"web-{ip.replace('.', '-')}", ip)
        await cluster.until(lambda: are_named(cluster), within_s=30.0)
        cluster.start_scheduler("s2", leader_elect=True, monitor_s=MONITOR_S)
        await asyncio.sleep(15.0)
        taken = {ip: to for ip, (node, to) in named(cluster).items() if node == "n1"}
        await controllers["n1"].kill()
        await cluster.until(lambda: failed_over(cluster, "n1"), within_s=MONITOR_S + 2.0)
        await first.kill()
        await cluster.until(
            lambda: all(cluster.holders(ip) >= {to} for ip, to in taken.items()), within_s=1.0
        )
        async with cluster.always(
            lambda: all(to in cluster.holders(ip) for ip, to in taken.items())
        ):
            await cluster.until(lambda: not failed_over(cluster, "n1"), within_s=40.0)
        found = named(cluster)
        assert {ip: found[ip][0] for ip in taken} == taken

    play(scenario)


def test_a_standby_that_dies_with_claims_that_it_took_is_followed_in_turn() -> None:
    """Nobody else is left but the node that was dead: it gets them back when it lives."""

    async def scenario(cluster: Cluster) -> None:
        controllers = await served(cluster)
        await controllers["n3"].kill()
        await cluster.until(
            lambda: (
                all(node in ("n1", "n2") for node, _ in named(cluster).values())
                and not failed_over(cluster, "n3")
            ),
            within_s=30.0,
        )
        await cluster.until(lambda: are_named(cluster), within_s=30.0)
        await asyncio.sleep(15.0)
        await controllers["n1"].kill()
        await cluster.until(lambda: failed_over(cluster, "n1"), within_s=MONITOR_S + 2.0)
        await controllers["n2"].kill()
        cluster.start_controller("n1")
        await cluster.until(lambda: all("n1" in cluster.holders(ip) for ip in IPS), within_s=40.0)
        await cluster.until(lambda: not failed_over(cluster, "n1"), within_s=10.0)

    play(scenario)


def on_writes(effect: Effect, claim: str) -> Rule:
    """Have something happen to the writes of one claim by the scheduler."""
    of_scheduler = frozenset({"scheduler s1"})
    return Rule(effect, of_scheduler, frozenset({"patch"}), frozenset({"ipclaims"}), name=claim)


def claims_of(cluster: Cluster, node: str) -> list[str]:
    """Return the claims of a node, by name."""
    claims = cluster.api.all(IP_CLAIMS)
    return [c["metadata"]["name"] for c in claims if c["spec"].get("nodeName") == node]


def generation_of(cluster: Cluster, claim: str) -> int:
    """Return the generation of a claim; 0 when there is none."""
    metas = [c["metadata"] for c in cluster.api.all(IP_CLAIMS) if c["metadata"]["name"] == claim]
    return int(metas[0]["generation"]) if metas else 0


@pytest.mark.parametrize("effect", [Hang(), DENIED], ids=["hangs", "is-refused"])
def test_a_claim_whose_write_fails_is_up_all_the_time(effect: Effect) -> None:
    """Its node is back meanwhile, and the claim still names it."""

    async def scenario(cluster: Cluster) -> None:
        controllers = await served(cluster)
        taken = {ip: to for ip, (node, to) in named(cluster).items() if node == "n1"}
        rule = on_writes(effect, claims_of(cluster, "n1")[-1])
        await controllers["n1"].kill()
        cluster.api.faults.rules.append(rule)
        await cluster.until(lambda: failed_over(cluster, "n1"), within_s=MONITOR_S + 2.0)
        await cluster.until(
            lambda: all(to in cluster.holders(ip) for ip, to in taken.items()), within_s=1.0
        )
        cluster.start_controller("n1")
        async with cluster.always(lambda: all(cluster.holders(ip) for ip in taken)):
            await asyncio.sleep(15.0)
            cluster.api.faults.rules.remove(rule)
            await asyncio.sleep(60.0)
        assert not failed_over(cluster, "n1")
        assert all(cluster.holders(ip) == {named(cluster)[ip][0]} for ip in IPS)

    play(scenario)


@pytest.mark.parametrize("seed", range(6))
def test_a_claim_that_can_never_be_written_is_its_nodes_again_after_a_while(seed: int) -> None:
    """Its node takes it after another heartbeat and a reading, and its standby waits for that."""

    async def scenario(cluster: Cluster) -> None:
        controllers = await served(cluster)
        (ip, *_) = [ip for ip, (node, _) in named(cluster).items() if node == "n1"]
        (claim, *_) = claims_of(cluster, "n1")
        cluster.api.faults.rules.append(on_writes(DENIED, claim))
        await controllers["n1"].kill()
        await cluster.until(lambda: failed_over(cluster, "n1"), within_s=MONITOR_S + 2.0)
        cluster.start_controller("n1")
        await cluster.until(
            lambda: not failed_over(cluster, "n1"), within_s=failovers.PATIENCE_S + 5.0
        )
        async with cluster.always(lambda: cluster.holders(ip)):
            await cluster.until(lambda: cluster.holders(ip) == {"n1"}, within_s=15.0)
            await asyncio.sleep(5.0)

    play(scenario, seed=seed)


def test_a_claim_that_a_person_changes_is_handed_over_by_its_node_that_is_back() -> None:
    """The fail-over of that claim is over, so its next holder hears of a move as any other."""

    async def scenario(cluster: Cluster) -> None:
        controllers = await served(cluster)
        before = named(cluster)
        changed, stuck = claims_of(cluster, "n1")
        (ip,) = (ip for ip in before if ip.replace(".", "-") in changed)
        other = "n3" if before[ip][1] == "n2" else "n2"
        rules = [on_writes(DENIED, name) for name in (changed, stuck)]
        await controllers["n1"].kill()
        cluster.api.faults.rules += rules
        await cluster.until(lambda: failed_over(cluster, "n1"), within_s=MONITOR_S + 2.0)
        cluster.start_controller("n1")
        await asyncio.sleep(5.0)
        cluster.api.patch(IP_CLAIMS, changed, {"spec": {"standby": other}})
        await cluster.until(lambda: "n1" in cluster.holders(ip), within_s=5.0)
        await asyncio.sleep(5.0)
        late = f"controller on {other}"
        cluster.api.faults.deaf |= {late}
        cluster.api.faults.rules.remove(rules[0])
        async with cluster.always(lambda: cluster.holders(ip)):
            await cluster.until(lambda: named(cluster)[ip][0] == other, within_s=20.0)
            await asyncio.sleep(1.0)
            cluster.api.faults.deaf -= {late}
            cluster.api.break_watches(late)
            await cluster.until(lambda: cluster.holders(ip) == {other}, within_s=10.0)

    play(scenario)


def test_a_later_claim_of_the_same_name_is_up_on_a_node_that_has_just_failed_over() -> None:
    async def scenario(cluster: Cluster) -> None:
        controllers = await served(cluster)
        (claim, *_) = claims_of(cluster, "n1")
        (ip,) = (ip for ip in named(cluster) if ip.replace(".", "-") in claim)
        generation = generation_of(cluster, claim)
        every = frozenset({"scheduler s1"}), frozenset({"patch"}), frozenset({"ipclaims"})
        slow = Rule(Delay(1.0), *every)
        await controllers["n1"].kill()
        cluster.api.faults.rules.append(slow)
        await cluster.until(lambda: failed_over(cluster, "n1"), within_s=MONITOR_S + 2.0)
        cluster.start_controller("n1")
        await cluster.until(lambda: not failed_over(cluster, "n1"), within_s=CONVERGED_S)
        cluster.api.faults.rules.remove(slow)
        cluster.api.delete(IP_CLAIMS, claim)
        await cluster.until(lambda: cluster.holders(ip) == {"n1"}, within_s=2.0)
        async with cluster.always(lambda: cluster.holders(ip) == {"n1"}):
            await cluster.until(lambda: generation_of(cluster, claim) == generation, within_s=4.0)
            await asyncio.sleep(CONVERGED_S)

    play(scenario)


def test_claims_are_given_back_to_the_only_node_that_may_have_them() -> None:
    """Their standby was drained after it took them, and there is no third node."""

    async def scenario(cluster: Cluster) -> None:
        controllers = await served(cluster)
        await controllers["n3"].kill()
        await cluster.until(
            lambda: (
                "n3" not in {node for node, _ in named(cluster).values()}
                and not failed_over(cluster, "n3")
            ),
            within_s=30.0,
        )
        await cluster.until(lambda: are_named(cluster), within_s=30.0)
        await asyncio.sleep(15.0)
        await controllers["n1"].kill()
        await cluster.until(lambda: failed_over(cluster, "n1"), within_s=MONITOR_S + 2.0)
        cluster.api.patch(IP_NODES, "n2", {"spec": {"draining": True}})
        await asyncio.sleep(5.0)
        cluster.start_controller("n1")
        await cluster.until(lambda: all(cluster.holders(ip) == {"n1"} for ip in IPS), within_s=30.0)

    play(scenario)


def test_an_ip_node_that_a_person_clears_leaves_no_ip_down() -> None:
    async def scenario(cluster: Cluster) -> None:
        controllers = await served(cluster)
        taken = [ip for ip, (node, _) in named(cluster).items() if node == "n1"]
        await controllers["n1"].kill()
        await cluster.until(lambda: failed_over(cluster, "n1"), within_s=MONITOR_S + 2.0)
        cluster.start_controller("n1")
        await asyncio.sleep(0.3)
        cluster.api.patch(IP_NODES, "n1", {"status": {"failedOver": None}})
        await asyncio.sleep(15.0)
        assert all(len(cluster.holders(ip)) == 1 for ip in taken)

    play(scenario)


def test_no_ip_goes_down_when_the_definition_of_claims_is_deleted_during_a_fail_over() -> None:
    """The standby has nothing but the claims that it watches as one."""

    async def scenario(cluster: Cluster) -> None:
        controllers = await served(cluster)
        taken = {ip: to for ip, (node, to) in named(cluster).items() if node == "n1"}
        assert taken
        await controllers["n1"].kill()
        await cluster.until(lambda: failed_over(cluster, "n1"), within_s=MONITOR_S + 2.0)
        await cluster.until(
            lambda: all(to in cluster.holders(ip) for ip, to in taken.items()), within_s=1.0
        )
        name = f"ipclaims.{IP_CLAIMS.group}"
        async with cluster.always(
            lambda: all(to in cluster.holders(ip) for ip, to in taken.items())
        ):
            cluster.api.delete(CUSTOM_RESOURCE_DEFINITIONS, name)
            await asyncio.sleep(20.0)
            cluster.api.define(name)
            await asyncio.sleep(30.0)
        assert {ip: named(cluster)[ip][0] for ip in taken} == taken
        assert not failed_over(cluster, "n1")

    play(scenario)
