"""Whatever users do and wherever the scheduler dies: no address twice, and all come back."""

from ipaddress import ip_address
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from extip.pools.policy.pools import compile_pools
from extip.pools.policy.service_update import SetIngress
from tests.unit.pools.allocation_world import World, pool

NAMES = list("abcdef")
POOLS = [
    pool("p", "10.0.0.0/29"),
    pool("p", "10.0.0.0/29", ("10.0.0.2", "10.0.0.3")),
    pool("q", "10.0.0.4/30", priority=1),
    pool("q", "10.0.0.4/30", priority=1, sharing="Cluster"),
    pool("q", "10.0.0.0/28", ("10.0.0.2", "10.0.0.2"), ("10.0.0.9", "10.0.0.10")),
    pool("r", "10.0.1.6/31"),
]
IPS = ["10.0.0.2", "10.0.0.5", "10.0.1.6"]
ODD = ["10.0.0.2,10.0.0.5", "10.0.0.2,10.0.0.500", "fd00::1"]

TYPES = st.sampled_from(["LoadBalancer", "ClusterIP"])
ANNOTATIONS = st.fixed_dictionaries(
    {
        "external-ip": st.sampled_from(["auto", None, "true"]),
        "ipcontroller.ext/addresses": st.sampled_from([None, None, None, *IPS, *ODD]),
        "ipcontroller.ext/pool": st.sampled_from([None, None, None, "p", "q", "r, p", "egde"]),
        "ipcontroller.ext/sharing-key": st.sampled_from([None, None, "k", "k", "m"]),
        "ipcontroller.ext/address-count": st.sampled_from([None, None, None, "2", "3", "x"]),
    }
)
OPERATIONS = st.one_of(
    st.tuples(
        st.just("add"),
        st.sampled_from(NAMES),
        TYPES,
        ANNOTATIONS,
        st.integers(80, 81),
        st.integers(),
    ),
    st.tuples(st.just("delete"), st.sampled_from(NAMES)),
    st.tuples(st.just("type"), st.sampled_from(NAMES), TYPES),
    st.tuples(st.just("annotate"), st.sampled_from(NAMES), ANNOTATIONS),
    st.tuples(st.just("write"), st.sampled_from(NAMES), st.sampled_from(["10.9.0.1", *IPS])),
    st.tuples(st.just("port"), st.sampled_from(NAMES), st.integers(80, 81)),
    st.tuples(st.just("lose status"), st.sampled_from(NAMES)),
    st.tuples(st.just("pool"), st.sampled_from(POOLS)),
    st.tuples(st.just("no pool"), st.sampled_from(["p", "q", "r"])),
    st.tuples(st.just("pass"), st.integers(0, 6)),
    st.tuples(st.just("freeze")),
    st.tuples(st.just("thaw"), st.integers(0, 6)),
)


class Faulty(World):
    """A world that checks each write, and in which a frozen scheduler may write much later."""

    frozen: tuple[Any, ...] = ()

    def do(self, operation, *arguments):
        name: Any = arguments[0] if arguments else ""
        if operation == "pass":
            self.step(*arguments)
        elif operation == "freeze":
            self.frozen = self.writes()[1]
        elif operation == "thaw":
            for action in self.frozen[: arguments[0]]:
                self.write(action)
            self.frozen = ()
        elif operation == "pool":
            self.pools[name.metadata.name] = name
        elif operation == "no pool":
            self.pools.pop(name, None)
        else:
            self.edit(operation, *arguments)

    def make(self, name, kind, annotations, port, uid):
        if name not in self.services:
            self.add(
                name,
                created=str(uid),
                namespace="other" if name == NAMES[-1] else "default",
                type=kind,
                ports=[{"port": port}],
            )
            self.services[name]["metadata"]["uid"] = f"{name}-{uid}-{len(self.used)}"
            self.change(name, {"metadata": {"annotations": annotations}})

    def edit(self, operation, name, *arguments):
        if operation == "add":
            self.make(name, *arguments)
        elif name not in self.services:
            return
        elif operation == "delete":
            del self.services[name]
        elif operation == "type":
            self.change(name, {"spec": {"type": arguments[0]}})
        elif operation == "annotate":
            self.change(name, {"metadata": {"annotations": arguments[0]}})
        elif operation == "port":
            self.change(name, {"spec": {"ports": [{"port": arguments[0]}]}})
        elif operation == "write":
            self.change(name, {"spec": {"externalIPs": [arguments[0]]}})
        else:
            self.change(name, {"status": {"loadBalancer": None}})

    def write(self, action):
        before = {name: self.allocated(name) for name in self.services}
        super().write(action)
        if hasattr(action, "new") and action.owner.name in self.services:
            name = action.owner.name
            for ip in self.allocated(name) - before[name]:
                for other in self.services:
                    assert other == name or ip not in before[other] or self.agree(name, other, ip)
                assert name in self.claimed().get(ip, ()), f"{ip} is shown but not claimed"

    def allocated(self, name):
        """Return the addresses that the service shows and that came from a pool."""
        found = self.services[name]
        text = found["metadata"].get("annotations", {}).get("ipcontroller.ext/allocated", "")
        ours = {*filter(None, text.split(","))} & {*found["spec"].get("externalIPs", ())}
        ways = found["status"].get("loadBalancer", {}).get("ingress", [])
        return ours | {way["ip"] for way in ways}

    def agree(self, a, b, ip):
        asked = [self.services[name] for name in (a, b)]
        annotations = [found["metadata"].get("annotations", {}) for found in asked]
        keys = {found.get("ipcontroller.ext/sharing-key") for found in annotations}
        return asked[0]["spec"]["ports"] != asked[1]["spec"]["ports"] and (
            (len(keys) == 1 and None not in keys)
            or all(
                ip in wishes.get("ipcontroller.ext/addresses", "")
                or ip in found["spec"].get("externalIPs", ())
                for found, wishes in zip(asked, annotations, strict=True)
            )
        )

    def check(self):
        """Check what must hold when all is quiet."""
        allocation, _ = self.writes()
        compiled = compile_pools(self.pools.values())
        claimed = self.claimed()
        for name in self.services:
            mine = self.allocated(name)
            assert all(name in claimed[ip] for ip in mine)
            for other in self.services:
                shared = mine & self.allocated(other) if other != name else ()
                assert all(self.agree(name, other, ip) for ip in shared)
                if {name, other} > {NAMES[-1]}:  # of two namespaces
                    pools = (compiled.of(ip_address(ip)) for ip in shared)
                    assert all(one and one.spec.sharing == "Cluster" for one in pools)
        for owner, reason in allocation.waiting.items():
            if "no IPv4 address is free" in reason:
                for one in reason.split("in pool ")[1].split(";")[0].split(", "):
                    free = compiled.by_name[one].free(4, allocation.users, ())
                    assert next(free, None) is None, f"{owner} waits without need"


@settings(max_examples=400)
@given(st.lists(OPERATIONS, max_size=25))
def test_no_address_is_given_twice_and_everything_settles(operations):
    world = Faulty(POOLS[0])
    for operation in operations:
        world.do(*operation)
    world.settle()
    world.check()


EDITS = st.one_of(
    st.tuples(st.just("annotate"), ANNOTATIONS),
    st.tuples(st.just("port"), st.integers(80, 81)),
    st.tuples(st.just("type"), TYPES),
    st.tuples(st.just("write"), st.sampled_from(["10.9.0.1", *IPS])),
)


@settings(max_examples=100)
@given(st.lists(OPERATIONS, max_size=20), st.sampled_from(NAMES), EDITS, st.integers(0, 6))
def test_no_edit_of_a_service_takes_an_address_from_another_that_did_nothing(
    operations, name, edit, dies_after
):
    world = Faulty(POOLS[0])
    for operation in operations:
        world.do(*operation)
    world.settle()
    waiting = {owner.name for owner in world.plan()[0].waiting}
    before = {n: world.allocated(n) for n in world.services if n != name and n not in waiting}
    operation, *arguments = edit
    world.edit(operation, name, *arguments)
    world.step(dies_after)
    world.settle()
    for other, had in before.items():
        assert had <= world.allocated(other)


@pytest.mark.parametrize("writer", ["a", "b"])
def test_who_writes_an_address_with_the_same_port_takes_it_from_nobody(writer):
    """Found by the test above: the record of ports named but the last of the two."""
    world = Faulty(POOLS[0])
    (holder,) = {"a", "b"} - {writer}
    asked = {"ipcontroller.ext/addresses": IPS[0]}
    world.do("add", holder, "LoadBalancer", asked, 80, 0)
    world.do("add", writer, "LoadBalancer", {}, 80, 0)
    world.settle()
    had = {name: world.allocated(name) for name in (holder, writer)}
    assert had[holder] == {IPS[0]}
    world.edit("write", writer, IPS[0])
    world.settle()
    assert {name: world.allocated(name) for name in (holder, writer)} == had


PORT_EDITS = st.tuples(
    st.sampled_from(NAMES), st.sets(st.integers(80, 87), min_size=1, max_size=3), st.integers(0, 4)
)


@settings(max_examples=100)
@given(st.permutations(range(6)), st.lists(PORT_EDITS, max_size=6))
def test_no_edit_of_ports_takes_a_shared_address_from_another_service(ages, edits):
    world = Faulty(POOLS[0])
    shared = {"ipcontroller.ext/addresses": IPS[0]}
    for age, name, port in zip(ages, NAMES, range(80, 86), strict=True):
        ports = [{"port": port}]
        world.add(name, created=str(age), type="LoadBalancer", annotations=shared, ports=ports)
    world.settle()
    for name, ports, dies_after in edits:
        before = {other: world.allocated(other) for other in NAMES if other != name}
        world.change(name, {"spec": {"ports": [{"port": port} for port in sorted(ports)]}})
        world.step(dies_after)
        world.settle()
        for other, had in before.items():
            assert had <= world.allocated(other)
        having = [n for n in NAMES if world.allocated(n)]
        taken = [port["port"] for n in having for port in world.services[n]["spec"]["ports"]]
        assert len(taken) == len(set(taken)), "two have the same port of one address"


@settings(max_examples=100)
@given(st.lists(OPERATIONS, max_size=20), st.sampled_from(NAMES), ANNOTATIONS, st.integers(0, 6))
def test_a_service_that_waits_for_what_it_asks_for_now_has_what_it_had(
    operations, name, annotations, dies_after
):
    world = Faulty(POOLS[0])
    for operation in operations:
        world.do(*operation)
    world.settle()
    before = world.allocated(name) if name in world.services else set()
    world.edit("annotate", name, {**annotations, "external-ip": "auto"})
    world.step(dies_after)
    world.settle()
    if name in {owner.name for owner in world.plan()[0].waiting}:
        assert before <= world.allocated(name)


@settings(max_examples=100)
@given(st.lists(OPERATIONS, max_size=20), st.randoms(use_true_random=False))
def test_the_order_of_what_is_known_does_not_matter(operations, random):
    world = Faulty(POOLS[0])
    for operation in operations:
        world.do(*operation)
    before = world.plan()
    for known in (world.services, world.claims, world.pools):
        shuffled = list(known.items())
        random.shuffle(shuffled)
        known.clear()
        known.update(shuffled)
    assert world.plan() == before


@settings(max_examples=100)
@given(st.lists(OPERATIONS, max_size=20))
def test_everything_that_was_freed_can_be_used_again(operations):
    world = Faulty(POOLS[0])
    for operation in operations:
        world.do(*operation)
    world.services.clear()
    world.settle()
    assert world.claims == {}
    world.pools = {"p": POOLS[0]}
    for n in range(6):
        world.add(f"new{n}", type="LoadBalancer")
    world.settle()
    shown = {ip for n in range(6) for ip in world.shown(f"new{n}")}
    assert shown == {str(ip_address("10.0.0.0") + n) for n in range(1, 7)}


@settings(max_examples=100)
@given(st.lists(st.integers(0, 3), max_size=12))
def test_a_scheduler_that_dies_after_any_write_changes_no_address(deaths):
    """With one order of services, the outcome is that of a scheduler that never died."""
    worlds = World(POOLS[0]), Faulty(POOLS[0])
    for world in worlds:
        for n, name in enumerate(NAMES):
            world.add(name, created=str(n), type="LoadBalancer")
    for upto in deaths:
        worlds[1].step(upto)
    for world in worlds:
        world.settle()
    assert worlds[0].services.keys() == worlds[1].services.keys()
    for name in NAMES:
        assert worlds[0].shown(name) == worlds[1].shown(name)


def test_a_status_is_written_by_what_writes_statuses():
    world = Faulty(POOLS[0])
    world.add("web", type="LoadBalancer")
    world.step()
    (action,) = world.writes()[1]
    assert isinstance(action, SetIngress)


@pytest.mark.parametrize(
    "spec", [{"annotations": {"external-ip": "auto"}}, {"type": "LoadBalancer"}]
)
def test_a_service_shows_its_addresses_also_while_their_claims_are_made_anew(spec):
    """A person may delete a claim, or the predecessor's claim may name no service yet."""
    count = {"ipcontroller.ext/address-count": "2"}
    world = World(POOLS[0])
    world.add("web", **{**spec, "annotations": {**spec.get("annotations", {}), **count}})
    world.settle()
    before = world.services["web"]
    for name in list(world.claims):
        del world.claims[name]
        world.settle()
        assert name in world.claims
    assert world.services["web"] is before, "there was nothing to write"


def taken_out(world):
    """Return the addresses that `web` shows no more after the next write."""
    (update,) = world.plan()[0].service_updates
    before = world.shown("web")
    world.write(update)
    return {*before} - {*world.shown("web")}


@pytest.mark.parametrize(
    "spec", [{"annotations": {"external-ip": "auto"}}, {"type": "LoadBalancer"}]
)
@pytest.mark.parametrize("count", ["1", "2"])
@pytest.mark.parametrize("why", ["it is a node's now", "another service has its claim"])
def test_an_address_without_a_claim_that_will_get_none_goes(spec, count, why):
    """The guard has the claim deleted, or somebody who wrote the address had it made anew."""
    count = {"ipcontroller.ext/address-count": count}
    world = World(POOLS[0])
    world.add("web", **{**spec, "annotations": {**spec.get("annotations", {}), **count}})
    world.settle()
    name, claim = next(iter(world.claims.items()))
    ip = claim.spec.cidr.split("/")[0]
    if why == "another service has its claim":
        thief = (replace(claim.spec.services[0], name="thief", uid="uid-thief"),)
        world.claims[name] = replace(claim, spec=replace(claim.spec, services=thief))
    else:
        del world.claims[name]
        world.node_ips = frozenset({ip_address(ip)})
    assert taken_out(world) == {ip}
