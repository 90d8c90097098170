"""A scheduler without election is alone, or decides nothing and says so, as does the other one."""

import asyncio
from contextlib import suppress

import pytest
from structlog.testing import capture_logs

from tests.fakes.lease_server import OK, REFUSED, LeaseServer
from tests.fakes.tasks import beside
from tests.fakes.virtual_time import run_virtually
from tests.unit.election.test_elector import NAME, Watcher, candidate, spec


def scheduler(server, watcher, who, *, sole):
    return candidate(server, who, sole=sole).run(lambda: [watcher.component(who)])


def events(logs, name):
    return [entry for entry in logs if entry["event"] == name]


@pytest.mark.parametrize("first_is_sole", [True, False])
def test_beside_another_scheduler_one_without_election_decides_nothing_and_both_say_so(
    first_is_sole,
):
    async def main():
        server, watcher = LeaseServer(), Watcher()
        async with beside(scheduler(server, watcher, "a", sole=first_is_sole)):
            await asyncio.sleep(5)
            async with beside(scheduler(server, watcher, "b", sole=True)):
                await asyncio.sleep(90)
            await asyncio.sleep(30)
            assert watcher.history == [(watcher.history[0][0], "a", "begin")]
            assert spec(server).holder_identity == "a"

    with capture_logs() as logs:
        run_virtually(main())
    objections = events(logs, "another_scheduler_active")
    assert [(one["holder"], one["log_level"]) for one in objections] == 2 * [("a", "error")]
    told = events(logs, "another_scheduler_refused")
    assert [(one["holder"], one["log_level"]) for one in told] == 2 * [("b", "warning")]
    assert not events(logs, "leadership_lost")


def test_one_without_election_is_quiet_and_leads_at_once_after_an_orderly_stop():
    async def main():
        server, watcher = LeaseServer(), Watcher()
        for who in "ab":
            async with beside(scheduler(server, watcher, who, sole=True)):
                await asyncio.sleep(0.1)
                assert watcher.leading == {who}
                await asyncio.sleep(100)

    with capture_logs() as logs:
        run_virtually(main())
    assert not events(logs, "another_scheduler_active")
    assert not events(logs, "another_scheduler_refused")


def test_after_a_kill_one_without_election_waits_for_the_lease_to_run_out_and_no_longer():
    async def main():
        server, watcher = LeaseServer(), Watcher()
        async with beside(scheduler(server, watcher, "a", sole=True)) as (task,):
            await asyncio.sleep(10)
            server.deliver = lambda who, _verb: REFUSED if who == "a" else OK
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
        assert spec(server).holder_identity == "a"
        async with beside(scheduler(server, watcher, "b", sole=True)):
            await asyncio.sleep(14.9)
            assert not watcher.leading
            await asyncio.sleep(0.8)
            assert watcher.leading == {"b"}

    with capture_logs() as logs:
        run_virtually(main())
    assert not events(logs, "another_scheduler_active")


@pytest.mark.parametrize("seed", range(5))
def test_of_those_that_wait_the_standbys_with_election_come_first(seed):
    async def main():
        server, watcher = LeaseServer(), Watcher()
        async with beside(scheduler(server, watcher, "a", sole=False)) as (leader,):
            await asyncio.sleep(5)
            standby = candidate(server, "s", seed=seed).run(lambda: [watcher.component("s")])
            async with beside(standby, scheduler(server, watcher, "b", sole=True)):
                await asyncio.sleep(20 + seed)
                leader.cancel()
                await asyncio.sleep(10)
                assert watcher.leading == {"s"}

    run_virtually(main())


def test_one_without_election_goes_on_where_the_other_one_ends():
    """So the only one can be replaced by a new one that starts before the old one is stopped."""

    async def main():
        server, watcher = LeaseServer(), Watcher()
        async with beside(scheduler(server, watcher, "a", sole=True)) as (old,):
            await asyncio.sleep(5)
            async with beside(scheduler(server, watcher, "b", sole=True)):
                await asyncio.sleep(20)
                old.cancel()
                await asyncio.sleep(12)
                assert watcher.leading == {"b"}
        assert not watcher.overlaps
        assert server.leases[NAME].spec.lease_transitions == 2

    run_virtually(main())
