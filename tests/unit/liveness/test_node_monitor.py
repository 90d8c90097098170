"""A death is known when it is due, by a timer; what cannot be seen kills nobody."""

import asyncio
from contextlib import asynccontextmanager, suppress
from functools import partial
from random import Random

import pytest
from msgspec.structs import replace
from structlog.testing import capture_logs

from extip.clock import LoopClock
from extip.errors import ApiUnavailableError
from extip.liveness.heartbeat import Publisher
from extip.liveness.lease_content import given_up
from extip.liveness.node_monitor import NodeMonitor
from extip.liveness.policy import Verdict
from extip.metrics import Metrics
from extip.uplink.policy.isolation import Reachability
from extip.uplink.policy.reachability import LinkId
from tests.fakes.lease_server import OK, REFUSED, LeaseServer
from tests.fakes.virtual_time import run_virtually

DEAD, ALIVE, UNKNOWN = Verdict.DEAD, Verdict.ALIVE, Verdict.UNKNOWN


class World:
    """Publishers, a monitor fed as an informer would, and what is broken between them."""

    def __init__(self, *, monitor_s=4.0):
        self.server = LeaseServer()
        self.server.changed = self._written
        self.told: list[tuple[float, str, Verdict]] = []
        self.reads = 0
        self.read_fails = False
        self.read_takes_s = 0.005
        self.reads_hang = 0
        """So many of the next ones are on connections that are dead."""
        self.doubts: list[tuple[float, float]] = []
        """When, and as of when."""
        self.watching = False
        self.mends = True
        """A watch that is doubted is opened anew."""
        self.metrics = Metrics("scheduler")
        self.monitor = NodeMonitor(
            lambda: self.read(),  # noqa: PLW0108 - a test may replace it later
            get=lambda key: self.server.leases.get(key.rpartition("/")[2]),
            monitor_s=monitor_s,
            on_change=self._tell,
            on_doubt=self._doubt,
            clock=LoopClock(),
            metrics=self.metrics,
        )
        self.tasks: dict[str, asyncio.Task[None]] = {}
        self.publishers: dict[str, Publisher] = {}
        self.cut: set[str] = set()
        self.deaf: set[str] = set()
        """Nodes that do not hear of their claims."""
        self.server.deliver = lambda who, _verb: REFUSED if who in self.cut else OK

    async def read(self):
        self.reads += 1
        if self.reads_hang:
            self.reads_hang -= 1
            await asyncio.get_running_loop().create_future()
        await asyncio.sleep(self.read_takes_s)
        if self.read_fails:
            raise ApiUnavailableError("down")
        return list(self.server.leases.values())

    def start(self, *names, heartbeat_s=2.0):
        for name in names:
            self.publishers[name] = Publisher(
                self.server.client(f"extip-node-{name}", name),
                node=name,
                namespace="x",
                identity=name,
                heartbeat_s=heartbeat_s,
                unread=partial(self._is_deaf, name),
                clock=LoopClock(),
                rng=Random(name),  # noqa: S311
                metrics=Metrics("controller"),
            )
            self.tasks[name] = asyncio.ensure_future(self.publishers[name].run())

    def _is_deaf(self, name):
        return name in self.deaf

    def kill(self, *names):
        for name in names:
            self.tasks.pop(name).cancel()

    def open(self):
        for name in self.server.leases:
            self.monitor.on_lease(name)
        self.watching = True
        self.monitor.watch_opened()

    def close(self):
        self.watching = False
        self.monitor.watch_closed()

    def hang(self):
        """Let the watch fall silent, and nobody know."""
        self.watching = False

    def verdicts(self):
        return dict(self.monitor.nodes())

    def _written(self, name):
        if self.watching:
            self.monitor.on_lease(name)

    def _doubt(self, since):
        self.doubts.append((asyncio.get_running_loop().time(), since))
        if self.mends:
            self.close()
            asyncio.get_running_loop().call_later(0.02, self.open)

    def _tell(self, node):
        now = asyncio.get_running_loop().time()
        self.told.append((now, node, self.monitor.verdict(node)))


@asynccontextmanager
async def world(**settings):
    it = World(**settings)
    run = asyncio.ensure_future(it.monitor.run())
    try:
        yield it
    finally:
        for task in (run, *it.tasks.values()):
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task


@asynccontextmanager
async def steady(*names, heartbeat_s=2.0, **settings):
    """Run these nodes until all of them are known to be alive, and forget what was told of it."""
    async with world(**settings) as it:
        it.open()
        it.start(*names, heartbeat_s=heartbeat_s)
        await asyncio.sleep(10 * heartbeat_s)
        assert it.verdicts() == dict.fromkeys(names, ALIVE)
        assert it.monitor.settled
        it.told.clear()
        yield it


@pytest.mark.parametrize(("heartbeat_s", "monitor_s"), [(2.0, 4.0), (0.1, 0.3)])
def test_a_killed_node_is_dead_a_period_after_its_last_heartbeat(heartbeat_s, monitor_s):
    async def main():
        async with steady("a", "b", "c", heartbeat_s=heartbeat_s, monitor_s=monitor_s) as it:
            last = it.publishers["a"].confirmed_at
            it.kill("a")
            await asyncio.sleep(20 * heartbeat_s)
            *_, (at, node, verdict) = it.told
            assert (node, verdict) == ("a", DEAD)
            assert monitor_s <= at - last <= monitor_s + heartbeat_s / 40 + 0.02
            assert it.verdicts() == {"a": DEAD, "b": ALIVE, "c": ALIVE}
            assert it.reads <= 2
            it.start("a", heartbeat_s=heartbeat_s)
            await asyncio.sleep(0.01)
            assert it.told[-1][1:] == ("a", ALIVE)

    run_virtually(main())


def test_with_all_well_nothing_is_read_and_nothing_is_told():
    async def main():
        async with steady(*(f"n{number}" for number in range(20))) as it:
            await asyncio.sleep(600)
            assert it.told == []
            assert it.reads == 0

    run_virtually(main())


def test_two_of_three_die_together_and_all_three_stay_unknown():
    async def main():
        async with steady("a", "b", "c") as it:
            it.kill("a", "b")
            await asyncio.sleep(10)
            assert it.verdicts() == {"a": DEAD, "b": DEAD, "c": ALIVE}
            it.kill("c")
            await asyncio.sleep(60)
            assert it.verdicts() == {"a": DEAD, "b": DEAD, "c": UNKNOWN}
            assert not it.monitor.settled

    run_virtually(main())


def test_when_all_die_nobody_is_dead_and_after_a_new_start_the_missing_are():
    async def main():
        async with steady("a", "b", "c") as it:
            it.kill("a", "b", "c")
            await asyncio.sleep(60)
            dead = [node for node, verdict in it.verdicts().items() if verdict is DEAD]
            assert len(dead) <= 1  # the first to fall silent had witnesses
            it.start("b")
            await asyncio.sleep(3.9)
            assert it.monitor.verdict("b") is ALIVE
            assert {n for n, verdict in it.verdicts().items() if verdict is DEAD} <= set(dead)
            await asyncio.sleep(0.3)
            assert it.verdicts() == {"a": DEAD, "b": ALIVE, "c": DEAD}

    run_virtually(main())


def test_an_api_server_that_is_away_for_everybody_kills_nobody():
    async def main():
        async with steady("a", "b", "c") as it:
            it.close()
            it.read_fails = True
            it.cut |= {"a", "b", "c"}
            await asyncio.sleep(30)
            it.cut.clear()
            it.read_fails = False
            await asyncio.sleep(0.5)
            it.open()
            await asyncio.sleep(30)
            assert DEAD not in [verdict for _, _, verdict in it.told]
            assert set(it.verdicts().values()) == {ALIVE}

    run_virtually(main())


def test_nobody_dies_while_other_calls_of_this_process_fail():
    """Writes may fail for all, and the first node that is overdue has witnesses from before."""

    async def main():
        async with steady("a", "b", "c") as it:
            it.monitor.answer_times.failing = True
            it.cut |= {"a", "b", "c"}
            await asyncio.sleep(5)
            it.monitor.answer_times.failing = False
            it.cut -= {"b", "c"}
            await asyncio.sleep(1)
            assert DEAD not in [verdict for _, _, verdict in it.told]
            await asyncio.sleep(10)
            assert it.verdicts() == {"a": DEAD, "b": ALIVE, "c": ALIVE}

    run_virtually(main())


@pytest.mark.parametrize(("took_s", "verdict"), [(1.9, UNKNOWN), (0.05, DEAD)])
def test_other_calls_that_were_slow_while_a_heartbeat_was_due_give_it_time(took_s, verdict):
    """The read that would confirm the death is quick again."""

    async def main():
        async with steady("a", "b", "c") as it:
            it.cut |= {"a"}
            await asyncio.sleep(3)
            now = asyncio.get_running_loop().time()
            it.monitor.answer_times.began(now - took_s)
            it.monitor.answer_times.ended(now - took_s, now, answered=True)
            await asyncio.sleep(1.3)
            assert it.monitor.verdict("a") is verdict
            await asyncio.sleep(12)
            assert it.monitor.verdict("a") is DEAD

    run_virtually(main())


def test_a_watch_that_hangs_silently_kills_nobody():
    """Renewals arrive at the server, but not here."""

    async def main():
        async with steady("a", "b", "c") as it:
            it.watching = False
            await asyncio.sleep(75)
            it.close()
            it.open()
            await asyncio.sleep(30)
            assert DEAD not in [verdict for _, _, verdict in it.told]
            assert set(it.verdicts().values()) == {ALIVE}

    run_virtually(main())


def test_a_scheduler_that_is_cut_off_declares_nobody_dead_and_finds_who_died_meanwhile():
    async def main():
        async with steady("a", "b", "c") as it:
            it.watching, it.read_fails, it.mends = False, True, False
            it.kill("a")
            await asyncio.sleep(20)
            assert DEAD not in it.verdicts().values()
            it.read_fails = False
            it.close()
            it.open()
            await asyncio.sleep(3.8)
            assert DEAD not in it.verdicts().values()
            await asyncio.sleep(4)
            assert it.verdicts() == {"a": DEAD, "b": ALIVE, "c": ALIVE}

    run_virtually(main())


def test_what_the_first_list_shows_is_not_known_to_be_alive():
    async def main():
        async with world() as it:
            it.start("old", "b")
            await asyncio.sleep(10)
            it.kill("old")
            await asyncio.sleep(10)
            it.open()
            assert it.verdicts() == {"old": UNKNOWN, "b": UNKNOWN}
            assert not it.monitor.settled
            await asyncio.sleep(2.5)
            assert it.verdicts() == {"old": UNKNOWN, "b": ALIVE}
            await asyncio.sleep(2)
            assert it.verdicts() == {"old": DEAD, "b": ALIVE}

    run_virtually(main())


def test_a_node_that_leaves_says_so_and_is_gone_when_it_gives_its_lease_up():
    async def main():
        async with steady("a", "b") as it:
            it.publishers["a"].leave("SIGTERM")
            await asyncio.sleep(0.01)
            assert it.monitor.leaving("a") == "SIGTERM"
            assert [(node, verdict) for _, node, verdict in it.told] == [("a", ALIVE)]
            it.kill("a")
            await it.publishers["a"].release()
            assert it.monitor.verdict("a") is DEAD
            assert it.monitor.leaving("a") == ""

    run_virtually(main())


def test_a_lease_that_somebody_deletes_makes_nobody_move():
    async def main():
        async with steady("a", "b") as it:
            del it.server.leases["extip-node-a"]
            it.monitor.on_lease("extip-node-a")
            await asyncio.sleep(10)
            assert it.told == []
            assert it.monitor.verdict("a") is ALIVE

    run_virtually(main())


def test_a_node_that_a_claim_names_but_that_never_was_is_dead_after_a_period():
    async def main():
        async with world() as it:
            it.open()
            it.start("b")
            await asyncio.sleep(5)
            it.start("c")
            it.monitor.expect("ghost")
            await asyncio.sleep(3.9)
            assert it.monitor.verdict("ghost") is UNKNOWN
            await asyncio.sleep(0.2)
            assert it.told[-1][1:] == ("ghost", DEAD)
            assert it.metrics.registry.get_sample_value("extip_nodes", {"state": "dead"}) == 1
            it.monitor.forget("ghost")
            assert it.verdicts() == {"b": ALIVE, "c": ALIVE}
            assert it.metrics.registry.get_sample_value("extip_nodes", {"state": "dead"}) == 0

    run_virtually(main())


def test_a_monitor_shorter_than_two_heartbeats_is_raised_with_one_warning():
    async def main():
        async with world(monitor_s=1.0) as it:
            it.open()
            it.start("a", "b")
            await asyncio.sleep(60)
            assert it.told == [(it.told[0][0], "a", ALIVE), (it.told[1][0], "b", ALIVE)]

    with capture_logs() as logs:
        run_virtually(main())
    raised = [entry for entry in logs if entry["event"] == "monitor_raised"]
    assert [(entry["node"], entry["period_s"]) for entry in raised] == [("a", 4.0), ("b", 4.0)]


def test_metrics_count_nodes_by_what_is_known_of_them():
    async def main():
        async with steady("a", "b", "c") as it:
            it.kill("a")
            await asyncio.sleep(10)

            def count(state):
                return it.metrics.registry.get_sample_value("extip_nodes", {"state": state})

            assert (count("alive"), count("dead"), count("unknown")) == (2, 1, 0)

    run_virtually(main())


def test_clocks_of_nodes_mean_nothing():
    """An hour forth and back in what a node writes is just another heartbeat."""

    async def main():
        async with world() as it:
            it.open()
            it.start("b")
            for hour in (12, 13, 11, 12):
                lease = it.server.leases["extip-node-b"] if it.server.leases else None
                if lease is not None:
                    it.server.edit("extip-node-b", renew_time=f"2026-11-22T{hour}:00:00.000000Z")
                await asyncio.sleep(1)
                assert it.monitor.verdict("b") is ALIVE
            it.server.write(
                given_up(it.server.leases["extip-node-b"], now=LoopClock().utcnow()), create=False
            )
            assert it.monitor.verdict("b") is DEAD

    run_virtually(main())


def test_a_stop_in_order_is_logged_as_no_fault():
    async def main():
        async with world() as it:
            it.open()
            it.start("a")
            await asyncio.sleep(1)
            it.publishers["a"].leave("stopped by SIGTERM")
            await asyncio.sleep(1)
            with capture_logs() as logs:
                lease = it.server.leases["extip-node-a"]
                it.server.write(given_up(lease, now=LoopClock().utcnow()), create=False)
            assert it.monitor.verdict("a") is DEAD
            (entry,) = logs  # and that the node stays after all
            assert (entry["state"], entry["log_level"]) == ("stopped", "info")

    run_virtually(main())


class Interface:
    """An interface that others answer on, or not."""

    def __init__(self):
        self.now = Reachability.REACHED
        self.others: dict[str, Reachability] = {}

    def reachability(self):
        return self.now

    def reports(self):
        return {"eth0": self.now, **self.others} if self.others else {}

    def restore(self, said):
        pass

    def expect_heartbeat(self, at):
        pass


FIRST_OF_A = LinkId("a", "")


def first_of(*nodes):
    return {LinkId(node, "") for node in nodes}


def report_reachability(it, *names):
    interfaces = {name: Interface() for name in names}
    for name, interface in interfaces.items():
        it.publishers[name].report_reachability(interface)
    return interfaces


def test_an_isolated_node_is_told_of_and_who_may_take_over_is_known_a_heartbeat_later():
    async def main():
        async with world() as it:
            it.open()
            it.start("a", "b", "c")
            interfaces = report_reachability(it, "a", "b", "c")
            await asyncio.sleep(20)
            it.told.clear()
            assert it.monitor.successors() == {}
            interfaces["a"].now = Reachability.ISOLATED
            it.publishers["a"].trigger()
            await asyncio.sleep(0.01)
            assert it.monitor.isolated("a")
            assert it.told, "the scheduler has to look"
            assert it.monitor.successors() == {}
            await asyncio.sleep(3.3)
            assert it.monitor.successors() == {FIRST_OF_A: first_of("b", "c")}
            it.told.clear()
            await asyncio.sleep(60)
            assert it.told == [], "nothing new"
            interfaces["a"].now = Reachability.REACHED
            it.publishers["a"].trigger()
            await asyncio.sleep(0.01)
            assert it.told
            assert not it.monitor.isolated("a")
            since = it.monitor.since("a")
            assert since is not None
            assert since > 80, "it has to be steady anew"

    run_virtually(main())


@pytest.mark.parametrize(
    ("others", "named"),
    [
        ({}, "the first one"),
        ({"eth1": Reachability.REACHED}, "eth0"),
    ],
)
def test_the_log_names_the_interface_that_leads_nowhere(others, named):
    async def main():
        async with world() as it:
            it.open()
            it.start("a", "b")
            interface = report_reachability(it, "a")["a"]
            interface.others = others
            await asyncio.sleep(20)
            for said in (Reachability.ISOLATED, Reachability.REACHED):
                interface.now = said
                it.publishers["a"].trigger()
                await asyncio.sleep(1)

    with capture_logs() as logs:
        run_virtually(main())
    told = [(e["event"], e["links"]) for e in logs if "links" in e]
    assert told == [("node_isolated", [named]), ("node_reached", [named])]


def test_a_node_that_has_died_takes_over_nothing_while_that_is_not_known_yet():
    async def main():
        async with world(monitor_s=8.0) as it:
            it.open()
            it.start("a", "b", "c")
            interfaces = report_reachability(it, "a", "b", "c")
            await asyncio.sleep(20)
            it.kill("b")
            interfaces["a"].now = Reachability.ISOLATED
            it.publishers["a"].trigger()
            it.told.clear()
            await asyncio.sleep(3.2)
            assert it.monitor.verdict("b") is ALIVE
            assert it.monitor.successors() == {}
            await asyncio.sleep(0.1)
            assert it.told[-1][0] > 23.2, "the scheduler looks once it was waited for long enough"
            assert it.monitor.successors() == {FIRST_OF_A: first_of("c")}

    run_virtually(main())


def test_an_isolated_node_that_dies_is_dead_and_nothing_else():
    async def main():
        async with world() as it:
            it.open()
            it.start("a", "b")
            interfaces = report_reachability(it, "a", "b")
            interfaces["a"].now = Reachability.ISOLATED
            await asyncio.sleep(10)
            assert it.monitor.successors() == {FIRST_OF_A: first_of("b")}
            it.kill("a")
            await asyncio.sleep(10)
            assert it.verdicts()["a"] is DEAD
            assert not it.monitor.isolated("a")
            assert it.monitor.successors() == {}
            it.monitor.forget("a")

    run_virtually(main())


def test_an_edit_of_a_dead_nodes_lease_says_nothing():
    async def main():
        async with world() as it:
            it.open()
            it.start("a", "b")
            interfaces = report_reachability(it, "a", "b")
            interfaces["a"].now = Reachability.ISOLATED
            await asyncio.sleep(10)
            it.kill("a")
            await asyncio.sleep(10)
            it.monitor.on_lease("extip-node-a")
            assert it.verdicts()["a"] is DEAD
            assert not it.monitor.isolated("a")

    run_virtually(main())


def test_a_new_leader_hears_all_before_it_decides():
    async def main():
        async with world() as it:
            it.start("a", "b", "c")
            interfaces = report_reachability(it, "a", "b", "c")
            interfaces["a"].now = Reachability.ISOLATED
            await asyncio.sleep(10)
            it.open()
            assert it.monitor.isolated("a")
            assert it.monitor.successors() == {}
            await asyncio.sleep(3.3)
            assert it.monitor.successors() == {FIRST_OF_A: first_of("b", "c")}

    run_virtually(main())


def test_a_node_that_does_not_hear_of_its_claims_is_told_of_until_it_does():
    async def main():
        async with steady("n1", "n2") as it:
            assert not it.monitor.unread("n1")
            it.deaf.add("n1")
            it.publishers["n1"].trigger()
            await asyncio.sleep(0.1)
            assert (it.monitor.unread("n1"), it.monitor.unread("n2")) == (True, False)
            assert [node for _, node, _ in it.told] == ["n1"]
            assert it.verdicts() == {"n1": ALIVE, "n2": ALIVE}
            it.deaf.clear()
            await asyncio.sleep(3)
            assert not it.monitor.unread("n1")

    run_virtually(main())


def test_a_suspect_with_a_heartbeat_that_only_a_read_shows_is_not_condemned():
    async def main():
        async with steady("a", "b", "c") as it:
            known = it.server.leases["extip-node-a"]
            newer = replace(
                known, spec=replace(known.spec, renew_time="2042-01-01T00:00:00.000000Z")
            )

            async def read():
                return [newer]

            as_before, it.read = it.read, read
            assert await it.monitor.condemn("a") is None
            assert it.monitor.verdict("a") is ALIVE
            it.read = as_before
            assert await it.monitor.condemn("a") is not None
            assert it.monitor.verdict("a") is DEAD

    run_virtually(main())


def test_a_suspect_whose_heartbeat_comes_during_the_read_is_not_condemned():
    async def main():
        async with world() as it:
            it.open()
            it.start("a", "b", "c")
            await asyncio.sleep(20)
            it.read_takes_s = 0.2
            async with asyncio.TaskGroup() as tasks:
                condemned = tasks.create_task(it.monitor.condemn("a"))
                await asyncio.sleep(0.1)
                it.publishers["a"].trigger()
            assert condemned.result() is None
            assert it.monitor.verdict("a") is ALIVE

    run_virtually(main())
