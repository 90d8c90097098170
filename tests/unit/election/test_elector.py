"""At most one leads at any time, leadership ends in time, and a lease is given back in order."""

import asyncio
from contextlib import suppress
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from extip.clock import LoopClock
from extip.election.elector import LeaderElector, Timing
from extip.errors import ConfigurationError
from extip.metrics import Metrics
from extip.supervisor import Component
from tests.fakes.lease_server import HANG, LATE, OK, REFUSED, Delivery, LeaseServer
from tests.fakes.tasks import beside
from tests.fakes.virtual_time import run_virtually

NAME = "extip-scheduler"


class Watcher:
    """Notes who leads when, and that it is never more than one."""

    def __init__(self):
        self.leading = set()
        self.history = []
        self.overlaps = []

    def component(self, who, *, stop_s=0.0):
        async def lead():
            loop = asyncio.get_running_loop()
            self.leading.add(who)
            self.history.append((loop.time(), who, "begin"))
            if len(self.leading) > 1:
                self.overlaps.append((loop.time(), sorted(self.leading)))
            try:
                await loop.create_future()
            finally:
                try:
                    await asyncio.sleep(stop_s)
                finally:  # a second cancellation cuts the clean-up short
                    self.leading.discard(who)
                    self.history.append((loop.time(), who, "end"))

        return Component("writer", lead)


def candidate(server, who, *, timing=None, seed=0, metrics=None, **more):
    return LeaderElector(
        server.client(NAME, who),
        name=NAME,
        namespace="kube-system",
        identity=who,
        timing=timing or Timing(),
        clock=LoopClock(),
        rng=Random(f"{who}{seed}"),  # noqa: S311
        metrics=metrics or Metrics("scheduler"),
        **more,
    )


def spec(server):
    return server.leases[NAME].spec


def test_the_first_candidate_leads_at_once_and_renews():
    async def main():
        server, watcher = LeaseServer(), Watcher()
        elector = candidate(server, "a")
        async with beside(elector.run(lambda: [watcher.component("a")])):
            await asyncio.sleep(0.1)
            assert watcher.leading == {"a"}
            assert elector.leading
            assert spec(server).holder_identity == "a"
            assert spec(server).lease_duration_seconds == 15
            first = spec(server).renew_time
            await asyncio.sleep(60)
            assert watcher.leading == {"a"}
            assert spec(server).renew_time != first
            assert spec(server).lease_transitions == 1
            writes = [at for at, _, verb in server.calls if verb == "replace"]
            assert 27 <= len(writes) <= 30
            assert not any(verb == "get" for at, _, verb in server.calls if at > 1)
        assert not watcher.leading

    run_virtually(main())


def test_an_orderly_stop_ends_the_writers_first_and_then_gives_the_lease_back():
    async def main():
        server, watcher = LeaseServer(), Watcher()
        async with beside(
            candidate(server, "a").run(lambda: [watcher.component("a", stop_s=0.5)])
        ) as (task,):
            await asyncio.sleep(5)
            task.cancel()
            await asyncio.sleep(0.4)
            assert watcher.leading == {"a"}
            assert spec(server).holder_identity == "a"
            with suppress(asyncio.CancelledError):
                await task
            assert not watcher.leading
            assert spec(server).holder_identity == ""
        async with beside(candidate(server, "b").run(lambda: [watcher.component("b")])):
            await asyncio.sleep(0.1)
            assert watcher.leading == {"b"}
            assert spec(server).lease_transitions == 2

    run_virtually(main())


def test_a_standby_takes_over_after_a_duration_of_silence_and_not_before():
    async def main():
        server, watcher = LeaseServer(), Watcher()
        down = set()
        server.deliver = lambda who, _verb: HANG if who in down else OK
        first = candidate(server, "a").run(lambda: [watcher.component("a")])
        second = candidate(server, "b").run(lambda: [watcher.component("b")])
        async with beside(first) as (dying,):
            await asyncio.sleep(1)
            async with beside(second):
                await asyncio.sleep(30)
                assert watcher.leading == {"a"}
                down.add("a")
                cut_at = asyncio.get_running_loop().time()
                await asyncio.sleep(12.1)
                assert not watcher.leading
                await asyncio.sleep(30)
                assert watcher.leading == {"b"}
                ended = next(at for at, who, what in watcher.history if what == "end")
                began = next(at for at, who, _ in watcher.history if who == "b")
                assert 8 <= ended - cut_at <= 10.1
                assert 13 <= began - cut_at <= 15 + 4.4 + 1
                down.clear()
                await asyncio.sleep(30)
                assert watcher.leading == {"b"}
                dying.cancel()
        assert not watcher.overlaps

    run_virtually(main())


@pytest.mark.parametrize("fault", [HANG, REFUSED, LATE, Delivery(answered=False)])
def test_leadership_ends_at_the_renew_deadline_and_begins_again_afterwards(fault):
    async def main():
        server, watcher = LeaseServer(), Watcher()
        broken: list[bool] = []
        server.deliver = lambda _who, _verb: fault if broken else OK
        elector = candidate(server, "a")
        async with beside(elector.run(lambda: [watcher.component("a")])):
            await asyncio.sleep(5)
            broken.append(True)
            await asyncio.sleep(20)
            ended = [at for at, _, what in watcher.history if what == "end"]
            if fault is LATE:
                assert not ended  # slow, but within the deadline
            else:
                assert 12 <= ended[0] <= 15
                assert not elector.leading
            broken.clear()
            await asyncio.sleep(20)
            assert watcher.leading == {"a"}

    run_virtually(main())


@pytest.mark.parametrize("verb", ["create", "replace"])
def test_the_renew_deadline_counts_from_before_the_call_however_late_its_answer_is(verb):
    """Others count the lease's duration from when it was written: long before a late answer."""

    async def main():
        server, watcher = LeaseServer(), Watcher()
        written: list[float] = []

        def deliver(_who, called):
            if written:
                return HANG
            if called != verb:
                return OK
            written.append(asyncio.get_running_loop().time())
            return Delivery(back_s=3.0)

        server.deliver = deliver
        async with beside(candidate(server, "a").run(lambda: [watcher.component("a")])):
            await asyncio.sleep(30)
            (ended,) = [at for at, _, what in watcher.history if what == "end"]
            assert written[0] + 3.0 < ended <= written[0] + Timing().renew_deadline_s + 0.01

    run_virtually(main())


def test_it_tells_when_the_api_server_answers_again():
    async def main():
        server, reached, broken = LeaseServer(), [], [True]
        server.deliver = lambda _who, _verb: REFUSED if broken else OK
        loop = asyncio.get_running_loop()
        elector = candidate(server, "a", on_recovery=lambda: reached.append(loop.time()))
        async with beside(elector.run()):
            await asyncio.sleep(30)
            assert not reached
            broken.clear()
            await asyncio.sleep(30)
            assert len(reached) == 1
            assert 30 <= reached[0] <= 35

    run_virtually(main())


def test_a_lease_that_was_taken_away_ends_leadership_at_the_next_renewal():
    async def main():
        server, watcher = LeaseServer(), Watcher()
        async with beside(candidate(server, "a").run(lambda: [watcher.component("a")])):
            await asyncio.sleep(5)
            server.edit(NAME, holder_identity="intruder", lease_duration_seconds=15)
            await asyncio.sleep(2.1)
            assert not watcher.leading
            assert spec(server).holder_identity == "intruder"

    with capture_logs() as logs:
        run_virtually(main())
    assert {"event": "leadership_lost", "reason": "taken by intruder"}.items() <= next(
        entry for entry in logs if entry["event"] == "leadership_lost"
    ).items()


@pytest.mark.parametrize("what", ["edit", "delete", "empty"])
def test_a_lease_that_people_touched_is_kept(what):
    async def main():
        server, watcher = LeaseServer(), Watcher()
        async with beside(candidate(server, "a").run(lambda: [watcher.component("a")])):
            await asyncio.sleep(5)
            if what == "edit":
                server.edit(NAME, lease_transitions=99)
            elif what == "empty":
                server.edit(NAME, holder_identity="")
            else:
                del server.leases[NAME]
            await asyncio.sleep(5)
            assert spec(server).holder_identity == "a"
        assert [what for _, _, what in watcher.history] == ["begin", "end"]

    run_virtually(main())


@pytest.mark.parametrize("cut_off", [False, True])
def test_a_lease_that_somebody_deletes_is_its_holders_until_it_would_have_run_out(cut_off):
    """A candidate that looked before its holder did led beside that one."""

    async def main():
        server, watcher = LeaseServer(), Watcher()
        down: set[str] = set()
        server.deliver = lambda who, _verb: HANG if who in down else OK
        runs = [
            candidate(server, who).run(lambda who=who: [watcher.component(who)]) for who in "abc"
        ]
        async with beside(*runs):
            for moment in range(20):
                await asyncio.sleep(30 + 0.1 * moment)
                (leader,) = watcher.leading
                if cut_off:
                    down.add(leader)
                del server.leases[NAME]
                await asyncio.sleep(2.5)
                assert watcher.leading == {leader}
                assert (NAME in server.leases) is not cut_off
                await asyncio.sleep(30)
                assert (watcher.leading == {leader}) is not cut_off
                down.clear()
            assert not watcher.overlaps

    run_virtually(main())


def test_a_failing_writer_gives_the_lease_back_and_fails_the_process():
    async def fail():
        await asyncio.sleep(3)
        raise RuntimeError("a bug")

    async def main():
        server = LeaseServer()
        with pytest.raises(ExceptionGroup):
            await candidate(server, "a").run(lambda: [Component("writer", fail)])
        assert spec(server).holder_identity == ""

    run_virtually(main())


def test_a_cancellation_that_comes_while_leadership_is_lost_is_not_swallowed():
    async def main():
        server, watcher = LeaseServer(), Watcher()
        elector = candidate(server, "a")
        async with beside(elector.run(lambda: [watcher.component("a", stop_s=1.0)])) as (task,):
            await asyncio.sleep(5)
            server.edit(NAME, holder_identity="b", lease_duration_seconds=15)
            await asyncio.sleep(1.5)
            assert elector.holder == "b"
            assert watcher.leading  # the writer takes a second to stop
            task.cancel()
            await asyncio.wait([task], timeout=5)
            assert task.cancelled()
        assert not watcher.leading
        assert spec(server).holder_identity == "b"

    run_virtually(main())


def test_a_release_that_hangs_does_not_hold_the_process_up():
    async def main():
        server = LeaseServer()
        async with beside(candidate(server, "a").run()) as (task,):
            await asyncio.sleep(1)
            server.deliver = lambda _who, _verb: HANG
            task.cancel()
            await asyncio.wait([task], timeout=1.1)
            assert task.done()

    run_virtually(main())


def test_a_renewal_cut_short_by_the_stop_does_not_outlive_the_release():
    async def main():
        server = LeaseServer()
        slow: list[Delivery] = []
        server.deliver = lambda _who, _verb: slow.pop() if slow else OK
        async with beside(candidate(server, "a").run()) as (task,):
            await asyncio.sleep(1)
            slow.append(Delivery(there_s=0.002, back_s=0.5))
            await asyncio.sleep(1.3)
            assert not slow  # the renewal is written, and its answer on the way
            task.cancel()
            await asyncio.sleep(3)
            assert spec(server).holder_identity == ""

    run_virtually(main())


def test_metrics_say_who_leads():
    async def main():
        server, metrics = LeaseServer(), Metrics("scheduler")

        def value():
            return metrics.registry.get_sample_value(
                "leader_election_master_status", {"name": NAME}
            )

        async with beside(candidate(server, "a", metrics=metrics).run()):
            await asyncio.sleep(1)
            assert value() == 1
        assert value() == 0

    run_virtually(main())


@pytest.mark.parametrize(
    "values", [(10, 10, 2), (15, 2.4, 2), (15, 10, 0), (9, 10, 2), (15, 10, 9)]
)
def test_timings_under_which_two_could_lead_are_refused(values):
    duration_s, deadline_s, retry_s = values
    with pytest.raises(ConfigurationError):
        Timing(lease_duration_s=duration_s, renew_deadline_s=deadline_s, retry_period_s=retry_s)


deliveries = st.one_of(
    st.just(OK),
    st.builds(
        Delivery,
        there_s=st.floats(0.001, 4.0),
        back_s=st.floats(0.001, 4.0),
        arrives=st.booleans(),
        answered=st.booleans(),
    ),
    st.just(HANG),
)


@settings(max_examples=60)
@given(
    st.lists(deliveries, min_size=1, max_size=40),
    st.integers(0, 2**32),
    st.floats(0.2, 1.0),
    st.sampled_from([Timing(), Timing(lease_duration_s=5, renew_deadline_s=3, retry_period_s=1)]),
)
def test_two_candidates_never_lead_at_once_whatever_happens_to_their_calls(
    faults, seed, health, timing
):
    """Delays, lost calls, lost answers, writes carried out late; stops that take a while.

    Where few calls are answered nobody may ever lead. So the faults begin when somebody does.
    """
    server, watcher, rng = LeaseServer(), Watcher(), Random(seed)  # noqa: S311

    def deliver(_who, _verb):
        healthy = not watcher.history or rng.random() < health
        return OK if healthy else rng.choice(faults)

    async def main():
        server.deliver = deliver
        stop_s = (timing.lease_duration_s - timing.renew_deadline_s) * 0.9
        runs = [
            candidate(server, who, timing=timing, seed=seed, sole=rng.random() < 0.3).run(
                lambda who=who: [watcher.component(who, stop_s=stop_s * rng.random())]
            )
            for who in "abc"
        ]
        async with beside(*runs):
            await asyncio.sleep(300)

    run_virtually(main())
    assert not watcher.overlaps
    assert watcher.history


@settings(max_examples=20)
@given(st.integers(0, 2**32))
def test_somebody_leads_again_soon_after_all_faults_are_over(seed):
    async def main():
        server, watcher, rng = LeaseServer(), Watcher(), Random(seed)  # noqa: S311
        healthy: list[bool] = []
        server.deliver = lambda _w, _v: OK if healthy or rng.random() < 0.3 else HANG
        runs = [
            candidate(server, who, seed=seed).run(lambda who=who: [watcher.component(who)])
            for who in "ab"
        ]
        async with beside(*runs):
            await asyncio.sleep(60)
            healthy.append(True)
            await asyncio.sleep(10 + 15 + 4.4)
            assert len(watcher.leading) == 1

    run_virtually(main())
