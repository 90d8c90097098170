"""Heartbeats and election against a real API server: versions, conflicts and watches are real."""

import asyncio
import secrets
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from random import Random

import pytest

from extip.api.names import HEARTBEAT_SELECTOR, heartbeat_lease
from extip.api.resources import LEASES
from extip.cache.informer import Informer
from extip.cache.tracked import TrackedListerWatcher
from extip.clock import LoopClock
from extip.election.elector import LeaderElector, Timing
from extip.errors import AlreadyRunningError, ApiUnavailableError
from extip.kube.client import connect
from extip.kube.lease_lock import HeartbeatReader, LeaseLock
from extip.liveness.heartbeat import Publisher
from extip.liveness.node_monitor import NodeMonitor
from extip.liveness.policy import Verdict
from extip.metrics import Metrics
from tests.lab.wait import until

CLOCK = LoopClock()
METRICS = Metrics("test")
HB_S = 0.2


@asynccontextmanager
async def running(coroutine):
    task = asyncio.ensure_future(coroutine)
    try:
        yield task
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


def publisher(client, namespace, node, identity, *, store=None, **more):
    return Publisher(
        store or LeaseLock(client, name=heartbeat_lease(node), namespace=namespace),
        node=node,
        namespace=namespace,
        identity=identity,
        clock=CLOCK,
        rng=Random(),  # noqa: S311
        metrics=METRICS,
        **{"heartbeat_s": HB_S, **more},
    )


def elector(lock, namespace, identity):
    return LeaderElector(
        lock,
        name="extip-test",
        namespace=namespace,
        identity=identity,
        timing=Timing(lease_duration_s=15, renew_deadline_s=10, retry_period_s=0.5),
        clock=CLOCK,
        rng=Random(),  # noqa: S311
        metrics=METRICS,
    )


@pytest.fixture
def namespace(lab):
    name = f"test-{secrets.token_hex(4)}"
    lab.create_namespace(name)
    return name


async def test_heartbeats_are_seen_by_watch_and_a_death_is_confirmed_by_a_read(lab, namespace):
    verdicts: list[tuple[str, Verdict, str]] = []

    def find(key):
        return informer.store.get(key)

    async with (
        connect(str(lab.outside_kubeconfig()), metrics=METRICS) as client,
        AsyncExitStack() as stack,
    ):
        monitor = NodeMonitor(
            HeartbeatReader(client, namespace=namespace).read,
            get=find,
            monitor_s=3.0,
            on_change=lambda node: verdicts.append(
                (node, monitor.verdict(node), monitor.leaving(node))
            ),
            on_doubt=lambda since: informer.doubt(since),  # noqa: PLW0108 - made below
            clock=CLOCK,
            metrics=METRICS,
        )
        leases = client.lister_watcher(
            LEASES, label_selector=HEARTBEAT_SELECTOR, namespace=namespace
        )
        informer = Informer(
            "leases",
            TrackedListerWatcher(
                leases, on_open=monitor.watch_opened, on_close=monitor.watch_closed
            ),
            clock=CLOCK,
            rng=Random(),  # noqa: S311
            metrics=METRICS,
        )
        informer.add_handler(monitor.on_lease)
        await stack.enter_async_context(running(informer.run()))
        await stack.enter_async_context(running(monitor.run()))
        nodes = {n: publisher(client, namespace, n, f"{n}_1") for n in ("n1", "n3.example")}
        nodes["n2"] = publisher(client, namespace, "n2", "n2_1", lease_s=60.0)
        tasks = {
            name: await stack.enter_async_context(running(one.run())) for name, one in nodes.items()
        }
        await until(lambda: list(monitor.nodes().values()) == 3 * [Verdict.ALIVE])

        tasks["n1"].cancel()
        await until(lambda: monitor.verdict("n1") is Verdict.DEAD)
        nodes["n3.example"].leave("SIGTERM")
        await until(lambda: monitor.leaving("n3.example") == "SIGTERM")
        lease = informer.store[f"{namespace}/{heartbeat_lease('n3.example')}"]
        assert not lease.metadata.managed_fields
        tasks["n3.example"].cancel()
        await asyncio.wait([tasks["n3.example"]])
        await nodes["n3.example"].release()
        await until(lambda: monitor.verdict("n3.example") is Verdict.DEAD)
        assert ("n2", Verdict.DEAD) not in [(node, verdict) for node, verdict, _ in verdicts]
        await until(lambda: monitor.verdict("n2") is Verdict.ALIVE)

        with pytest.raises(AlreadyRunningError, match="n2_1"):
            async with asyncio.timeout(50):  # by then n2 may be silent, and its name be taken
                await publisher(client, namespace, "n2", "elsewhere").run()
        assert not tasks["n2"].done()


class Interrupted:
    """A watch that breaks when it is told to; implements `ListerWatcher`."""

    def __init__(self, inner):
        self._inner = inner
        self.down = False

    async def list(self, *, resource_version):
        return await self._inner.list(resource_version=resource_version)

    @asynccontextmanager
    async def watch(self, *, resource_version, timeout_s):
        stream = self._inner.watch(resource_version=resource_version, timeout_s=timeout_s)
        async with stream as events:
            if self.down:
                raise ApiUnavailableError("cut")
            yield self._until_down(events)

    async def _until_down(self, events):
        async for event in events:
            if self.down:
                raise ApiUnavailableError("cut")
            yield event


class Watched:
    """A monitor of a namespace of its own, its cache, and when its watch was opened last."""

    def __init__(self, client, namespace, reader, *, monitor_s):
        self.verdicts: list[tuple[str, Verdict]] = []
        self.opened_s = 0.0
        self.monitor = NodeMonitor(
            reader.read,
            get=lambda key: self.informer.store.get(key),  # noqa: PLW0108 - made below
            monitor_s=monitor_s,
            on_change=lambda node: self.verdicts.append((node, self.monitor.verdict(node))),
            on_doubt=lambda since: self.informer.doubt(since),  # noqa: PLW0108
            clock=CLOCK,
            metrics=METRICS,
        )
        self.leases = Interrupted(
            client.lister_watcher(LEASES, label_selector=HEARTBEAT_SELECTOR, namespace=namespace)
        )
        self.informer = Informer(
            "leases",
            TrackedListerWatcher(
                self.leases, on_open=self._opened, on_close=self.monitor.watch_closed
            ),
            clock=CLOCK,
            rng=Random(),  # noqa: S311
            metrics=METRICS,
        )
        self.informer.add_handler(self.monitor.on_lease)

    def _opened(self):
        self.opened_s = CLOCK.monotonic()
        self.monitor.watch_opened()


async def test_neither_an_old_read_nor_a_gap_of_the_watch_overrules_what_was_heard(lab, namespace):
    """One started again while a read is on its way lives; one dead in a gap is found in time."""

    class OldReader:
        """The second read shows a node's Lease given up, though the watch has it renewed since."""

        def __init__(self):
            self.reads = 0
            self.shown = asyncio.Event()

        async def read(self):
            self.reads += 1
            if self.reads == 1:
                await asyncio.get_running_loop().create_future()
            if self.reads > 2:
                return await real.read()
            tasks["b"].cancel()
            await asyncio.wait([tasks["b"]])
            await nodes["b"].release()
            old = await real.read()
            again = publisher(client, namespace, "b", "b_1")
            tasks["b"] = await stack.enter_async_context(running(again.run()))
            await until(
                lambda: watched.verdicts[-2:] == [("b", Verdict.DEAD), ("b", Verdict.ALIVE)]
            )
            watched.verdicts.clear()
            self.shown.set()
            return old

    async with (
        connect(str(lab.outside_kubeconfig()), metrics=METRICS) as client,
        AsyncExitStack() as stack,
    ):
        real = HeartbeatReader(client, namespace=namespace)
        reader = OldReader()
        watched = Watched(client, namespace, reader, monitor_s=3.0)
        await stack.enter_async_context(running(watched.informer.run()))
        await stack.enter_async_context(running(watched.monitor.run()))
        nodes = {name: publisher(client, namespace, name, f"{name}_1") for name in "abc"}
        nodes["d"] = publisher(client, namespace, "d", "d_1", heartbeat_s=1.0)
        tasks = {
            name: await stack.enter_async_context(running(one.run())) for name, one in nodes.items()
        }
        await until(lambda: list(watched.monitor.nodes().values()) == 4 * [Verdict.ALIVE])

        tasks["a"].cancel()
        await until(lambda: watched.monitor.verdict("a") is Verdict.DEAD)
        assert reader.shown.is_set()
        assert ("b", Verdict.DEAD) not in watched.verdicts

        await until(lambda: watched.monitor.verdict("d") is Verdict.ALIVE)
        watched.leases.down = True
        before_s = nodes["d"].confirmed_at
        await until(lambda: nodes["d"].confirmed_at != before_s)
        tasks["d"].cancel()
        await asyncio.sleep(5.0)
        watched.leases.down = False
        opened_s = watched.opened_s
        await until(lambda: watched.opened_s != opened_s)
        await until(lambda: watched.monitor.verdict("d") is Verdict.DEAD)
        assert 3.0 <= CLOCK.monotonic() - watched.opened_s < 6.0


async def test_of_two_candidates_one_leads_and_the_other_follows_an_orderly_stop(lab, namespace):
    async with connect(str(lab.outside_kubeconfig()), metrics=METRICS) as client:
        lock = LeaseLock(client, name="extip-test", namespace=namespace)
        first, second = (elector(lock, namespace, who) for who in ("first", "second"))
        async with running(first.run()) as leader:
            await until(lambda: first.leading)
            async with running(second.run()):
                await until(lambda: second.holder == "first")
                assert not second.leading
                leader.cancel()
                await until(lambda: second.leading)
                assert not first.leading
                lease = await lock.get()
                assert lease.spec.lease_transitions == 2
        assert (await lock.get()).holder == ""


class Unanswered:
    """Lets writes be carried out, and holds their answers back; implements `Lock`."""

    def __init__(self, lock):
        self._lock = lock
        self.get = lock.get
        self.written = asyncio.Event()

    async def create(self, lease):
        return await self._hold_back(self._lock.create(lease))

    async def replace(self, lease):
        return await self._hold_back(self._lock.replace(lease))

    async def _hold_back(self, write):
        written = await write
        if not self.written.is_set():
            self.written.set()
            await asyncio.get_running_loop().create_future()
        return written


@pytest.mark.parametrize("who", ["scheduler", "controller"])
async def test_whoever_is_stopped_before_its_first_write_is_answered_keeps_no_lease(
    lab, namespace, who
):
    name = "extip-test" if who == "scheduler" else heartbeat_lease("n1")
    async with connect(str(lab.outside_kubeconfig()), metrics=METRICS) as client:
        lock = LeaseLock(client, name=name, namespace=namespace)
        held_back = Unanswered(lock)
        if who == "scheduler":
            one = elector(held_back, namespace, "first")
        else:
            one = publisher(client, namespace, "n1", "n1_1", store=held_back, heartbeat_s=60.0)
        async with running(one.run()):
            await held_back.written.wait()
            assert (await lock.get()).holder
        if who == "controller":
            await one.release()
        assert (await lock.get()).holder == ""
