"""Another program that keeps writing what is ours: ever slower, one Event that names it."""

import asyncio
from itertools import pairwise
from random import Random
from typing import cast

import msgspec
import pytest

from extip.api.core_v1 import LoadBalancerIngress, OwnedService
from extip.clock import LoopClock
from extip.errors import ApiUnavailableError
from extip.pools.contention import Contention
from extip.pools.policy.service_update import SetExternalIPs, SetIngress
from extip.pools.publisher import AllocationEvents, AllocationWriter
from extip.services.policy.requests import Owner
from extip.writes.policy.field_owners import rival_of
from tests.fakes.virtual_time import run_virtually

WEB, DB = (Owner(kind="Service", namespace="shop", name=name, uid=name) for name in ("web", "db"))


def ingress(owner=WEB, ip="10.0.0.1", version="1"):
    return SetIngress(owner=owner, version=version, ingress=(LoadBalancerIngress(ip=ip),))


def external(version="1"):
    return SetExternalIPs(owner=WEB, version=version, external_ips=("10.0.0.1",), allocated=())


class Bench:
    def __init__(self, error=None):
        self.error = error
        self.asked = 0
        self.told = []
        self.contention = Contention(
            cast("AllocationWriter", self),
            cast("AllocationEvents", self),
            clock=LoopClock(),
            rng=Random(1),  # noqa: S311
        )

    async def rival(self, _publication):
        self.asked += 1
        if self.error:
            raise self.error
        return "other"

    def contested(self, owner, field, rival):
        self.told.append((owner.name, field, rival))

    async def write(self, one):
        await self.contention.report(one)
        self.contention.wrote(one)

    async def fight(self, make, seconds):
        """Have each write undone at once for so long; return when it was written."""
        loop = asyncio.get_running_loop()
        written = []
        version = 0
        while loop.time() < seconds:
            version += 1
            due, later_s = self.contention.due([make(version=str(version))])
            if due:
                await self.write(due[0])
                written.append(loop.time())
                await asyncio.sleep(0.01)
            else:
                await asyncio.sleep(later_s or 0)
        return written


@pytest.mark.parametrize("make", [ingress, external])
def test_what_another_writer_undoes_is_written_ever_more_rarely(make):
    async def main():
        bench = Bench()
        written = await bench.fight(make, 3600)
        within = [at for at in written if at < 30]
        assert 4 <= len(within) <= 8  # 445 without patience
        gaps = [b - a for a, b in pairwise(written)]
        assert gaps[0] < 0.1  # a slip is put right at once
        assert max(gaps) <= 300
        assert all(later > earlier for earlier, later in pairwise(gaps[:6]))
        field = "status.loadBalancer" if make is ingress else "spec.externalIPs"
        assert bench.told == [("web", field, "other")]
        assert bench.asked == 1

    run_virtually(main())


def test_each_service_and_each_new_address_has_its_own_pace():
    async def main():
        bench = Bench()
        ours = ingress(version="99")
        for _ in range(2):
            await bench.write(ours)
        assert bench.contention.due([ours, ingress(DB), ingress(ip="10.0.0.2"), external()])[0] == (
            ingress(DB),
            ingress(ip="10.0.0.2"),
            external(),
        )

    run_virtually(main())


def test_a_slip_now_and_then_is_put_right_at_once_and_told_to_nobody():
    async def main():
        bench = Bench()
        for version in range(6):
            one = ingress(version=str(version))
            assert bench.contention.due([one]) == ((one,), None)
            await bench.write(one)
            await asyncio.sleep(700)
        assert bench.told == []

    run_virtually(main())


def test_who_cannot_be_read_is_another_program():
    async def main():
        bench = Bench(ApiUnavailableError("away"))
        await bench.fight(ingress, 5)
        assert bench.told == [("web", "status.loadBalancer", "")]

    run_virtually(main())


def test_the_rival_is_who_owns_the_field_and_wrote_last():
    def entry(manager, time, fields):
        return {"manager": manager, "time": f"2026-01-01T00:00:0{time}Z", "fieldsV1": fields}

    status: dict[str, object] = {"f:status": {"f:loadBalancer": {"f:ingress": {}}}}
    service = {
        "metadata": {
            "managedFields": [
                entry("extip", 9, status),
                entry("first", 1, status),
                entry("second", 2, status),
                entry("kubectl", 8, {"f:spec": {"f:externalIPs": {}}}),
                {"manager": "odd"},
            ]
        }
    }
    metadata = msgspec.json.decode(msgspec.json.encode(service), type=OwnedService).metadata
    assert rival_of(metadata, "status.loadBalancer") == "second"
    assert rival_of(metadata, "spec.externalIPs") == "kubectl"
    assert rival_of(OwnedService().metadata, "spec.externalIPs") == ""
