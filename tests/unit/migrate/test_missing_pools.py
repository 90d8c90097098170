"""The pools that a migration prints have exactly the IPs that lack one."""

from ipaddress import ip_address, ip_interface

import msgspec

from extip.api.ipcontroller_v1 import IpClaimPool
from extip.api.pool_parts import MAX_NETWORKS
from extip.api.ranges import MAX_RANGES
from extip.migrate.policy.missing_pools import missing_pools
from extip.migrate.policy.result import pool_manifest
from extip.pools.policy.pools import compile_pools


def made(*texts, taken=(), instance=""):
    """Return the manifests; each must be readable, and have each IP with its prefix length."""
    interfaces = list(map(ip_interface, texts))
    manifests = [*map(pool_manifest, missing_pools(interfaces, taken, instance))]
    pools = compile_pools(msgspec.convert(one, IpClaimPool) for one in manifests)
    assert not any(pool.problem or pool.overlaps for pool in pools.ordered)
    assert sum(pool.size for pool in pools.ordered) == len({one.ip for one in interfaces})
    for one in interfaces:
        pool = pools.of(ip_address(one.ip))
        assert pool is not None
        edge = one.ip in (one.network.network_address, one.network.broadcast_address)
        length = one.ip.max_prefixlen if edge else one.network.prefixlen
        assert pool.prefixlen(one.ip) == length
    return manifests


def test_ips_of_one_network_are_ranges_of_it():
    (found,) = made("10.0.0.7/24", "10.0.0.5/24", "10.0.0.6/24", "10.0.0.9/24", "10.0.0.9/24")
    assert found == {
        "apiVersion": "ipcontroller.ext/v1",
        "kind": "IpClaimPool",
        "metadata": {"name": "external-ips"},
        "spec": {
            "autoAssign": False,
            "networks": [
                {
                    "cidr": "10.0.0.0/24",
                    "ranges": [["10.0.0.5", "10.0.0.7"], ["10.0.0.9", "10.0.0.9"]],
                }
            ],
        },
    }


def test_ips_of_both_families_and_of_full_length():
    (found,) = made("10.0.0.7/32", "fd00::7/128", "fd00:1::7/64")
    assert [one["cidr"] for one in found["spec"]["networks"]] == [
        *("10.0.0.7/32", "fd00::7/128", "fd00:1::/64"),
    ]


def test_an_ip_at_the_edge_of_its_network_is_given_too():
    made("10.0.0.0/24", "10.0.0.255/24", "10.0.0.1/24", "10.0.1.0/31")


def test_many_are_several_pools():
    found = made(*(f"10.0.{n}.7/32" for n in range(MAX_NETWORKS + 1)), taken={"external-ips-2"})
    assert [one["metadata"]["name"] for one in found] == ["external-ips", "external-ips-3"]
    made(*(f"10.{n // 100}.0.{n % 100 * 2 + 1}/8" for n in range(MAX_RANGES + 1)))


def test_without_any_there_is_no_pool_and_one_of_an_instance_has_its_label():
    assert made() == []
    (found,) = made("10.0.0.7/24", instance="dmz")
    assert found["metadata"]["labels"] == {"ipcontroller.ext/instance": "dmz"}
