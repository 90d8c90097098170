"""Statuses follow what became of the claims; only what differs is written, in virtual time."""

import asyncio
from contextlib import asynccontextmanager
from dataclasses import replace
from random import Random
from typing import cast

import msgspec

from extip.api.conditions import find_condition
from extip.api.ipcontroller_v1 import IpClaim, IpClaimSpec, IpClaimStatus
from extip.api.meta_v1 import Condition, FullObjectMeta
from extip.claims.policy.node_claims import Outcome
from extip.claims.status import CONCURRENCY, ClaimStatusWriter
from extip.clock import LoopClock
from extip.errors import ApiUnavailableError, ConflictError, NotFoundError
from extip.kube.client import ApiClient
from tests.fakes.conditions import condition_of
from tests.fakes.tasks import beside
from tests.fakes.virtual_time import run_virtually

CIDR = "10.0.0.1/32"
UP = Outcome(cidr=CIDR, accepted=True, up=True, reason="", message="", link="eth0")
DOWN = Outcome(cidr=CIDR, accepted=True, up=False, reason="AddressMissing", message="why")


class World:
    """Claims at the API server, and what the watch has shown of them."""

    def __init__(self):
        self.claims: dict[str, IpClaim] = {}
        self.cache: dict[str, IpClaim] = {}
        self.patches: list[tuple[float, str]] = []
        self.lag_s = 0.05
        self.latency_s = 0.01
        self.away = False
        self.busy = self.busiest = 0
        self.revision = 0
        self.writer = ClaimStatusWriter(
            self.cache,
            cast("ApiClient", self),
            node="n1",
            clock=LoopClock(),
            rng=Random(1),  # noqa: S311
        )

    def put(self, name, *, node="n1", status=None, deliver=True, labels=None):
        self.revision += 1
        known = self.claims.get(name)
        if status is None:
            status = known.status if known else IpClaimStatus()
        self.claims[name] = IpClaim(
            metadata=FullObjectMeta(
                name=name,
                resource_version=str(self.revision),
                generation=1,
                labels=labels or (known.metadata.labels if known else None),
            ),
            spec=IpClaimSpec(cidr=CIDR, node_name=node),
            status=status,
        )
        if deliver:
            loop = asyncio.get_running_loop()
            loop.call_later(self.lag_s, self.arrive, name, self.claims[name])
        return self.claims[name]

    def arrive(self, name, claim):
        self.cache[name] = claim
        self.writer.on_claim(name)

    async def get(self, _claims, *, name):
        await asyncio.sleep(self.latency_s)
        if name not in self.claims:
            raise NotFoundError("gone", status=404)
        return self.claims[name]

    async def patch(self, _claims, patch, *, name, subresource):
        assert subresource == "status"
        self.busy += 1
        self.busiest = max(self.busiest, self.busy)
        try:
            await asyncio.sleep(self.latency_s)
        finally:
            self.busy -= 1
        if self.away:
            raise ApiUnavailableError("away")
        if name not in self.claims:
            raise NotFoundError("gone", status=404)
        known = self.claims[name]
        if patch["metadata"]["resourceVersion"] != known.metadata.resource_version:
            raise ConflictError("changed", status=409)
        merged = {k: v for k, v in patch["status"].items() if v is not None}
        status = msgspec.convert(msgspec.to_builtins(merged), IpClaimStatus)
        self.patches.append((asyncio.get_running_loop().time(), name))
        return self.put(name, node=known.spec.node_name, status=status)

    def up(self, name):
        found = find_condition(self.claims[name].status.conditions, "Up")
        return None if found is None else found.status

    @asynccontextmanager
    async def running(self):
        async with beside(*(self.writer.run() for _ in range(CONCURRENCY))):
            yield self


def play(scenario):
    async def main():
        async with World().running() as world:
            await scenario(world)

    run_virtually(main())


def test_one_write_for_one_change():
    async def scenario(world):
        world.put("a")
        await asyncio.sleep(1)
        assert world.patches == []
        for _ in range(5):
            world.writer.on_outcomes({"a": UP})
            await asyncio.sleep(1)
        assert world.up("a") == "True"
        assert len(world.patches) == 1

    play(scenario)


def test_a_thousand_at_once_with_bounded_concurrency():
    async def scenario(world):
        names = [f"c{n}" for n in range(1000)]
        for name in names:
            world.put(name)
        await asyncio.sleep(1)
        world.writer.on_outcomes(dict.fromkeys(names, UP))
        await asyncio.sleep(6)
        assert all(world.up(name) == "True" for name in names)
        assert len(world.patches) == 1000
        assert world.busiest == CONCURRENCY

    play(scenario)


async def come_up(world, count, *, every_s, first=UP, labels=None):
    """Claims come up one after another; return the time of the last one."""
    up: dict[str, Outcome] = {}
    for n in range(count):
        world.put(f"c{n}", labels=labels)
        await asyncio.sleep(every_s)
        world.writer.on_outcomes({**up, f"c{n}": first})
        up = {**up, f"c{n}": UP}
        world.writer.on_outcomes(up)
    return asyncio.get_running_loop().time()


MOVED = {"ip-previous-node": "n2"}


def test_reports_wait_while_many_claims_arrive():
    async def scenario(world):
        last = await come_up(world, 100, every_s=0.02, labels=MOVED)
        await asyncio.sleep(2)
        assert all(world.up(f"c{n}") == "True" for n in range(100))
        early = [name for at, name in world.patches if at < last]
        assert len(early) <= 16

    play(scenario)


def test_reports_do_not_wait_for_ever():
    async def scenario(world):
        last = await come_up(world, 500, every_s=0.02, labels=MOVED)
        early = [name for at, name in world.patches if at < last]
        assert 50 < len(early) < 200
        await asyncio.sleep(2)
        assert all(world.up(f"c{n}") == "True" for n in range(500))

    play(scenario)


def test_nothing_is_reported_of_new_ips_while_many_come_up():
    """Their services wait for the API server meanwhile, and nobody for the reports."""

    async def scenario(world):
        last = await come_up(world, 500, every_s=0.05)
        assert len([name for at, name in world.patches if at < last]) <= 16
        await asyncio.sleep(4)
        assert all(world.up(f"c{n}") == "True" for n in range(500))
        assert len(world.patches) == 500

    play(scenario)


def test_a_report_that_a_node_may_wait_for_is_not_behind_those_of_new_ips():
    async def scenario(world):
        names = [f"c{n}" for n in range(1000)]
        for name in names:
            world.put(name)
        world.put("moved", labels=MOVED)
        await asyncio.sleep(1)
        world.writer.on_outcomes(dict.fromkeys(names, UP))
        await asyncio.sleep(1.2)
        moved_at = asyncio.get_running_loop().time()
        world.writer.on_outcomes(dict.fromkeys([*names, "moved"], UP))
        await asyncio.sleep(6)
        (reported_at,) = (at for at, name in world.patches if name == "moved")
        assert reported_at - moved_at < 0.1
        assert len(world.patches) == 1001

    play(scenario)


def test_new_ips_that_come_up_slowly_make_no_other_report_late():
    async def scenario(world):
        for n in range(40):
            world.put(f"c{n}")
        for n in range(500):
            world.put(f"m{n}", labels=MOVED)
        await asyncio.sleep(1)
        up = {}
        for n in range(40):
            up[f"c{n}"] = UP
            world.writer.on_outcomes(dict(up))
            await asyncio.sleep(0.8)
        began = asyncio.get_running_loop().time()
        world.writer.on_outcomes(up | {f"m{n}": UP for n in range(500)})
        await asyncio.sleep(3)
        moved = [at for at, name in world.patches if name.startswith("m")]
        assert len(moved) == 500
        assert max(moved) - began < 2

    play(scenario)


def test_a_new_ip_that_was_missing_for_a_moment_is_one_of_many_all_the_same():
    async def scenario(world):
        last = await come_up(world, 100, every_s=0.1, first=DOWN)
        assert len([name for at, name in world.patches if at < last]) <= 16
        await asyncio.sleep(2)
        assert all(world.up(f"c{n}") == "True" for n in range(100))

    play(scenario)


def test_reports_of_new_ips_do_not_wait_for_ever_either():
    async def scenario(world):
        await come_up(world, 900, every_s=0.1)
        assert len([at for at, _ in world.patches if at < 60]) <= 16
        assert len(world.patches) > 200

    play(scenario)


def test_an_ip_that_another_node_had_is_reported_though_many_new_ones_come_up():
    """A node that is drained keeps it until then."""

    async def scenario(world):
        world.put("moved", labels=MOVED)
        world.put("held", status=IpClaimStatus(holder="n2"))
        up: dict[str, Outcome] = {}
        for n in range(200):
            world.put(f"c{n}")
            await asyncio.sleep(0.05)
            up = {**up, f"c{n}": UP}
            if n == 100:
                up |= {"moved": UP, "held": UP}
            world.writer.on_outcomes(up)
            if n == 120:
                assert world.up("moved") == world.up("held") == "True"
                assert world.up("c100") is None

    play(scenario)


def test_a_new_ip_that_is_refused_or_lost_is_reported_though_many_come_up():
    async def scenario(world):
        up: dict[str, Outcome] = {}
        for n in range(200):
            world.put(f"c{n}")
            await asyncio.sleep(0.05)
            up = {**up, f"c{n}": DOWN if n == 100 else UP}
            if n == 100:
                up["c99"] = DOWN
            world.writer.on_outcomes(up)
            if n == 120:
                assert world.up("c100") == world.up("c99") == "False"

    play(scenario)


def test_a_conflict_is_decided_anew_and_keeps_what_the_other_wrote():
    async def scenario(world):
        world.put("a")
        await asyncio.sleep(1)
        theirs = Condition(type="Assigned", status="True", reason="Assigned")
        world.put("a", status=IpClaimStatus(conditions=(theirs,)), deliver=False)
        world.writer.on_outcomes({"a": UP})
        await asyncio.sleep(0.2)
        assert world.up("a") == "True"
        assert condition_of(world.claims["a"].status.conditions, "Assigned") == theirs

    play(scenario)


def test_a_claim_that_has_another_node_by_now_is_not_told_about():
    async def scenario(world):
        world.put("a")
        await asyncio.sleep(1)
        world.put("a", node="n2", deliver=False)
        world.writer.on_outcomes({"a": UP})
        await asyncio.sleep(5)
        assert world.patches == []

    play(scenario)


def test_what_somebody_else_overwrites_is_told_again():
    async def scenario(world):
        world.put("a")
        await asyncio.sleep(1)
        world.writer.on_outcomes({"a": UP})
        await asyncio.sleep(1)
        world.put("a", status=IpClaimStatus(holder="nobody"))
        await asyncio.sleep(1)
        assert world.up("a") == "True"
        assert world.claims["a"].status.holder == "n1"

    play(scenario)


def test_who_overwrites_each_report_is_answered_ever_more_rarely():
    async def scenario(world):
        world.put("a")
        await asyncio.sleep(1)
        world.writer.on_outcomes({"a": UP})
        for _ in range(600):
            await asyncio.sleep(0.1)
            if world.up("a"):
                world.put("a", status=IpClaimStatus(holder="nobody"))
        times = [at_s for at_s, _ in world.patches]
        assert 4 <= len(times) <= 14
        assert times[1] - times[0] < 1, "a slip is put right at once"
        world.writer.on_outcomes({"a": DOWN})
        await asyncio.sleep(1)
        assert world.up("a") == "False", "another report does not wait"
        world.put("a", status=IpClaimStatus(holder="nobody"))
        await asyncio.sleep(20)
        assert world.up("a") == "False"

    play(scenario)


def test_an_address_that_is_gone_for_a_moment_is_not_told():
    async def scenario(world):
        world.put("a")
        await asyncio.sleep(1)
        world.writer.on_outcomes({"a": UP})
        await asyncio.sleep(1)
        world.writer.on_outcomes({"a": DOWN})
        await asyncio.sleep(0.1)
        world.writer.on_outcomes({"a": UP})
        await asyncio.sleep(1)
        assert len(world.patches) == 1
        world.writer.on_outcomes({"a": DOWN})
        await asyncio.sleep(1)
        assert world.up("a") == "False"

    play(scenario)


def test_the_server_comes_back():
    async def scenario(world):
        world.put("a")
        await asyncio.sleep(1)
        world.away = True
        world.writer.on_outcomes({"a": UP})
        await asyncio.sleep(60)
        world.away = False
        await asyncio.sleep(20)
        assert world.up("a") == "True"

    play(scenario)


def test_a_deleted_claim_is_let_go():
    async def scenario(world):
        world.put("a")
        await asyncio.sleep(1)
        del world.claims["a"]
        world.writer.on_outcomes({"a": UP})
        await asyncio.sleep(5)
        assert world.patches == []

    play(scenario)


def test_another_cidr_waits_for_the_next_pass():
    async def scenario(world):
        world.put("a")
        await asyncio.sleep(1)
        world.writer.on_outcomes({"a": replace(UP, cidr="10.0.0.9/32")})
        await asyncio.sleep(1)
        assert world.patches == []

    play(scenario)


def test_the_last_word_is_that_it_stopped():
    async def main():
        world = World()
        async with world.running():
            for name in "ab":
                world.put(name)
            await asyncio.sleep(1)
            world.writer.on_outcomes({"a": UP, "b": UP})
            await asyncio.sleep(1)
            world.put("b", node="n2")
            await asyncio.sleep(1)
        await world.writer.stop()
        found = condition_of(world.claims["a"].status.conditions, "Up")
        assert (found.status, found.reason) == ("False", "ControllerStopped")
        assert world.claims["a"].status.holder == ""
        assert world.up("b") == "True"

    run_virtually(main())


def test_the_end_is_bounded_when_the_server_hangs():
    async def main():
        world = World()
        async with world.running():
            world.put("a")
            await asyncio.sleep(1)
            world.writer.on_outcomes({"a": UP})
            await asyncio.sleep(1)
        world.latency_s = 1e6
        started = asyncio.get_running_loop().time()
        await world.writer.stop()
        assert asyncio.get_running_loop().time() - started < 1

    run_virtually(main())
