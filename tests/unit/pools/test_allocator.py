"""Writes follow what was planned: once, with patience, and with what is new first."""

import asyncio
import itertools
from collections.abc import Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial, wraps
from ipaddress import ip_address, ip_interface
from random import Random
from typing import cast

import msgspec
from prometheus_client import generate_latest

from extip.api.core_v1 import DetailedService
from extip.api.ipcontroller_v1 import IpClaimStatus, ServiceReference
from extip.api.pool_parts import SetAsideAddress
from extip.cache.derived import Followed
from extip.claims.policy.claims import Create, new_claim
from extip.clock import LoopClock
from extip.errors import ApiError, ApiUnavailableError, ConflictError
from extip.metrics import Metrics
from extip.net.interfaces import IPAddress
from extip.pools.allocator import AllocationInputs, Allocator
from extip.pools.policy.address_request import AddressRequest, address_request
from extip.pools.policy.pools import compile_pools
from extip.pools.policy.service_update import AllocationWrite, service_update_patch
from extip.pools.publisher import AllocationEvents, AllocationWriter
from extip.services.policy.requests import Owner, Ports, Requests, service_owner
from extip.writes.lanes import Lane, LaneContext, ServerContact
from tests.fakes.virtual_time import run_virtually
from tests.unit.pools.allocation_world import merged, on_the_wire, pool, service_json


class Server:
    """Services and pools at an API server whose watch shows a write only when told to."""

    def __init__(self):
        self.services = {}
        self.pools = {"p": pool("p", "10.0.0.0/29")}
        self.claims = []
        self.shown: set[str] = set()
        """Claims that the allocator knows, by name."""
        self.error: ApiError | None = None
        self.calls = []
        self.told: list[tuple[str, str, object]] = []
        self.unseen = {}
        self.no_namespaces: Mapping[str, Mapping[str, str]] = {}
        self.no_requests = Requests()
        self.no_ips: frozenset[IPAddress] = frozenset()
        self.compiled = compile_pools(self.pools.values())
        self.decoded: dict[str, DetailedService] = {}
        self.requests: Followed[DetailedService, AddressRequest] = Followed(
            get=self.decoded.get,
            extract=partial(address_request, lb_class=""),
            on_change=lambda: None,
        )
        self.misread: dict[Owner, str] = {}
        self.up: set[str] = set()
        self.metrics = Metrics("test")
        self.allocator = Allocator(
            inputs=self.inputs,
            requests=self.requests,
            writer=cast("AllocationWriter", self),
            events=cast("AllocationEvents", self),
            clock=LoopClock(),
            rng=Random(1),  # noqa: S311 - repeatable
            metrics=self.metrics,
        )
        self.again: list[float] = []
        self.lane: Lane[AllocationWrite] = Lane(
            "publication",
            self.allocator.write,
            LaneContext(
                contact=ServerContact(lambda: None, LoopClock()),
                again=self.again.append,
                clock=LoopClock(),
                rng=Random(1),  # noqa: S311 - repeatable
            ),
            places=16,
            longest_s=60,
            made=lambda: None,
            failed=self.allocator.failed,
        )
        self.backoff = self.lane.backoff

    def add(self, name):
        self.services[name] = service_json(name, type="LoadBalancer")
        self.show()

    def delete(self, name):
        del self.services[name]
        self.show()

    def show(self):
        """Let the watches deliver what was written."""
        self.services.update(self.unseen)
        self.unseen.clear()
        gone = set(self.decoded)
        self.decoded.clear()
        for service in self.services.values():
            one = msgspec.json.decode(msgspec.json.encode(service), type=DetailedService)
            self.decoded[one.metadata.key] = one
        for key in gone | set(self.decoded):
            self.requests.update(key)

    def set_pool(self, new):
        self.pools[new.metadata.name] = new
        self.compiled = compile_pools(self.pools.values())

    def inputs(self):
        return AllocationInputs(
            pools=self.compiled,
            known_pools=self.pools,
            namespaces=self.no_namespaces,
            ports=self._ports,
            misunderstood=self.misread,
        )

    def plan(self):
        claims = {claim.metadata.name: claim for claim in self.claims}
        self.allocator.take_claims(dict.fromkeys(self.shown - claims.keys()) | claims)
        self.shown = {*claims}
        return self.allocator.plan(self.no_ips)

    def claim(self):
        """Make the claims that are wanted, as the scheduler does before anything is published."""
        allocation = self.plan()
        wanted = allocation.extend(self.no_requests).wanted
        self.claims = [
            new_claim(
                Create(
                    interface=interface,
                    services=tuple(_reference(owner) for owner in owners),
                    pool=allocation.pools()[interface],
                )
            )
            for interface, owners in wanted.items()
        ]
        self.claims = [self._reported(claim) for claim in self.claims]

    def report(self):
        """Have the claims up that are there."""
        self.up |= {claim.metadata.name for claim in self.claims}
        self.claims = [self._reported(claim) for claim in self.claims]

    def _reported(self, claim):
        holder = "n1" if claim.metadata.name in self.up else ""
        return msgspec.structs.replace(claim, status=IpClaimStatus(holder=holder))

    def ingress(self, name):
        return self.services[name]["status"]["loadBalancer"]["ingress"]

    async def go(self):
        """Claim, then write; returns when there is more to do."""
        self.claim()
        return await self.write()

    async def write(self):
        """Write what is due; returns the seconds after which there is more, or None."""
        self.again.clear()
        due, again_s = self.allocator.due(self.plan())
        self.lane.offer(due)
        task = asyncio.ensure_future(self.lane.run())
        while any(self.lane.has(name) for name in due):  # noqa: ASYNC110 - it tells nobody
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])
        return min((s for s in (again_s, *self.again) if s is not None), default=None)

    async def publish(self, update):
        self.calls.append(str(update.owner))
        if self.error is not None:
            raise self.error
        name = update.owner.name
        new = merged(self.services[name], on_the_wire(service_update_patch(update)))
        version = str(int(new["metadata"]["resourceVersion"]) + 1)
        self.unseen[name] = merged(new, {"metadata": {"resourceVersion": version}})

    async def patch_pool_status(self, shown, patch):
        self.calls.append(shown.metadata.name)
        if self.error is not None:
            raise self.error
        status = merged(msgspec.to_builtins(shown.status), on_the_wire(patch)["status"])
        version = str(int(shown.metadata.resource_version) + 1)
        self.pools[shown.metadata.name] = msgspec.structs.replace(
            shown,
            metadata=msgspec.structs.replace(shown.metadata, resource_version=version),
            status=msgspec.convert(status, type(shown.status)),
        )

    def allocated(self, owner: Owner, addresses: Mapping[IPAddress, str]) -> None:
        self.told.append(("allocated", owner.name, {str(ip): p for ip, p in addresses.items()}))

    def waiting(self, owner: Owner, why: str) -> None:
        self.told.append(("waiting", owner.name, why))

    def misunderstood(self, owner: Owner, what: str) -> None:
        self.told.append(("misunderstood", owner.name, what))

    async def rival(self, update):
        return "other-controller"

    def contested(self, owner, field, rival):
        self.told.append(("contested", owner.name, f"{field} {rival}"))

    def metric(self, line):
        return line in generate_latest(self.metrics.registry).decode()

    @contextmanager
    def calling(self):
        """Collect the calls made within."""
        self.calls.clear()
        yield self.calls

    @staticmethod
    def _ports(_owner: Owner) -> Ports:
        return frozenset({("TCP", 80)})


def _reference(owner):
    return ServiceReference(namespace=owner.namespace, name=owner.name, uid=owner.uid)


def virtually(test):
    """Run a test with a server in virtual time."""

    @wraps(test)
    def run():
        async def body():
            await test(Server())

        run_virtually(body())

    del run.__wrapped__  # pytest must not look for a fixture
    return run


@virtually
async def test_services_and_pools_are_written_once(server):
    server.add("web")
    assert await server.go() is None
    assert server.calls == ["default/web", "p"]
    assert server.told == [("allocated", "web", {"10.0.0.1": "p"})]
    with server.calling() as calls:
        await server.go()
        assert calls == [], "the watch has not shown the first write yet"
        server.show()
        await asyncio.sleep(1)
        await server.go()
        assert calls == []
    assert server.metric('extip_pool_addresses{pool="p",state="used"} 1.0')
    assert server.metric('extip_pool_addresses{pool="p",state="free"} 5.0')


@virtually
async def test_who_leads_again_knows_what_another_leader_has_set_aside(server):
    """Or it is given again, taken out of the pool's status, and found taken once more."""
    server.add("web")
    await server.go()
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    aside = {"10.0.0.2": SetAsideAddress(message="it was in use by 02:00:00:00:00:01", time=now)}
    known = server.pools["p"]
    server.set_pool(
        msgspec.structs.replace(
            known, status=msgspec.structs.replace(known.status, set_aside=aside)
        )
    )
    await asyncio.sleep(1)
    server.allocator.forget()
    server.show()
    server.add("later")
    await server.go()
    server.show()
    assert server.ingress("later") == [{"ip": "10.0.0.3", "ipMode": "VIP"}]
    assert server.pools["p"].status.set_aside == aside


@virtually
async def test_what_is_not_claimed_is_not_shown(server):
    server.add("web")
    await server.write()
    assert server.calls == ["p"]


@virtually
async def test_a_conflict_is_left_until_the_watch_shows_what_changed(server):
    server.add("web")
    server.error = ConflictError("changed")
    await server.go()
    server.error = None
    with server.calling() as calls:
        await asyncio.sleep(5)
        await server.go()
        assert "default/web" not in calls
        server.services["web"]["metadata"]["resourceVersion"] = "7"
        server.show()
        await server.go()
        assert "default/web" in calls
    assert [kind for kind, *_ in server.told] == ["allocated"]


@virtually
async def test_a_conflict_that_no_other_version_follows_is_not_the_end(server):
    """A webhook may answer with 409."""
    server.add("web")
    server.claim()
    server.error = ConflictError("webhook")
    again_s = await server.write()
    server.error = None
    with server.calling() as calls:
        for _ in range(4):
            await asyncio.sleep(2)
            again_s = await server.write()
            assert "default/web" not in calls
            assert again_s is not None
            assert again_s < 15
        await asyncio.sleep(15)
        await server.write()
        assert calls.count("default/web") == 1


@virtually
async def test_a_status_that_an_older_definition_cuts_is_not_the_last_one(server):
    """It drops a field, so the write changes nothing, and the version stays."""
    plain = server.patch_pool_status

    async def pruning(shown, patch):
        before = server.pools["p"]
        kept = on_the_wire(patch)
        kept["status"].pop("free", None)
        await plain(shown, kept)
        if server.pools["p"].status == before.status:
            server.pools["p"] = before

    server.patch_pool_status = pruning
    for name in ("web", "other"):
        server.add(name)
        for _ in range(4):
            await server.go()
            server.show()
            await asyncio.sleep(2)
        with server.calling() as calls:
            await server.go()
            await asyncio.sleep(2)
            await server.go()
            assert calls == [], "the same status is written once"
    assert set(server.pools["p"].status.allocated.values()) == {"default/web", "default/other"}


@virtually
async def test_failures_are_repeated_with_patience_and_told_once(server):
    server.add("web")
    server.error = ApiUnavailableError("gone")
    begun = asyncio.get_running_loop().time()
    await server.go()
    while asyncio.get_running_loop().time() - begun < 300:
        await asyncio.sleep(0.1)
        await server.go()
    assert server.calls.count("default/web") < 15
    assert [kind for kind, *_ in server.told] == ["waiting"]
    assert "gone" in str(server.told[0][2])
    server.error = None
    await asyncio.sleep(60)
    await server.go()
    assert server.told[-1] == ("allocated", "web", {"10.0.0.1": "p"})


@virtually
async def test_one_service_that_cannot_be_written_does_not_hold_up_another(server):
    server.add("web")
    server.error = ApiUnavailableError("gone")
    await server.go()
    server.error = None
    server.add("other")
    with server.calling() as calls:
        await server.go()
        assert "default/other" in calls
        assert "default/web" not in calls


@virtually
async def test_statuses_are_written_once_a_second_at_most(server):
    due_s = None
    for n in range(6):
        server.add(f"s{n}")
        due_s = await server.go()
        server.show()
    assert server.calls.count("p") == 1
    assert due_s is not None
    assert 0 < due_s <= 1
    await asyncio.sleep(due_s)
    await server.go()
    assert server.calls.count("p") == 2
    assert len(server.pools["p"].status.allocated or ()) == 6


@virtually
async def test_who_waits_is_told_once_for_each_reason(server):
    server.set_pool(pool("p", "10.0.0.1/32"))
    server.add("a")
    server.add("b")
    for _ in range(3):
        await server.go()
        server.show()
    assert server.told == [
        ("waiting", "b", "no IPv4 address is free in pool p"),
        ("allocated", "a", {"10.0.0.1": "p"}),
    ]
    assert server.metric("extip_services_waiting 1.0")
    server.set_pool(pool("p", "10.0.0.0/31"))
    await server.go()
    assert server.told[-1] == ("allocated", "b", {"10.0.0.0": "p"})
    assert server.metric("extip_services_waiting 0.0")


@virtually
async def test_freed_addresses_are_remembered(server):
    for name in ("a", "b"):
        server.add(name)
        await server.go()
        server.show()
        server.delete(name)
        await server.go()
    server.add("c")
    await server.go()
    assert server.told[-1] == ("allocated", "c", {"10.0.0.3": "p"})


@virtually
async def test_nothing_is_planned_again_until_something_matters(server):
    server.add("web")
    await server.go()
    server.show()
    first = server.plan()
    server.claims = [
        msgspec.structs.replace(
            claim, spec=msgspec.structs.replace(claim.spec, node_name="n2"), status=IpClaimStatus()
        )
        for claim in server.claims
    ]
    assert server.plan() is first
    kept, server.claims = server.claims, []
    assert server.plan() is not first
    server.claims = [
        msgspec.structs.replace(c, spec=msgspec.structs.replace(c.spec, services=())) for c in kept
    ]
    assert server.plan() is not first


@virtually
async def test_a_pool_that_went_is_not_counted_any_more(server):
    await server.go()
    assert server.metric('pool="p"')
    server.pools.clear()
    server.compiled = compile_pools([])
    await asyncio.sleep(2)
    server.add("web")
    await server.go()
    assert not server.metric('pool="p"')


@virtually
async def test_an_annotation_that_means_nothing_is_told_once_and_when_it_changes(server):
    server.add("web")
    (web,) = map(service_owner, server.decoded.values())
    server.misread = {web: "one"}
    await server.go()
    server.misread = dict(server.misread)
    await server.go()
    server.misread = {web: "two"}
    await server.go()
    said = [what for kind, _, what in server.told if kind == "misunderstood"]
    assert said == ["one", "two"]


@virtually
async def test_the_old_address_goes_soon_after_the_new_one_is_reported_up(server):
    server.add("web")
    await server.go()
    server.show()
    server.report()
    wish = {"metadata": {"annotations": {"ipcontroller.ext/addresses": "10.0.0.5"}}}
    server.services["web"] = merged(server.services["web"], wish)
    server.show()
    await server.go()
    server.show()
    again_s = await server.go()
    assert again_s is not None
    assert again_s <= 2.0
    assert [way["ip"] for way in server.ingress("web")] == ["10.0.0.5", "10.0.0.1"]
    server.report()
    await server.go()
    server.show()
    assert [way["ip"] for way in server.ingress("web")] == ["10.0.0.5"]


@virtually
async def test_without_pools_and_services_nothing_is_pending(server):
    server.pools.clear()
    server.compiled = compile_pools(())
    interface = ip_interface("10.0.0.1/32")
    server.claims = [new_claim(Create(interface=interface, services=()))]
    server.plan()
    assert not server.allocator.pending


@virtually
async def test_many_services_are_planned_in_parts_and_the_status_of_the_pool_waits(server):
    server.set_pool(pool("p", "10.0.0.0/16"))
    for number in range(100):
        server.add(f"s{number:03}")
    server.claim()
    while server.allocator.pending:
        server.claim()
    assert len(server.claims) == 100
    server.allocator.forget()
    server.shown.clear()
    parts, statuses = 0, []
    while True:
        due = server.allocator.due(server.plan())[0]
        statuses.append("p" in due)
        if not server.allocator.pending:
            break
        parts += 1
    assert parts > 2
    assert not any(statuses[:-1])
    assert statuses[-1]


@virtually
async def test_addresses_that_were_freed_while_another_process_led_are_found_in_steps(server):
    """They are reused last, like those that were freed before its eyes."""
    server.set_pool(pool("p", "10.0.0.0/16"))
    names = [f"s{number:03}" for number in range(700)]
    server.services = {name: service_json(name, type="LoadBalancer") for name in names}
    server.show()
    server.claim()
    while server.allocator.pending:
        server.claim()
    server.claim()
    server.allocator.forget()
    server.shown.clear()
    for name in names[100:]:
        del server.services[name]
    server.claims = server.claims[:100]
    server.show()
    freed, found = server.allocator._freed, [0]
    while True:
        server.plan()
        found.append(len(freed))
        if not server.allocator.pending:
            break
    assert found[-1] == 600
    assert max(after - before for before, after in itertools.pairwise(found)) <= 256
    server.add("new")
    server.claim()
    assert ip_address("10.0.0.101") in freed
    assert [str(one.spec.cidr) for one in server.claims][-1] == "10.0.2.189/16"


def test_a_pool_that_was_edited_after_the_plan_is_not_told_to_be_empty():
    async def main():
        server = Server()
        server.add("web")
        for _ in range(6):
            await server.go()
            server.show()
            await asyncio.sleep(1.1)
        planned = server.plan()
        edited = msgspec.structs.replace(server.pools["p"], spec=pool("p", "10.0.0.0/28").spec)
        server.set_pool(edited)
        await asyncio.sleep(1.1)
        due, _ = server.allocator.due(planned)
        assert due == {}
        await server.go()
        assert server.pools["p"].status.allocated

    run_virtually(main())
