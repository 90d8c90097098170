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
from extip.errors import AlreadyRunningError
from extip.heartbeat.monitor import Monitor
from extip.heartbeat.publisher import Publisher
from extip.kube.client import connect
from extip.kube.lease_lock import HeartbeatReader, LeaseLock
from extip.leaderelection import LeaderElector, Timing
from extip.metrics import Metrics
from extip.plan.liveness import Verdict

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


async def until(condition):
    async with asyncio.timeout(120):
        while not condition():  # noqa: ASYNC110 - the condition belongs to another
            await asyncio.sleep(0.01)


def publisher(client, namespace, node, identity, *, lease_s=0.0):
    return Publisher(
        LeaseLock(client, name=heartbeat_lease(node), namespace=namespace),
        node=node,
        namespace=namespace,
        identity=identity,
        heartbeat_s=HB_S,
        lease_s=lease_s,
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
        monitor = Monitor(
            HeartbeatReader(client, namespace=namespace),
            get=find,
            monitor_s=3.0,
            changed=lambda node: verdicts.append(
                (node, monitor.verdict(node), monitor.leaving(node))
            ),
            doubt=lambda since: informer.doubt(since),  # noqa: PLW0108 - made below
            clock=CLOCK,
            metrics=METRICS,
        )
        leases = client.lister_watcher(
            LEASES, label_selector=HEARTBEAT_SELECTOR, namespace=namespace
        )
        informer = Informer(
            "leases",
            TrackedListerWatcher(leases, opened=monitor.watch_opened, closed=monitor.watch_closed),
            clock=CLOCK,
            rng=Random(),  # noqa: S311
            metrics=METRICS,
        )
        informer.add_handler(monitor.lease_changed)
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


async def test_of_two_candidates_one_leads_and_the_other_follows_an_orderly_stop(lab, namespace):
    timing = Timing(lease_duration_s=15, renew_deadline_s=10, retry_period_s=0.5)
    async with connect(str(lab.outside_kubeconfig()), metrics=METRICS) as client:
        lock = LeaseLock(client, name="extip-test", namespace=namespace)
        first, second = (
            LeaderElector(
                lock,
                name="extip-test",
                namespace=namespace,
                identity=who,
                timing=timing,
                clock=CLOCK,
                rng=Random(),  # noqa: S311
                metrics=METRICS,
            )
            for who in ("first", "second")
        )
        async with running(first.run()) as leader:
            await until(lambda: first.leading)
            async with running(second.run()):
                await until(lambda: second.rival() == "first")
                assert not second.leading
                leader.cancel()
                await until(lambda: second.leading)
                assert not first.leading
                lease = await lock.get()
                assert lease.spec.lease_transitions == 2
        assert (await lock.get()).holder == ""
