"""A node says that it is alive as often as promised, and never for two controllers at once."""

import asyncio
from collections.abc import Mapping
from contextlib import asynccontextmanager, suppress
from itertools import pairwise
from random import Random

import pytest
from msgspec.structs import replace

from extip.api.coordination_v1 import Lease
from extip.api.meta_v1 import FullObjectMeta
from extip.clock import LoopClock
from extip.errors import AlreadyRunningError, ApiUnavailableError
from extip.liveness.heartbeat import Publisher
from extip.liveness.lease_content import beat_of, leaving_reason, reach_of, reaches_of
from extip.metrics import Metrics
from extip.uplink.isolation_watch import IsolationWatch
from extip.uplink.policy.isolation import Reachability
from tests.fakes.lease_server import HANG, OK, REFUSED, Delivery, LeaseServer
from tests.fakes.virtual_time import run_virtually

NODE = "n1.example"
NAME = "extip-node-n1.example"
HB_S = 2.0


def publisher(server, identity="here", *, heartbeat_s=HB_S, lease_s=0.0, metrics=None):
    return Publisher(
        server.client(NAME, identity),
        node=NODE,
        namespace="kube-system",
        identity=identity,
        heartbeat_s=heartbeat_s,
        lease_s=lease_s,
        clock=LoopClock(),
        rng=Random(7),  # noqa: S311
        metrics=metrics or Metrics("controller"),
    )


@asynccontextmanager
async def running(*publishers):
    tasks = [asyncio.ensure_future(one.run()) for one in publishers]
    try:
        yield tasks
    finally:
        for task in tasks:
            task.cancel()
        with suppress(asyncio.CancelledError, AlreadyRunningError):
            for task in tasks:
                await task


def lease(server):
    return server.leases[NAME]


def renewals(server):
    """Note when the Lease is written."""
    times: list[float] = []
    server.changed = lambda _name: times.append(asyncio.get_running_loop().time())
    return times


def test_the_first_heartbeat_goes_out_at_once_and_others_as_often_as_promised():
    async def main():
        server = LeaseServer()
        times = renewals(server)
        one = publisher(server)
        assert one.age_s() is None
        async with running(one):
            await asyncio.sleep(100)
            assert one.age_s() <= HB_S * 1.1
        assert times[0] < 0.01
        gaps = [b - a for a, b in pairwise(times)]
        assert all(HB_S * 0.89 <= gap <= HB_S * 1.11 for gap in gaps)
        assert max(gaps) - min(gaps) > 0.1
        # One call for each: the Lease is kept in memory.
        assert len(server.calls) == len(times) + 1

    run_virtually(main())


def test_the_lease_says_who_beats_how_often_and_carries_the_selectors_label():
    async def main():
        server = LeaseServer()
        async with running(publisher(server, heartbeat_s=0.1)):
            await asyncio.sleep(1)
        found = lease(server)
        assert found.metadata.namespace == "kube-system"
        assert found.metadata.labels == {
            "app.kubernetes.io/component": "extip-heartbeat",
            "ipnode": NODE,
        }
        assert found.holder == "here"
        assert found.spec.lease_duration_seconds == 1
        assert beat_of(found).heartbeat_s == 0.1

    run_virtually(main())


def test_the_age_of_a_heartbeat_counts_from_its_sending_however_late_the_answer_is():
    """Until then the Lease may have been as old as that: fencing must not count on more."""

    async def main():
        server = LeaseServer()
        server.deliver = lambda _who, _verb: Delivery(back_s=0.9)
        one = publisher(server)
        async with running(one):
            await asyncio.sleep(20)
            sent = [at for at, _, verb in server.calls if verb == "replace"]
            assert one.confirmed_at in sent

    run_virtually(main())


def test_a_call_that_hangs_costs_one_heartbeat():
    async def main():
        server = LeaseServer()
        times = renewals(server)
        one = publisher(server)
        async with running(one):
            await asyncio.sleep(9)
            fates = [HANG]
            server.deliver = lambda _who, _verb: fates.pop() if fates else OK
            await asyncio.sleep(30)
        assert not fates
        assert max(b - a for a, b in pairwise(times)) <= 2.2 * HB_S

    run_virtually(main())


@pytest.mark.parametrize("fate", [REFUSED, HANG, Delivery(answered=False)])
def test_after_an_outage_the_heartbeat_returns_within_one_period(fate):
    async def main():
        server = LeaseServer()
        one = publisher(server)
        async with running(one):
            await asyncio.sleep(9)
            server.deliver = lambda _who, _verb: fate
            await asyncio.sleep(30)
            assert one.age_s() > 28
            server.deliver = lambda _who, _verb: OK
            await asyncio.sleep(HB_S if fate is not HANG else 5 + HB_S)
            assert one.age_s() <= 1.1 * HB_S
            assert lease(server).holder == "here"

    run_virtually(main())


def test_a_refused_call_is_tried_again_sooner_than_a_heartbeat_but_not_at_once():
    async def main():
        server = LeaseServer()
        server.deliver = lambda _who, _verb: REFUSED
        async with running(publisher(server)):
            await asyncio.sleep(60)
        gaps = [b[0] - a[0] for a, b in pairwise(server.calls)]
        assert min(gaps) >= HB_S / 10
        assert max(gaps) <= HB_S + 0.01

    run_virtually(main())


class Throttling:
    """Refuses every call about a Lease; or, once it has one, every renewal."""

    def __init__(self, told_s, *, known=None):
        self.asked = []
        self.reads = 0
        self._told_s = told_s
        self._known = known

    async def get(self):
        self.reads += 1
        if self._known is None:
            self._refuse("get")
        return self._known

    async def create(self, _lease):
        self._refuse("create")

    async def replace(self, _lease):
        self._refuse("replace")

    def _refuse(self, verb):
        self.asked.append((asyncio.get_running_loop().time(), verb))
        raise ApiUnavailableError("slow down", status=429, retry_after_s=self._told_s)


def throttled(store):
    return Publisher(
        store,
        node=NODE,
        namespace="x",
        identity="here",
        heartbeat_s=HB_S,
        clock=LoopClock(),
        rng=Random(7),  # noqa: S311
        metrics=Metrics("controller"),
    )


@pytest.mark.parametrize("told_s", [0.9, 3.0, 3600.0])
def test_a_refusal_is_not_waited_out_before_the_node_counts_as_dead(told_s):
    """Of a server that refuses half of the calls, one of many attempts gets through."""

    async def main():
        store = Throttling(told_s)
        async with running(throttled(store)):
            await asyncio.sleep(20)
        times = [time for time, _ in store.asked]
        gaps = [later - earlier for earlier, later in pairwise(times)]
        assert gaps[:20] == [pytest.approx(HB_S / 10)] * 20
        assert min(gaps[20:]) >= min(told_s, HB_S / 2) - 0.001
        assert max(gaps) <= HB_S

    run_virtually(main())


def test_a_renewal_that_was_refused_is_repeated_without_another_read():
    """Else two calls would have to get through, which half of them do not."""

    async def main():
        mine = Lease(metadata=FullObjectMeta(name=NAME, namespace="x", resource_version="7"))
        store = Throttling(1.0, known=mine)
        async with running(throttled(store)):
            await asyncio.sleep(HB_S)
        assert len(store.asked) >= 9
        assert {verb for _, verb in store.asked} == {"replace"}
        assert store.reads == 1

    run_virtually(main())


def test_an_api_server_that_needs_longer_than_a_heartbeat_is_still_reached():
    async def main():
        server = LeaseServer()
        one = publisher(server)
        async with running(one):
            await asyncio.sleep(9)
            server.deliver = lambda _who, _verb: Delivery(there_s=1.5, back_s=1.5)
            await asyncio.sleep(60)
            times = renewals(server)
            await asyncio.sleep(60)
            assert len(times) >= 12
            assert one.age_s() <= 10

    run_virtually(main())


def test_what_people_do_to_the_lease_does_not_stop_the_heartbeat():
    async def main():
        server = LeaseServer()
        times = renewals(server)
        async with running(publisher(server)):
            await asyncio.sleep(5)
            server.edit(NAME, lease_transitions=70)
            await asyncio.sleep(5)
            del server.leases[NAME]
            await asyncio.sleep(5)
            server.edit(NAME, holder_identity="")
            await asyncio.sleep(5)
            assert lease(server).holder == "here"
        assert max(b - a for a, b in pairwise(times)) <= 1.2 * HB_S

    run_virtually(main())


def test_a_controller_started_again_in_its_place_goes_on_at_once():
    async def main():
        server = LeaseServer()
        async with running(publisher(server)):
            await asyncio.sleep(9)
        times = renewals(server)
        started = asyncio.get_running_loop().time()
        async with running(publisher(server)):
            await asyncio.sleep(0.1)
        assert times[0] - started < 0.02

    run_virtually(main())


def test_of_two_live_controllers_of_one_name_the_second_refuses():
    async def main():
        server = LeaseServer()
        first, second = publisher(server), publisher(server, "there")
        async with running(first):
            await asyncio.sleep(9)
            async with running(second) as (task,):
                await asyncio.sleep(5)
                assert task.done()
                with pytest.raises(AlreadyRunningError, match=r"n1\.example.*here.*--hostname"):
                    task.result()
            await asyncio.sleep(30)
            assert first.age_s() <= 1.2 * HB_S
        assert second.confirmed_at is None
        assert lease(server).holder == "here"

    run_virtually(main())


def test_a_name_whose_controller_died_elsewhere_is_taken_over_after_a_silence():
    async def main():
        server = LeaseServer()
        async with running(publisher(server)):
            await asyncio.sleep(9)
        second = publisher(server, "there")
        async with running(second):
            await asyncio.sleep(4.0)
            assert second.confirmed_at is None
            await asyncio.sleep(1.0)
            assert second.confirmed_at is not None
        assert lease(server).spec.lease_transitions == 2

    run_virtually(main())


def test_a_name_whose_controller_may_have_its_ips_up_for_longer_is_free_only_then():
    async def main():
        server = LeaseServer()
        async with running(publisher(server, lease_s=7.5)):
            await asyncio.sleep(9)
        second = publisher(server, "there")
        async with running(second):
            await asyncio.sleep(7.4)
            assert second.confirmed_at is None
            await asyncio.sleep(1.5)
            assert second.confirmed_at is not None

    run_virtually(main())


def test_a_controller_that_was_frozen_and_replaced_stops():
    async def main():
        server = LeaseServer()
        frozen: list[bool] = []
        server.deliver = lambda who, _verb: HANG if frozen and who == "here" else OK
        first, second = publisher(server), publisher(server, "there")
        async with running(first) as (task,):
            await asyncio.sleep(9)
            frozen.append(True)
            async with running(second):
                await asyncio.sleep(20)
                assert lease(server).holder == "there"
                frozen.clear()
                await asyncio.sleep(15)
                assert task.done()
                with pytest.raises(AlreadyRunningError):
                    task.result()

    run_virtually(main())


def test_leaving_is_said_at_once_and_with_every_heartbeat_until_it_is_over():
    async def main():
        server = LeaseServer()
        one = publisher(server)
        async with running(one):
            await asyncio.sleep(0.5)
            one.leave("SIGTERM")
            await asyncio.sleep(0.01)
            assert leaving_reason(lease(server)) == "SIGTERM"
            await asyncio.sleep(9)
            assert leaving_reason(lease(server)) == "SIGTERM"
            assert one.age_s() < HB_S * 1.2
        await one.release()
        assert lease(server).holder == ""
        assert beat_of(lease(server)).token == ""
        assert leaving_reason(lease(server)) == ""
        async with running(publisher(server, "there")):
            await asyncio.sleep(0.1)
            assert lease(server).holder == "there"

    run_virtually(main())


def test_a_successor_of_one_that_died_while_leaving_does_not_leave():
    async def main():
        server = LeaseServer()
        one = publisher(server)
        async with running(one):
            one.leave("SIGTERM")
            await asyncio.sleep(1)
        async with running(publisher(server)):
            await asyncio.sleep(0.1)
            assert leaving_reason(lease(server)) == ""

    run_virtually(main())


def test_giving_up_is_bounded_and_leaves_anothers_lease_alone():
    async def main():
        server = LeaseServer()
        one = publisher(server)
        async with running(one):
            await asyncio.sleep(1)
        server.edit(NAME, holder_identity="there")
        await one.release()
        assert lease(server).holder == "there"
        server.deliver = lambda _who, _verb: HANG
        started = asyncio.get_running_loop().time()
        await publisher(server, "there").release()
        assert asyncio.get_running_loop().time() - started <= 1.01

    run_virtually(main())


def test_what_others_wrote_on_the_lease_stays():
    async def main():
        server = LeaseServer()
        async with running(publisher(server)):
            await asyncio.sleep(0.1)
            found = lease(server)
            metadata = FullObjectMeta(
                name=NAME,
                resource_version=found.metadata.resource_version,
                labels={"a": "b"},
                annotations={"c": "d"},
            )
            server.write(type(found)(metadata=metadata, spec=found.spec), create=False)
            await asyncio.sleep(5)
        assert lease(server).metadata.labels["a"] == "b"
        assert lease(server).metadata.annotations["c"] == "d"

    run_virtually(main())


def test_heartbeats_are_counted():
    async def main():
        metrics = Metrics("controller")

        def count(result):
            return metrics.registry.get_sample_value("extip_heartbeats_total", {"result": result})

        server = LeaseServer()
        async with running(publisher(server, metrics=metrics)):
            await asyncio.sleep(9)
            server.deliver = lambda _who, _verb: REFUSED
            await asyncio.sleep(9)
        assert count("success") >= 4
        assert count("failure") >= 4

    run_virtually(main())


class Uplink(IsolationWatch):
    """Knows of the interface what a test says."""

    def __init__(self, reachability=Reachability.UNSURE, **links):
        self.now = reachability
        self.links: dict[str, Reachability] = links
        self.recalled: list[Mapping[str, Reachability]] = []
        self.expected: list[float] = []

    def reachability(self):
        return self.now

    def reports(self):
        return self.links

    def restore(self, said):
        self.recalled.append(said)

    def expect_heartbeat(self, at):
        self.expected.append(at)


def test_each_heartbeat_says_whether_others_answer_and_news_is_told_at_once():
    async def main():
        server = LeaseServer()
        one, outlook = publisher(server), Uplink(Reachability.REACHED)
        one.report_reachability(outlook)
        async with running(one):
            await asyncio.sleep(0.1)
            assert reach_of(lease(server)) is Reachability.REACHED
            outlook.now = Reachability.ISOLATED
            one.trigger()
            await asyncio.sleep(0.1)
            assert reach_of(lease(server)) is Reachability.ISOLATED
            outlook.now = Reachability.UNSURE
            await asyncio.sleep(1.2 * HB_S)
            assert reach_of(lease(server)) is Reachability.UNSURE
        assert outlook.recalled == [{"": Reachability.UNSURE}], "there was no Lease"

    run_virtually(main())


def test_a_process_that_is_started_again_recalls_what_the_one_before_it_said():
    async def main():
        server = LeaseServer()
        before = publisher(server)
        before.report_reachability(Uplink(Reachability.ISOLATED))
        async with running(before):
            await asyncio.sleep(5)
        await before.release()
        after, outlook = publisher(server), Uplink()
        after.report_reachability(outlook)
        async with running(after):
            await asyncio.sleep(5)
        assert outlook.recalled == [{"": Reachability.ISOLATED}]

    run_virtually(main())


def test_what_an_older_controller_keeps_of_it_says_nothing():
    """It renews the Lease and keeps annotations that it does not know."""

    async def main():
        server = LeaseServer()
        one = publisher(server)
        one.report_reachability(Uplink(Reachability.REACHED))
        async with running(one):
            await asyncio.sleep(5)
        said = lease(server)
        assert reach_of(said) is Reachability.REACHED
        later = replace(said, spec=replace(said.spec, renew_time="2031-01-01T00:00:00.000000Z"))
        assert reach_of(later) is Reachability.UNSURE
        assert reach_of(later, at_any_time=True) is Reachability.REACHED

    run_virtually(main())


def test_a_machine_that_is_booted_anew_recalls_it_as_well():
    """To switch an isolated node off and on is what people do."""

    async def main():
        server = LeaseServer()
        before = publisher(server, "before the boot")
        before.report_reachability(Uplink(Reachability.ISOLATED))
        async with running(before):
            await asyncio.sleep(5)
        after, outlook = publisher(server), Uplink()
        after.report_reachability(outlook)
        async with running(after):
            await asyncio.sleep(30)
        assert outlook.recalled == [{"": Reachability.ISOLATED}]

    run_virtually(main())


@pytest.mark.parametrize("said", ["sideways", "reached", "reached yesterday", " ", ""])
def test_a_word_that_nobody_knows_says_nothing(said):
    odd = Lease(metadata=FullObjectMeta(annotations={"ipcontroller.ext/reach": said}))
    assert reach_of(odd) is Reachability.UNSURE


def test_each_interface_is_reported_and_recalled_where_there_are_several():
    async def main():
        server = LeaseServer()
        said = {"eth0": Reachability.REACHED, "eth1": Reachability.ISOLATED}
        before = publisher(server)
        before.report_reachability(Uplink(Reachability.REACHED, **said))
        async with running(before):
            await asyncio.sleep(5)
        assert list(reaches_of(lease(server)).items()) == list(said.items()), "the first one first"
        assert reach_of(lease(server)) is Reachability.REACHED, "as older schedulers read it"
        await before.release()
        after, outlook = publisher(server), Uplink(Reachability.REACHED)
        after.report_reachability(outlook)
        async with running(after):
            await asyncio.sleep(5)
            assert outlook.recalled == [said]
            assert reaches_of(lease(server)) == {"": Reachability.REACHED}, "there is but one now"

    run_virtually(main())


def test_what_an_older_controller_keeps_about_interfaces_says_nothing():
    async def main():
        server = LeaseServer()
        one = publisher(server)
        one.report_reachability(Uplink(Reachability.REACHED, eth1=Reachability.ISOLATED))
        async with running(one):
            await asyncio.sleep(5)
        later = replace(
            lease(server), spec=replace(lease(server).spec, renew_time="2031-01-01T00:00:00.0Z")
        )
        assert reaches_of(later) == {"": Reachability.UNSURE}

    run_virtually(main())


def test_the_interfaces_are_told_when_the_next_heartbeat_is_due():
    async def main():
        server = LeaseServer()
        one, outlook = publisher(server), Uplink()
        one.report_reachability(outlook)
        async with running(one):
            await asyncio.sleep(10.5 * HB_S)
            (*_, due_at) = outlook.expected
            beats = len(outlook.expected)
            assert 9 <= beats <= 13
            now = asyncio.get_running_loop().time()
            assert 0 < due_at - now <= 1.1 * HB_S
            await asyncio.sleep(due_at - now - 0.01)
            assert len(outlook.expected) == beats
            await asyncio.sleep(0.02)
            assert len(outlook.expected) == beats + 1

    run_virtually(main())


@pytest.mark.parametrize(
    "said", ["reached/ x", "sideways/eth0 x", "eth0 x", "x", "", "reached/e x"]
)
def test_words_about_interfaces_that_nobody_knows_say_nothing(said):
    annotations = {"ipcontroller.ext/reach-links": said}
    odd = Lease(metadata=FullObjectMeta(annotations=annotations))
    assert reaches_of(odd) == {"": Reachability.UNSURE}
