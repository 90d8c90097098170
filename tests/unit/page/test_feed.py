"""A browser is told all that is there, then each change, and nothing twice."""

import asyncio
from dataclasses import replace

import pytest

from extip.api.ipcontroller_v1 import IpClaim, IpNode
from extip.clock import LoopClock
from extip.page.feed import MAX_WAITING, SILENCE_S, STEP, TooSlowError
from extip.page.policy.view import Update
from extip.status.policy.table import ClaimState
from tests.fakes.tasks import beside
from tests.fakes.virtual_time import run_virtually
from tests.unit.page.rows import AT, LATER, Cluster, claim, lease, node, pool


def following(history):
    """Run a history beside the feed of a cluster of two nodes, in virtual time."""

    async def run():
        cluster = Cluster(LoopClock())
        for name in ("n1", "n2"):
            cluster.put(node(name))
            cluster.put(lease(name))
        cluster.put(claim("10.0.0.1", "n1"))
        async with beside(cluster.feed.run()):
            await history(cluster)

    run_virtually(run())


async def rest(updates):
    """Return what comes until nothing changes; the empty update of silence is left out."""
    found: list[Update] = []
    async for update in updates:
        if not update:
            return found
        found.append(update)
    return found


def test_a_browser_begins_with_all_that_is_there():
    async def history(cluster):
        cluster.put(pool("edge", free=3))
        updates = cluster.feed.updates()
        first, *parts = await rest(updates)
        assert first.fresh
        assert first.leader == "n1_a"
        assert set(first.nodes) == {"n1", "n2"}
        assert first.nodes["n1"].state == "ready"
        (part,) = parts
        assert part.ips["10.0.0.1"].node == "n1"
        assert part.ips["10.0.0.1"].state is ClaimState.UP
        assert (first.pools["edge"].used, first.pools["edge"].free) == (7, 3)

    following(history)


def test_a_move_is_told_when_the_ip_is_up_and_a_late_browser_hears_of_it():
    async def history(cluster):
        updates = cluster.feed.updates()
        await rest(updates)
        cluster.put(claim("10.0.0.1", "n2", before="n1", up=False))
        (under_way,) = await rest(updates)
        assert under_way.ips["10.0.0.1"].state is ClaimState.MOVING
        assert not under_way.moves
        cluster.put(claim("10.0.0.1", "n2", before="n1", why="n1 is dead", since=LATER))
        (arrived,) = await rest(updates)
        (move,) = arrived.moves
        assert (move.ip, move.before, move.node, move.time) == ("10.0.0.1", "n1", "n2", LATER)
        assert move.why == "n1 is dead"
        first, *_ = await rest(cluster.feed.updates())
        assert first.moves == (move,)

    following(history)


def test_heartbeats_alone_are_no_change():
    async def history(cluster):
        updates = cluster.feed.updates()
        await rest(updates)
        cluster.put(lease("n1", renewed=LATER))
        assert await rest(updates) == []

    following(history)


def test_what_goes_is_told():
    async def history(cluster):
        updates = cluster.feed.updates()
        await rest(updates)
        cluster.drop(IpClaim, "10.0.0.1")
        (gone,) = await rest(updates)
        assert gone.ips == {"10.0.0.1": None}

    following(history)


def test_a_claim_waits_when_its_node_has_no_controller_any_more():
    async def history(cluster):
        cluster.put(claim("10.0.0.1", "n2", before="n1", up=False))
        updates = cluster.feed.updates()
        await rest(updates)
        cluster.leases.clear()
        cluster.drop(IpNode, "n2")
        told = await rest(updates)
        assert any(update.nodes.get("n2", AT) is None for update in told)
        assert told[-1].ips["10.0.0.1"].state is ClaimState.WAITING

    following(history)


def test_a_claim_no_longer_waits_when_its_controller_registers():
    async def history(cluster):
        cluster.put(lease("n3"))
        cluster.put(claim("10.0.0.1", "n3", before="n1", up=False))
        updates = cluster.feed.updates()
        *_, last = await rest(updates)
        assert last.ips["10.0.0.1"].state is ClaimState.WAITING
        cluster.put(node("n3"))
        (update,) = await rest(updates)
        assert update.ips["10.0.0.1"].state is ClaimState.MOVING

    following(history)


def test_another_leader_is_told_soon():
    async def history(cluster):
        updates = cluster.feed.updates()
        await rest(updates)
        cluster.leader = "n2_b"
        (update,) = await rest(updates)
        assert update.leader == "n2_b"

    following(history)


def test_many_changes_are_told_in_parts():
    async def history(cluster):
        updates = cluster.feed.updates()
        await rest(updates)
        for number in range(2 * STEP + 1):
            cluster.put(claim(f"10.1.{number // 250}.{number % 250}", "n1"))
        parts = await rest(updates)
        assert [len(part.ips) for part in parts] == [STEP, STEP, 1]

    following(history)


def test_the_claims_are_gone_through_once_for_all_nodes_that_come_together():
    """Each node that comes costs little, however many claims there are."""

    class Counted(dict[str, IpClaim]):
        looks = 0

        def __iter__(self):
            self.looks += 1
            return super().__iter__()

        def keys(self):
            self.looks += 1
            return super().keys()

    async def history(cluster):
        updates = cluster.feed.updates()
        await rest(updates)
        claims = Counted(cluster.claims)
        cluster.feed._sources = replace(cluster.feed._sources, claims=claims)
        for number in range(20):
            cluster.put(node(f"n{number + 10}"))
        await rest(updates)
        assert 1 <= claims.looks <= 2

    following(history)


def test_a_browser_that_does_not_read_is_cut_off_and_forgotten():
    async def history(cluster):
        updates = cluster.feed.updates()
        await rest(updates)
        for number in range(2 * MAX_WAITING):
            cluster.leader = f"n{number}"
            await asyncio.sleep(1.5)
        (viewer,) = cluster.feed._viewers
        assert viewer._waiting.qsize() == MAX_WAITING + 1, "the rest is not kept for it"
        with pytest.raises(TooSlowError):
            await rest(updates)
        assert not cluster.feed._viewers

    following(history)


def test_silence_is_told_as_an_empty_update():
    async def history(cluster):
        updates = cluster.feed.updates()
        await rest(updates)
        began = asyncio.get_running_loop().time()
        assert await anext(updates) == Update()
        assert asyncio.get_running_loop().time() - began == pytest.approx(SILENCE_S)

    following(history)


def test_nothing_is_told_before_the_caches_are_filled():
    async def run():
        synced = asyncio.Event()
        cluster = Cluster(LoopClock(), synced=synced.wait)
        async with beside(cluster.feed.run()):
            reading = asyncio.ensure_future(anext(cluster.feed.updates()))
            await asyncio.sleep(60)
            assert not reading.done()
            cluster.claims["10.0.0.1"] = claim("10.0.0.1", "n1")  # from the first list
            synced.set()
            assert (await reading).fresh

    run_virtually(run())
