"""Addresses in a foreign pool → the same addresses in a pool of extip, and no others."""

from ipaddress import ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extip.api.ipcontroller_v1 import IpClaimPool, IpClaimPoolSpec
from extip.migrate.policy.blocks import Block, pool_networks, read_block, with_networks
from extip.migrate.policy.result import Result
from extip.pools.policy.pools import compile_pools


def pool_of(*texts, segments=()):
    """Return the compiled pool of some blocks, and the remarks."""
    result = Result()
    networks = pool_networks(
        [read_block(text) for text in texts], [ip_network(s) for s in segments], "a pool", result
    )
    spec = with_networks(IpClaimPoolSpec(), networks)
    (pool,) = compile_pools([IpClaimPool(spec=spec)]).ordered
    assert pool.problem == ""
    return pool, [str(remark) for remark in result.remarks]


def given_by(pool, version=4):
    return [str(ip) for ip in pool.free(version, set(), [])]


@pytest.mark.parametrize(
    ("text", "first", "last"),
    [
        ("10.0.0.0/30", "10.0.0.0", "10.0.0.3"),
        ("10.0.0.7/24", "10.0.0.0", "10.0.0.255"),  # MetalLB drops host bits, too
        (" 10.0.0.5 - 10.0.0.9 ", "10.0.0.5", "10.0.0.9"),
        ("1.2.3.4", "1.2.3.4", "1.2.3.4"),
        ("fd00::10-fd00::20", "fd00::10", "fd00::20"),
        ("fd00::/126", "fd00::", "fd00::3"),
    ],
)
def test_a_block_is_a_network_a_range_or_an_address(text, first, last):
    assert read_block(text) == Block(ip_address(first), ip_address(last))


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("10.0.0.0/33", "'10.0.0.0/33' is no network"),
        ("10.0.0.0/", "'10.0.0.0/' is no network"),
        ("everything", "'everything' is no network, range or IP address"),
        ("", "'' is no network, range or IP address"),
        ("10.0.0.1-10.0.0.2-10.0.0.3", "is no network, range or IP address"),
        ("10.0.0.9-10.0.0.5", "is reversed"),
        ("10.0.0.1-fd00::1", "an IPv4 and an IPv6 address"),
    ],
)
def test_a_block_that_means_nothing_is_told(text, why):
    with pytest.raises(ValueError, match=r".") as told:
        read_block(text)
    assert why in str(told.value)


def test_a_range_without_a_known_segment_gets_the_smallest_network_around_it():
    pool, remarks = pool_of("192.168.10.20-192.168.10.29")
    assert given_by(pool) == [f"192.168.10.{n}" for n in range(20, 30)]
    assert pool.prefixlen(ip_address("192.168.10.20")) == 28
    assert "192.168.10.16/28 get this prefix length" in remarks[0]


def test_the_ends_of_a_part_of_a_segment_are_given_as_well():
    """They are edges of the network that is guessed, and not of the segment."""
    pool, _ = pool_of("192.168.10.16/28")
    assert sorted(given_by(pool)) == sorted(f"192.168.10.{n}" for n in range(16, 32))


def test_the_ends_that_may_be_those_of_the_segment_are_not_given_and_told():
    pool, remarks = pool_of("192.168.10.0/24")
    assert given_by(pool) == [f"192.168.10.{n}" for n in range(1, 255)]
    assert "192.168.10.0 is the address of a network" in remarks[0]
    assert "192.168.10.255 is the address of a network" in remarks[1]


def test_addresses_of_a_known_segment_get_its_prefix_length():
    pool, remarks = pool_of(
        "192.168.10.240/28", "192.168.10.20-192.168.10.22", segments=("192.168.10.0/24",)
    )
    assert given_by(pool) == [f"192.168.10.{n}" for n in (20, 21, 22, *range(240, 255))]
    assert {network.prefixlen for network in pool.networks} == {24}
    (remark,) = remarks
    assert remark.startswith("note: a pool: 192.168.10.255 is the address of a network")


def test_the_smallest_of_several_segments_counts():
    pool, _ = pool_of("10.1.2.3-10.1.2.4", segments=("10.0.0.0/8", "10.1.2.0/24", "10.1.0.0/16"))
    assert {network.prefixlen for network in pool.networks} == {24}


def test_a_network_that_is_a_segment_has_no_ranges():
    networks = pool_networks(
        [read_block("10.1.2.0/24")], [ip_network("10.1.2.0/24")], "a pool", Result()
    )
    assert [(n.cidr, n.ranges) for n in networks] == [("10.1.2.0/24", None)]


def test_both_families_are_in_one_pool():
    pool, _ = pool_of("10.0.0.4/31", "fd00::10-fd00::11")
    assert given_by(pool) == ["10.0.0.4", "10.0.0.5"]
    assert given_by(pool, 6) == ["fd00::10", "fd00::11"]


def test_more_networks_than_a_pool_may_have_are_told():
    _, remarks = pool_of(*(f"10.0.{n}.1" for n in range(65)))
    assert "a pool has at most 64 networks" in remarks[0]


numbers = st.integers(0, 2**10 - 1)
ranges = st.tuples(numbers, numbers).map(sorted)


@given(st.lists(ranges, min_size=1, max_size=5))
def test_a_pool_gives_what_its_blocks_have_but_for_edges(pairs):
    """The edges are those of the guessed networks that end in .0 or .255."""
    start = int(ip_address("10.5.0.0"))
    texts = [f"{ip_address(start + a)}-{ip_address(start + b)}" for a, b in pairs]
    pool, _ = pool_of(*texts)
    wanted = {start + n for a, b in pairs for n in range(a, b + 1)}
    found = {int(ip_address(ip)) for ip in given_by(pool)}
    assert found <= wanted
    assert {n % 256 for n in wanted - found} <= {0, 255}


@given(st.lists(ranges, min_size=1, max_size=5))
def test_a_pool_in_a_segment_gives_what_its_blocks_have_but_for_the_edges_of_it(pairs):
    start = int(ip_address("10.5.0.0"))
    texts = [f"{ip_address(start + a)}-{ip_address(start + b)}" for a, b in pairs]
    pool, _ = pool_of(*texts, segments=("10.5.0.0/22",))
    wanted = {start + n for a, b in pairs for n in range(a, b + 1)}
    assert {int(ip_address(ip)) for ip in given_by(pool)} == wanted - {start, start + 2**10 - 1}
