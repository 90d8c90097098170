"""A pool's status says what is true, and is written only when it is not."""

from ipaddress import ip_address

import msgspec

from extip.api.conditions import find_condition
from extip.api.ipcontroller_v1 import IpClaimPoolStatus
from extip.api.pool_parts import SetAsideAddress
from extip.pools.policy import usage as pool_usage
from extip.pools.policy.pools import compile_pools
from extip.pools.policy.usage import PoolUsage, pool_status_patch
from tests.unit.pools.allocation_world import merged, network, on_the_wire, pool

NOW = "2026-01-01T00:00:00Z"


def written(shown, users, *others, aside=()):
    """Return the pool after its status was written, and whether it had to be."""
    compiled = compile_pools([shown, *others])
    used = {ip_address(ip): who for ip, who in users.items()}
    usage = PoolUsage(compiled, used)
    usage.take(used)
    name = shown.metadata.name
    found = {ip_address(ip): SetAsideAddress(message="02:00 has it", time=NOW) for ip in aside}
    patch = pool_status_patch(shown, compiled.by_name[name], usage.of[name], now=NOW, aside=found)
    if patch is None:
        return shown, False
    status = merged(msgspec.to_builtins(shown.status), on_the_wire(patch)["status"])
    decoded = msgspec.convert(status, IpClaimPoolStatus)
    return msgspec.structs.replace(shown, status=decoded), True


def status_of(shown, kind):
    condition = find_condition(shown.status.conditions, kind)
    assert condition is not None
    return condition


def test_addresses_are_listed_and_struck_off():
    found, changed = written(
        pool("p", "10.0.0.0/30"), {"10.0.0.1": "default/a", "10.0.0.2": "default/b", "9.9.9.9": "x"}
    )
    assert changed
    assert found.status.allocated == {"10.0.0.1": "default/a", "10.0.0.2": "default/b"}
    assert (found.status.size, found.status.free) == (2, 0)
    assert status_of(found, "Exhausted").status == "True"
    found, changed = written(found, {"10.0.0.1": "default/c"})
    assert changed
    assert found.status.allocated == {"10.0.0.1": "default/c"}
    assert status_of(found, "Exhausted").status == "False"
    assert written(found, {"10.0.0.1": "default/c"}) == (found, False)


def test_overlaps_and_trouble_are_said():
    found, _ = written(pool("p", "10.0.0.0/30"), {}, pool("q", "10.0.0.0/24"))
    assert status_of(found, "Overlapping").status == "True"
    assert "q" in status_of(found, "Overlapping").message
    found, _ = written(pool("p", "10.0.0.0/24", ("10.0.0.1", "nonsense")), {})
    assert status_of(found, "Exhausted").status == "True"
    assert "nonsense" in status_of(found, "Exhausted").message


def test_a_huge_pool_and_many_addresses_fit_into_a_status():
    base = ip_address("fd00::1")
    users = {str(base + n): f"default/service-{n}" for n in range(12_000)}
    found, _ = written(pool("p", "fd00::/32"), users)
    assert found.status.size == found.status.free == 2**63 - 1
    assert len(found.status.allocated or ()) == pool_usage.MAX_LISTED
    assert len(msgspec.json.encode(found)) < 1_500_000


class User:
    """A user who counts how often it was asked for its name."""

    asked = 0

    def __str__(self) -> str:
        User.asked += 1
        return "default/web"


def test_a_status_is_made_of_lines_that_were_made_one_by_one():
    """In whatever order the addresses came: a line is much dearer than a look at it."""
    compiled = compile_pools([pool("p", "10.0.0.0/16")])
    base = ip_address("10.0.0.1")
    users = {base + n: User() for n in reversed(range(12_000))}
    usage = PoolUsage(compiled, users)
    usage.take(users)
    User.asked = 0
    listed = usage.of["p"].listed()
    assert User.asked == 0
    assert listed == {str(base + n): "default/web" for n in range(10_000)}


def test_what_other_stations_have_is_told_and_not_counted_as_free():
    used = {"10.0.0.1": "default/a"}
    found, changed = written(pool("p", "10.0.0.0/30"), used, aside=["10.0.0.1", "10.0.0.2"])
    assert changed
    assert (found.status.size, found.status.free) == (2, 0)
    assert found.status.set_aside == {
        ip: SetAsideAddress(message="02:00 has it", time=NOW) for ip in ("10.0.0.1", "10.0.0.2")
    }
    assert "1 of them by other stations" in status_of(found, "Exhausted").message
    assert written(found, used, aside=["10.0.0.1", "10.0.0.2"]) == (found, False)
    found, changed = written(found, used)
    assert changed
    assert not found.status.set_aside
    assert found.status.free == 1


def test_a_pool_of_two_families_is_exhausted_when_one_of_them_is():
    made = pool("p", "10.0.0.0/31", networks=(network("fd00::/64"),))
    found, _ = written(made, {"10.0.0.0": "a", "fd00::1": "b"})
    assert status_of(found, "Exhausted").status == "False"
    found, _ = written(made, {"10.0.0.0": "a", "fd00::1": "b"}, aside=["10.0.0.1"])
    exhausted = status_of(found, "Exhausted")
    assert exhausted.status == "True"
    assert exhausted.message == "all 2 IPv4 addresses are in use, 1 of them by other stations"
    found, _ = written(made, {f"fd00::{n}": "b" for n in range(1, 4)})
    assert status_of(found, "Exhausted").status == "False"
