"""What the guard knows of the cluster, kept up to date at the cost of what matters."""

import asyncio
from contextlib import asynccontextmanager
from ipaddress import ip_address, ip_network
from random import Random
from typing import cast

import pytest
from structlog.testing import capture_logs

from extip.api.core_v1 import (
    EndpointAddress,
    Endpoints,
    EndpointSubset,
    Service,
    ServiceSpec,
)
from extip.api.discovery_v1 import Endpoint, EndpointSlice
from extip.api.networking_v1 import ServiceCIDR, ServiceCIDRSpec
from extip.api.resources import ENDPOINT_SLICES, ENDPOINTS, SERVICE_CIDRS, SERVICES
from extip.cache.listwatch import Page
from extip.clock import LoopClock
from extip.errors import ApiAccessError, ApiError, ApiUnavailableError, NotFoundError
from extip.guard.addresses_in_use import ClusterIps
from extip.guard.control_plane import INTERVAL_S, ControlPlane
from extip.kube.client import ApiClient
from extip.net.interfaces import IPAddress
from extip.net.networks import Networks
from tests.fakes.tasks import beside
from tests.fakes.virtual_time import run_virtually

SUBSET = EndpointSubset(
    addresses=(EndpointAddress(ip="10.9.0.1"), EndpointAddress(ip="x")),
    not_ready_addresses=(EndpointAddress(ip="10.9.0.2"),),
)
OLD = NotFoundError("no such kind", status=404)


class Api:
    """An API server that has what `has` says, or answers by an error."""

    def __init__(self):
        self.resolves_to = ("192.0.2.1",)
        self.asked = 0
        self.has: dict[object, object] = {
            ENDPOINTS: Endpoints(subsets=(SUBSET,)),
            ENDPOINT_SLICES: EndpointSlice(endpoints=(Endpoint(addresses=("10.9.0.3",)),)),
            SERVICES: Service(spec=ServiceSpec(cluster_ips=("10.96.0.1", "fd00:96::1"))),
            SERVICE_CIDRS: (ServiceCIDR(spec=ServiceCIDRSpec(cidrs=("10.96.0.0/16",))),),
        }

    async def addresses(self):
        return self.resolves_to

    async def get(self, resource, *, name, namespace):
        assert (name, namespace) == ("kubernetes", "default")
        return await self._answer(resource)

    async def list(self, resource):
        return Page(items=await self._answer(resource), resource_version="1")

    async def _answer(self, resource):
        self.asked += 1
        await asyncio.sleep(0.01)
        found = self.has[resource]
        if isinstance(found, ApiError):
            raise found
        return found


class Rig:
    def __init__(self):
        self.api = Api()
        self.changes = 0
        self.plane = ControlPlane(
            cast("ApiClient", self.api),
            on_change=self._count,
            clock=LoopClock(),
            rng=Random(1),  # noqa: S311 - repeatable
        )

    def _count(self):
        self.changes += 1

    @asynccontextmanager
    async def running(self):
        async with beside(self.plane.run()):
            yield self.plane


@pytest.fixture
def rig():
    return Rig()


def ips(*texts):
    return frozenset(map(ip_address, texts))


def test_it_knows_where_api_servers_are_and_which_networks_are_theirs(rig):
    async def main():
        async with rig.running() as plane:
            await plane.wait_synced()
            assert plane.facts.dialled == ips("192.0.2.1")
            assert plane.facts.endpoints == ips("10.9.0.1", "10.9.0.2")
            assert plane.facts.cluster_ips == ips("10.96.0.1", "fd00:96::1")
            assert plane.facts.services == Networks(frozenset({ip_network("10.96.0.0/16")}))
            assert rig.changes == 1
            await asyncio.sleep(10 * INTERVAL_S)
            assert rig.changes == 1
            assert rig.api.asked <= 4 * 12
            rig.api.has[ENDPOINTS] = Endpoints()
            await asyncio.sleep(2 * INTERVAL_S)
            assert plane.facts.endpoints == frozenset()
            assert rig.changes == 2

    run_virtually(main())


def test_a_server_without_endpoints_has_slices_and_an_old_one_has_no_service_cidrs(rig):
    rig.api.has |= {ENDPOINTS: OLD, SERVICE_CIDRS: OLD}

    async def main():
        async with rig.running() as plane:
            await plane.wait_synced()
            assert plane.facts.endpoints == ips("10.9.0.3")
            assert not plane.facts.services

    with capture_logs() as logs:
        run_virtually(main())
    assert logs == []


def test_what_may_not_be_read_is_said_once_and_holds_nothing_up(rig):
    rig.api.has[ENDPOINTS] = ApiAccessError("forbidden", request="get endpoints", status=403)

    async def main():
        async with rig.running() as plane:
            await plane.wait_synced()
            await asyncio.sleep(3 * INTERVAL_S)
            assert plane.facts.cluster_ips

    with capture_logs() as logs:
        run_virtually(main())
    assert [(entry["event"], entry["log_level"]) for entry in logs] == [
        ("guard_knows_less", "warning")
    ]


def test_while_the_server_is_away_nothing_is_known_and_later_nothing_is_forgotten(rig):
    known = dict(rig.api.has)
    away = dict.fromkeys(known, ApiUnavailableError("away"))
    rig.api.has = dict(away)

    async def main():
        async with rig.running() as plane:
            await asyncio.sleep(60)
            assert not plane.has_synced
            assert 4 * 3 <= rig.api.asked <= 4 * 20
            rig.api.has = dict(known)
            await asyncio.sleep(31)
            assert plane.has_synced
            facts = plane.facts
            rig.api.has = dict(away)
            await asyncio.sleep(3 * INTERVAL_S)
            assert plane.facts == facts
            assert rig.changes == 2  # when it was first reached, and when all was read

    run_virtually(main())


def test_a_name_that_does_not_resolve_is_no_reason_to_wait_and_none_to_forget(rig):
    rig.api.resolves_to = ()

    async def main():
        async with rig.running() as plane:
            await plane.wait_synced()
            assert plane.facts.dialled == frozenset()
            rig.api.resolves_to = ("192.0.2.1",)
            await asyncio.sleep(2 * INTERVAL_S)
            assert plane.facts.dialled == ips("192.0.2.1")
            rig.api.resolves_to = ()
            await asyncio.sleep(2 * INTERVAL_S)
            assert plane.facts.dialled == ips("192.0.2.1")

    run_virtually(main())


class Services:
    def __init__(self):
        self.known: dict[str, Service] = {}
        self.changes = 0
        self.asked: set[IPAddress] = set()
        self.index = ClusterIps(self.known.get, asked=self.asked, on_change=self._count)

    def _count(self):
        self.changes += 1

    def ask(self, *texts):
        self.asked |= ips(*texts)
        self.index.look_at(ips(*texts))

    def put(self, key, *texts):
        self.known[key] = Service(spec=ServiceSpec(cluster_ips=texts))
        self.index.update(key)

    def drop(self, key):
        del self.known[key]
        self.index.update(key)


def test_only_cluster_ips_that_somebody_wants_are_news():
    services = Services()
    services.put("ns/far", "10.96.0.1", "10.96.255.1", "fd00::", "fd00::ff")
    services.drop("ns/far")
    services.changes = 0
    services.put("ns/a", "10.96.0.5")
    wanted = "10.96.0.5", "10.96.0.6"
    services.ask(*wanted)
    assert services.index.taken == ips("10.96.0.5")
    services.put("ns/b", "10.96.0.7", "None", "nonsense")
    assert services.changes == 0
    services.put("ns/c", "10.96.0.6", "fd00:0::1")
    assert services.changes == 1
    assert services.index.taken == ips(*wanted)
    services.put("ns/d", "10.96.0.6")  # as nobody should
    services.drop("ns/c")
    assert services.index.taken == ips(*wanted)
    services.drop("ns/d")
    assert services.index.taken == ips("10.96.0.5")
    services.drop("ns/a")
    services.drop("ns/b")
    assert services.index.taken == frozenset()


def test_how_far_cluster_ips_reach_is_news_and_stays_known():
    services = Services()
    for number, ip in enumerate(("10.96.0.1", "10.96.0.9", "10.96.0.5", "10.96.0.3"), start=1):
        services.put(f"ns/{number}", ip)
    assert services.changes == 2
    services.drop("ns/2")
    first, last = ip_address("10.96.0.1"), ip_address("10.96.0.9")
    assert services.index.spans == {4: (int(first), int(last))}


def test_the_answer_is_the_same_object_until_something_changes():
    services = Services()
    services.ask("10.96.0.5", "10.96.0.6")
    services.put("ns/a", "10.96.0.5")
    first = services.index.taken
    services.ask("10.96.0.5", "10.96.0.7")
    assert services.index.taken is first


def test_an_ip_that_nobody_asks_for_any_more_is_not_taken():
    services = Services()
    services.put("ns/a", "10.96.0.5")
    services.ask("10.96.0.5")
    services.asked.clear()
    services.index.look_at(ips("10.96.0.5"))
    assert services.index.taken == frozenset()
