"""How a controller leaves: what it gives up, and when others may be told."""

import asyncio
from typing import cast

import pytest

from extip.addresses.reconciler import AddressReconciler
from extip.claims.status import ClaimStatusWriter
from extip.errors import LinkError
from extip.fencing.cache_freshness import CacheFreshness
from extip.handover.drain_wait import DrainWait
from extip.liveness.heartbeat import Publisher
from extip.nodes.departure import Departure
from tests.fakes.virtual_time import run_virtually, virtually

TIMEOUT_S = 5.0


class Reconciler:
    """Removes what it has as the test says."""

    def __init__(self, outcome: bool | str) -> None:  # noqa: FBT001
        self._outcome = outcome

    async def release(self) -> bool:
        if self._outcome == "error":
            raise LinkError("no buffer space")
        if self._outcome == "hang":
            await asyncio.get_running_loop().create_future()
        return self._outcome is True


class Heartbeat:
    """Notes what was said in the Lease, and that it was given up."""

    given_up = False

    def __init__(self) -> None:
        self.said: list[str] = []

    def leave(self, reason: str) -> None:
        self.said.append(reason)

    async def release(self) -> None:
        self.given_up = True


class Statuses:
    """Has nothing left to write."""

    async def stop(self) -> None:
        pass


class Freshness:
    """Others know this node as alive, or do not."""

    def __init__(self, *, in_contact: bool) -> None:
        self._in_contact = in_contact

    def in_contact(self) -> bool:
        return self._in_contact


class Leaving:
    """A node that holds an IP until others have it, and is told to stop."""

    def __init__(self, *, in_contact: bool = True, keeps_addresses: bool = False) -> None:
        self.needed = True
        self.heartbeat = Heartbeat()
        self.wait = DrainWait(lambda: self.needed)
        self.second: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self.departure = Departure(
            cast("CacheFreshness", Freshness(in_contact=in_contact)),
            self.wait,
            cast("Publisher", self.heartbeat),
            cast("AddressReconciler", Reconciler(outcome=True)),
            cast("ClaimStatusWriter", Statuses()),
            keeps_addresses=keeps_addresses,
            needs_lease=False,
            timeout_s=TIMEOUT_S,
        )

    async def next_signal(self) -> str:
        return await self.second

    def drain(self):
        return self.departure.drain("SIGTERM", self.next_signal)


def now() -> float:
    return asyncio.get_running_loop().time()


@virtually
async def test_who_stops_says_so_at_once_and_waits_until_others_have_its_ips():
    node = Leaving()
    draining = asyncio.ensure_future(node.drain())
    await asyncio.sleep(1)
    assert node.heartbeat.said == ["stopped by SIGTERM"]
    assert not draining.done()
    node.needed = False
    node.wait.trigger()
    await asyncio.wait_for(draining, 0.1)


@virtually
async def test_who_stops_waits_no_longer_than_it_was_told():
    node = Leaving()
    await node.drain()
    assert now() == pytest.approx(TIMEOUT_S)


@virtually
async def test_a_second_signal_ends_the_wait():
    node = Leaving()
    asyncio.get_running_loop().call_later(1, node.second.set_result, "SIGINT")
    await node.drain()
    assert now() == pytest.approx(1)


@pytest.mark.parametrize(
    ("in_contact", "keeps_addresses"), [(False, False), (True, True), (False, True)]
)
def test_who_cannot_tell_others_or_leaves_all_to_a_successor_goes_at_once(
    in_contact, keeps_addresses
):
    @virtually
    async def scenario():
        node = Leaving(in_contact=in_contact, keeps_addresses=keeps_addresses)
        await node.drain()
        assert now() == 0
        assert node.heartbeat.said == []

    scenario()


@pytest.mark.parametrize("outcome", [True, False, "error", "hang"])
@pytest.mark.parametrize("needs_lease", [True, False])
def test_the_lease_of_who_releases_stays_while_addresses_may(outcome, needs_lease):
    heartbeat = Heartbeat()
    departure = Departure(
        cast("CacheFreshness", None),
        DrainWait(lambda: False),
        cast("Publisher", heartbeat),
        cast("AddressReconciler", Reconciler(outcome)),
        cast("ClaimStatusWriter", Statuses()),
        keeps_addresses=False,
        needs_lease=needs_lease,
        timeout_s=5.0,
    )
    run_virtually(departure.release())
    assert heartbeat.given_up == (outcome is True or not needs_lease)
