"""The scheduler's caches: after an outage, and what of them is news."""

import asyncio
from contextlib import asynccontextmanager
from random import Random
from typing import cast

import pytest
from msgspec.structs import replace

from extip.api.apiextensions_v1 import CustomResourceDefinition
from extip.api.ipcontroller_v1 import (
    IpClaim,
    IpClaimSpec,
    IpClaimStatus,
    IpNode,
    IpNodeStatus,
)
from extip.api.meta_v1 import Condition, FullObjectMeta
from extip.api.node_link import NodeLink
from extip.cache.listwatch import Page
from extip.clock import LoopClock
from extip.definitions.kinds import Kinds
from extip.errors import ApiUnavailableError
from extip.informers.scheduler import SchedulingInputs
from extip.kube.client import ApiClient
from extip.kube.events import EventRecorder
from extip.metrics import Metrics
from extip.services.policy.permissions import Permissions
from extip.services.policy.requests import Masks
from extip.supervisor import supervise
from extip.uplink.policy.settling import SETTLE_S
from tests.fakes.virtual_time import run_virtually


class Away:
    """An API server that is away, and who asked for it when."""

    def __init__(self):
        self.asked = {}

    def lister_watcher(self, resource, **_scope):
        return _Lister(self, resource.plural)

    async def get(self, _resource, *, name):
        raise ApiUnavailableError("away", request=name)

    def fail(self, what):
        self.asked.setdefault(what, []).append(asyncio.get_running_loop().time())
        raise ApiUnavailableError("away", request=what)


class _Lister:
    def __init__(self, server, plural):
        self._server = server
        self._plural = plural

    async def list(self, *, resource_version):
        self._server.fail(self._plural)


class Hanging:
    """An API server whose streams say nothing, and how often each was opened."""

    def __init__(self):
        self.watches = {}

    async def get(self, _resource, *, name):
        return CustomResourceDefinition(metadata=FullObjectMeta(name=name, uid=name))

    def lister_watcher(self, resource, **_scope):
        return _Watcher(self, resource.plural)


class _Watcher:
    def __init__(self, server, plural):
        self._server = server
        self._plural = plural

    async def list(self, *, resource_version):
        return Page(items=(), resource_version="1")

    @asynccontextmanager
    async def watch(self, *, resource_version, timeout_s):
        watches = self._server.watches
        watches[self._plural] = watches.get(self._plural, 0) + 1
        yield silence()


async def silence():
    await asyncio.get_running_loop().create_future()
    yield


def made(server):
    clock, metrics = LoopClock(), Metrics("test")
    events = EventRecorder(cast("ApiClient", server), clock=clock, metrics=metrics)
    rng = Random(1)  # noqa: S311
    return SchedulingInputs(
        cast("ApiClient", server),
        masks=Masks(v4=32, v6=128),
        lb_class="",
        permissions=Permissions(),
        namespace="x",
        monitor_s=4.0,
        rebalance_after_s=60.0,
        ignored=frozenset(),
        kinds=Kinds(cast("ApiClient", server), events, clock=clock, rng=rng, metrics=metrics),
        clock=clock,
        rng=rng,
        metrics=metrics,
    )


def test_no_cache_waits_its_backoff_out_when_the_api_server_is_back(monkeypatch):
    monkeypatch.setattr(Random, "random", lambda _self: 0.0)  # the longest waits

    async def main():
        server = Away()
        inputs = made(server)
        inputs._endpoints._needed.set()
        caches = [c for c in inputs.components() if c.name.startswith("informer-")]
        running = asyncio.ensure_future(supervise(caches))
        await asyncio.sleep(120)
        now = asyncio.get_running_loop().time()
        assert {"services", "ipclaims", "ipnodes", "nodes", "leases", "endpointslices"} <= set(
            server.asked
        )
        assert all(times[-1] < now for times in server.asked.values())
        inputs.wake()
        await asyncio.sleep(0.01)
        assert all(times[-1] >= now for times in server.asked.values())
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)

    run_virtually(main())


def test_a_doubt_reaches_all_that_is_watched():
    async def main():
        server = Hanging()
        inputs = made(server)
        inputs._endpoints._needed.set()
        caches = [c for c in inputs.components() if c.name.startswith("informer-")]
        running = asyncio.ensure_future(supervise(caches))
        await asyncio.sleep(10)
        assert set(server.watches.values()) == {1}
        inputs.doubt(9.0)
        await asyncio.sleep(0.1)
        assert set(server.watches.values()) == {2}
        assert len(server.watches) == len(caches)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)

    run_virtually(main())


CLAIM = IpClaim(
    metadata=FullObjectMeta(name="a", uid="u", labels={"ipnode": "n1"}),
    spec=IpClaimSpec(cidr="10.0.0.1/32", node_name="n1"),
)
POOLED = replace(
    CLAIM,
    metadata=replace(
        CLAIM.metadata,
        labels={"ipnode": "n1", "ip-pool-name": "p", "app.kubernetes.io/managed-by": "extip"},
    ),
)
UP = Condition(type="Up", status="True", reason="AddressUp")
ACCEPTED = Condition(type="Accepted", status="True", reason="Accepted")
TAKEN = Condition(type="Accepted", status="False", reason="AddressInUse", message="by 02:00:01")
ASSIGNED = Condition(type="Assigned", status="True", reason="Assigned")


@pytest.mark.parametrize(
    ("changed", "is_news"),
    [
        (replace(CLAIM, status=IpClaimStatus(conditions=(UP,), holder="n1")), False),
        (replace(CLAIM, status=IpClaimStatus(conditions=(UP, ASSIGNED))), True),
        (replace(CLAIM, spec=IpClaimSpec(cidr="10.0.0.1/32", node_name="n2")), True),
        (replace(CLAIM, metadata=FullObjectMeta(name="a", uid="u")), True),
        (replace(CLAIM, metadata=FullObjectMeta(name="a", uid="v", labels={"ipnode": "n1"})), True),
        (None, True),
    ],
)
def test_a_claim_is_news_when_what_is_decided_about_it_differs(changed, is_news):
    """With thousands of claims a pass takes long, and controllers report of each of them."""

    async def main():
        inputs = made(Away())
        told = []
        inputs.on_change = lambda: told.append("changed")
        look = inputs.claims._handlers[-1]
        inputs.claims.store.put(CLAIM)
        look("a")
        assert told == ["changed"]
        inputs.claims.store.replace([] if changed is None else [changed])
        look("a")
        assert told == ["changed"] * (2 if is_news else 1)

    run_virtually(main())


@pytest.mark.parametrize(
    ("before", "after", "is_news"),
    [((), (ACCEPTED,), False), ((), (TAKEN,), True), ((TAKEN,), (ACCEPTED,), True)],
)
def test_that_a_station_has_an_address_of_a_pool_is_news(before, after, is_news):
    """Nothing else may happen for hours, and the service has no address as long."""

    async def main():
        inputs = made(Away())
        told = []
        inputs.on_change = lambda: told.append("changed")
        look = inputs.claims._handlers[-1]
        for conditions in (before, after):
            inputs.claims.store.replace(
                [replace(POOLED, status=IpClaimStatus(conditions=conditions))]
            )
            look("a")
        assert told == ["changed"] * (2 if is_news else 1)

    run_virtually(main())


@pytest.mark.parametrize(
    ("changed", "is_news"),
    [
        (IpNodeStatus(links=(NodeLink(name="eth0", up=True),), claims=7, version="2"), False),
        (IpNodeStatus(links=(NodeLink(name="eth0", up=False),)), True),
    ],
)
def test_a_node_is_news_when_it_matters_to_claims(changed, is_news):
    async def main():
        inputs = made(Away())
        told = []
        inputs.on_node_change = lambda: told.append("changed")
        node = IpNode(
            metadata=FullObjectMeta(name="n1"),
            status=IpNodeStatus(links=(NodeLink(name="eth0", up=True),)),
        )
        for now in (node, replace(node, status=changed)):
            inputs.ip_nodes.store.replace([now])
            inputs.ip_nodes._handlers[-1]("n1")
        assert told == ["changed"] * (2 if is_news else 1)

    run_virtually(main())


def test_an_interface_that_stays_down_is_urgent_once_that_is_clear():
    """While many claims are written anew, what is not urgent waits for up to a second."""

    async def main():
        inputs = made(Away())
        urgent = []
        inputs.on_node_change = lambda: urgent.append(asyncio.get_running_loop().time())
        for up in (True, False):
            status = IpNodeStatus(links=(NodeLink(name="eth0", up=up),))
            inputs.ip_nodes.store.replace(
                [IpNode(metadata=FullObjectMeta(name="n1"), status=status)]
            )
            for look in inputs.ip_nodes._handlers:
                look("n1")
        urgent.clear()
        down_at = asyncio.get_running_loop().time()
        await asyncio.sleep(SETTLE_S + 0.1)
        assert [round(at - down_at, 1) for at in urgent] == [SETTLE_S]

    run_virtually(main())
