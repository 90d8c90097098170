"""A node's claims as the API server has them now: what is missing is gone only if it is certain."""

import asyncio
from contextlib import asynccontextmanager
from random import Random

import pytest

from extip.api.ipcontroller_v1 import IpClaim, IpClaimSpec
from extip.api.meta_v1 import FullObjectMeta
from extip.cache.listwatch import MOST_RECENT, Page, Unreadable
from extip.cache.vanished import Vanished
from extip.clock import LoopClock
from extip.errors import ApiAccessError, ApiError, ApiUnavailableError, NotFoundError
from extip.fencing.cache_freshness import CacheFreshness
from extip.fencing.claim_reader import ClaimReader
from extip.kube.client import Scope
from tests.fakes.tasks import beside
from tests.fakes.virtual_time import virtually

NODE = "n1"
MANY = 65
"""More claims than are read one by one."""
LIMIT_S = 1.0
"""The shortest time that a reading is of use, in seconds."""


def claim(name, node=NODE, *, version=10):
    return IpClaim(
        metadata=FullObjectMeta(name=name, resource_version=str(version)),
        spec=IpClaimSpec(cidr="10.0.0.1/32", node_name=node),
    )


class Server:
    """Has claims and their definition, and a cache on the way that may be old."""

    def __init__(self):
        self.claims: dict[str, IpClaim] = {}
        self.old: dict[str, IpClaim] = {}
        """What a list from a cache shows."""
        self.unreadable: tuple[str, ...] = ()
        self.version = "100"
        self.kind = "first"
        """Which definition stands; empty for none."""
        self.error: ApiError | None = None
        self.hangs = False
        self.get_s = self.uid_s = 0.0
        self.lists = 0

    async def uid(self):
        await asyncio.sleep(self.uid_s)
        return self.kind

    async def wait_back(self):
        return await asyncio.get_running_loop().create_future()

    async def get(self, _resource, *, name):
        if self.hangs:
            await asyncio.sleep(1e6)
        await asyncio.sleep(self.get_s)
        if self.error is not None:
            raise self.error
        if name not in self.claims:
            raise NotFoundError("gone", status=404)
        return self.claims[name]

    async def list(self, _resource, scope, *, resource_version):
        self.lists += 1
        assert scope == Scope(label_selector=f"ipnode={NODE}")
        known = self.claims if resource_version == MOST_RECENT else self.old
        return Page(
            items=tuple(known.values()),
            resource_version=self.version,
            unreadable=tuple(
                Unreadable(key=name, resource_version="", reason="odd") for name in self.unreadable
            ),
        )


class World:
    """A reader beside a cache of claims."""

    def __init__(self):
        self.server = Server()
        self.vanished: Vanished[IpClaim] = Vanished(self.server, keep=True)
        self.lost: list[tuple[str, int]] = []
        self.nodes = 0
        self.reader = ClaimReader(
            self.server,  # type: ignore[arg-type] # the two calls that it makes
            self.vanished,
            node=NODE,
            scope=Scope(label_selector=f"ipnode={NODE}"),
            is_ours=lambda claim: claim.spec.node_name == NODE,
            limit_s=LIMIT_S,
            nodes=lambda: self.nodes,
            on_lost=lambda name, version: self.lost.append((name, version)),
        )

    def have(self, *names):
        """Have claims on the server and in the cache."""
        for name in names:
            self.server.claims[name] = self.server.old[name] = claim(name)
            self.vanished.store.put(claim(name))

    @asynccontextmanager
    async def running(self):
        async with beside(self.vanished.run()):
            await asyncio.sleep(0.01)
            yield self


def names(count):
    return [f"c{number}" for number in range(count)]


@virtually
async def test_a_claim_that_still_names_this_node_is_ours():
    async with World().running() as world:
        world.have("a")
        assert await world.reader.is_still_ours("a")
        assert world.lost == []


@virtually
async def test_a_claim_of_another_node_is_not_ours_from_that_version_on():
    async with World().running() as world:
        world.have("a")
        world.server.claims["a"] = claim("a", "n2", version=20)
        assert not await world.reader.is_still_ours("a")
        assert world.lost == [("a", 20)]


@virtually
async def test_a_deleted_claim_is_not_ours_in_the_version_that_is_known():
    async with World().running() as world:
        world.have("a")
        del world.server.claims["a"]
        assert not await world.reader.is_still_ours("a")
        assert world.lost == [("a", 10)]


@virtually
async def test_a_claim_that_is_made_anew_while_it_is_asked_for_is_not_lost():
    """The watch has the new one before it is known that the kind of the missing one stands."""
    async with World().running() as world:
        world.have("a")
        del world.server.claims["a"]
        world.server.uid_s = 0.1
        new = claim("a", version=20)
        asyncio.get_running_loop().call_later(0.05, world.vanished.store.put, new)
        assert not await world.reader.is_still_ours("a")
        assert world.lost == [("a", 10)]


@virtually
async def test_a_claim_that_is_missing_with_its_definition_is_not_lost():
    async with World().running() as world:
        world.have("a")
        world.server.claims.clear()
        world.server.kind = ""
        with pytest.raises(ApiUnavailableError, match="definition"):
            await world.reader.is_still_ours("a")
        assert world.lost == []


@virtually
async def test_a_claim_whose_kind_has_ended_is_ours_until_more_is_known():
    async with World().running() as world:
        world.have("a")
        world.server.kind = ""
        world.vanished.gone("a")
        await asyncio.sleep(0.01)
        assert set(world.vanished.orphans) == {"a"}
        world.server.claims.clear()
        assert await world.reader.is_still_ours("a")


@virtually
async def test_no_answer_is_no_answer_and_soon_so():
    async with World().running() as world:
        world.have("a")
        world.server.hangs = True
        began = asyncio.get_running_loop().time()
        with pytest.raises(ApiUnavailableError):
            await world.reader.is_still_ours("a")
        assert asyncio.get_running_loop().time() - began <= 1.01
        assert world.lost == []


@virtually
async def test_a_few_claims_are_read_one_by_one_and_what_is_lost_is_said():
    async with World().running() as world:
        world.have("a", "b", "c")
        world.server.claims["b"] = claim("b", "n2", version=20)
        reading = await world.reader.read()
        assert reading.names == {"a", "b", "c"}
        assert reading.version == 0, "each claim has told its own version"
        assert world.lost == [("b", 20)]
        assert world.server.lists == 0


@virtually
async def test_a_server_that_is_away_is_not_asked_for_a_list_as_well():
    async with World().running() as world:
        world.have("a")
        world.server.error = ApiUnavailableError("away")
        with pytest.raises(ApiUnavailableError):
            await world.reader.read()
        assert world.server.lists == 0


@virtually
async def test_who_may_not_read_one_claim_may_read_the_list():
    async with World().running() as world:
        world.have("a")
        world.server.error = ApiAccessError("may not get")
        reading = await world.reader.read()
        assert (reading.names, reading.version) == ({"a"}, 100)


@virtually
async def test_many_claims_are_read_by_one_list_that_is_up_to_date():
    async with World().running() as world:
        world.have(*names(MANY))
        world.server.claims["c0"] = claim("c0", "n2", version=20)
        del world.server.claims["c1"]
        reading = await world.reader.read()
        assert reading.names == set(names(MANY)) - {"c0", "c1"}
        assert reading.version == 100
        assert world.server.lists == 1


@pytest.mark.parametrize(("count", "lists"), [(264, 0), (265, 1)])
def test_in_a_large_cluster_more_are_read_one_by_one(count, lists):
    """A list costs the API server as much as all of its claims."""

    @virtually
    async def scenario():
        async with World().running() as world:
            world.nodes = 100
            world.have(*names(count))
            world.server.claims["c0"] = claim("c0", "n2", version=20)
            await world.reader.read()
            assert world.server.lists == lists
            assert world.lost == ([] if lists else [("c0", 20)])

    scenario()


@virtually
async def test_where_one_by_one_takes_too_long_a_list_is_read_in_time():
    async with World().running() as world:
        world.nodes = 1000
        world.have(*names(512))
        world.server.get_s = 0.1
        world.server.claims["c511"] = claim("c511", "n2", version=20)
        began = asyncio.get_running_loop().time()
        reading = await world.reader.read()
        assert asyncio.get_running_loop().time() - began <= LIMIT_S / 2
        assert (reading.names, reading.version) == (set(names(511)), 100)
        assert world.server.lists == 1


@virtually
async def test_slow_answers_do_not_keep_many_claims_from_being_acted_on():
    async with World().running() as world:
        world.nodes = 1000
        world.have(*names(512))
        world.server.get_s = 0.1
        clock = LoopClock()
        freshness = CacheFreshness(
            world.vanished.store,
            read=world.reader.read,
            limit_s=LIMIT_S,
            most_s=LIMIT_S,
            on_change=lambda: None,
            clock=clock,
            rng=Random(1),  # noqa: S311
        )

        async def send_heartbeats():
            while True:
                freshness.on_heartbeat(clock.monotonic())
                await clock.sleep(LIMIT_S / 3)

        async with beside(freshness.run()), beside(send_heartbeats()):
            await clock.sleep(LIMIT_S)
            for _ in range(20):
                assert freshness.is_fresh()
                await clock.sleep(LIMIT_S / 2)
        assert freshness.readings == 1


@virtually
async def test_a_claim_of_the_list_that_cannot_be_read_is_still_ours():
    async with World().running() as world:
        world.have(*names(MANY))
        del world.server.claims["c0"]
        world.server.unreadable = ("c0",)
        assert (await world.reader.read()).names == set(names(MANY))


@pytest.mark.parametrize("version", ["100", "odd", ""])
def test_a_list_that_cannot_be_understood_is_no_reading(version):
    @virtually
    async def scenario():
        async with World().running() as world:
            world.have(*names(MANY))
            world.server.version = version
            world.server.unreadable = ("",) if version == "100" else ()
            with pytest.raises(ApiUnavailableError):
                await world.reader.read()

    scenario()


@virtually
async def test_a_list_without_claims_that_went_with_their_definition_is_no_reading():
    async with World().running() as world:
        world.have(*names(MANY))
        world.server.claims.clear()
        world.server.kind = ""
        with pytest.raises(ApiUnavailableError, match="definition"):
            await world.reader.read()


@virtually
async def test_orphans_stay_ours_in_a_list_of_their_kind_that_is_back():
    async with World().running() as world:
        world.have(*names(MANY))
        world.server.kind = ""
        world.vanished.gone("c0")
        await asyncio.sleep(0.01)
        world.server.claims.clear()
        assert (await world.reader.read()).names == set(names(MANY))
