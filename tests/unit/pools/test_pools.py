"""Which addresses a pool gives: as the predecessor's, and the ones that it forgot."""

from ipaddress import ip_address, ip_network

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from extip.guard.policy.rules import Guard, Surroundings
from extip.net.interfaces import IPAddress
from extip.pools.policy.pools import Cursor, compile_pools
from extip.pools.policy.spans import UNICAST, holds, intersect, subtract, union
from extip.services.policy.requests import Masks
from tests.unit.pools.allocation_world import network, pool

MAX_V6 = 2**128 - 1


def addresses(*pools, name="p", taken=(), freed=(), allowed=(), limit=300):
    """Return what the pool gives one after another."""
    found = compile_pools(pools, allowed=allowed).by_name[name]
    used = {ip_address(ip) for ip in taken}
    given_: list[str] = []
    for version in sorted(found.versions):
        for ip in found.free(version, used, [ip_address(ip) for ip in freed]):
            given_.append(str(ip))
            used.add(ip)
            if len(given_) == limit:
                break
    return given_


def test_the_whole_of_a_cidr():
    taken = [f"192.168.16.{n}" for n in (249, 250, 252, 253)]
    whole = pool("p", "192.168.16.248/29")
    assert addresses(whole, taken=taken) == ["192.168.16.251", "192.168.16.254"]
    assert addresses(whole, taken=[*taken, "192.168.16.251", "192.168.16.254"]) == []


def test_ranges():
    one = pool("p", "192.168.16.248/29", ("192.168.16.250", "192.168.16.252"))
    assert addresses(one, taken=["192.168.16.250"]) == ["192.168.16.251", "192.168.16.252"]
    several = pool(
        "p",
        "10.0.0.0/16",
        ("10.0.5.5", "10.0.5.6"),
        ("10.0.1.1", "10.0.1.1"),
        ("10.0.5.6", "10.0.5.7"),
    )
    assert addresses(several) == ["10.0.1.1", "10.0.5.5", "10.0.5.6", "10.0.5.7"]
    assert compile_pools([several]).by_name["p"].size == 4


@pytest.mark.parametrize(
    ("cidr", "expected"),
    [
        ("10.0.0.4/31", ["10.0.0.4", "10.0.0.5"]),
        ("10.0.0.4/32", ["10.0.0.4"]),
        ("10.0.0.5/30", ["10.0.0.5", "10.0.0.6"]),
        ("fd00::4/127", ["fd00::4", "fd00::5"]),
        ("fd00::4/128", ["fd00::4"]),
        ("fd00::/126", ["fd00::1", "fd00::2", "fd00::3"]),
        ("10.0.0.4/33", []),
        ("nonsense", []),
        ("127.0.0.0/8", []),
    ],
)
def test_networks_of_any_size(cidr, expected):
    made = pool("p", cidr)
    assert addresses(made) == expected
    assert compile_pools([made]).by_name["p"].size == len(expected)


def test_addresses_that_some_equipment_dislikes():
    made = pool("p", "10.0.0.0/23", avoid_network_addresses=True)
    given_ = addresses(made, limit=600)
    assert len(given_) == compile_pools([made]).by_name["p"].size == 508
    assert not {"10.0.0.255", "10.0.1.0"} & {*given_}
    assert compile_pools([made]).of(ip_address("10.0.1.0")) is None
    plain = pool("p", "10.0.0.0/23")
    assert {"10.0.0.255", "10.0.1.0"} < {*addresses(plain, limit=600)}


@given(st.integers(0, 1000), st.integers(0, 1000))
def test_the_size_is_what_can_be_given(start, length):
    first = ip_address("10.0.0.0") + start
    made = pool("p", "10.0.0.0/16", (str(first), str(first + length)), avoid_network_addresses=True)
    assert compile_pools([made]).by_name["p"].size == len(addresses(made, limit=2000))


def test_a_huge_pool_is_not_walked_through():
    found = compile_pools([pool("p", "fd00::/8")]).by_name["p"]
    assert found.size == 2**120 - 1
    assert str(next(found.free(6, (), ()))) == "fd00::1"
    everything = compile_pools([pool("p", "::/0")]).by_name["p"]
    assert str(next(everything.free(6, (), ()))) == "2000::"


def test_freed_addresses_come_last_and_in_their_order():
    made = pool("p", "10.0.0.0/29")
    freed = ["10.0.0.3", "10.0.0.1", "10.9.9.9", "fd00::1"]
    assert [int(ip.split(".")[3]) for ip in addresses(made, freed=freed)] == [2, 4, 5, 6, 3, 1]


def test_what_cannot_be_read_is_said_and_the_rest_is_used():
    made = pool(
        "p", "10.0.0.0/24", ("10.0.0.1", "10.0.0.2"), ("10.0.0.9", "10.0.0.8"), ("fd00::1",)
    )
    assert addresses(made) == ["10.0.0.1", "10.0.0.2"]
    problem = compile_pools([made]).by_name["p"].problem
    assert "10.0.0.9" in problem
    assert "fd00::1" in problem
    assert "nonsense" in compile_pools([pool("p", "nonsense")]).by_name["p"].problem


@pytest.mark.parametrize(
    ("cidr", "first", "said"),
    [
        ("10.88.7.1/24", "", ""),  # nothing below it can be given
        ("10.88.7.200/28", "10.88.7.192/28", "10.88.7.200-10.88.7.206"),
        ("fd00:88::7:8/125", "fd00:88::7:8/125", ""),
        ("fd00:88::7:a/125", "fd00:88::7:8/125", "fd00:88::7:a-fd00:88::7:f"),
        ("10.88.7.201/31", "10.88.7.200/31", "10.88.7.201-10.88.7.201"),
    ],
)
def test_a_cidr_with_host_bits_gives_nothing_below_what_was_written(cidr, first, said):
    found = compile_pools([pool("p", cidr)]).by_name["p"]
    assert bool(found.size) == (not said)
    assert said in found.problem
    assert not said or f"write {first} for all of it" in found.problem


def test_ranges_say_what_a_cidr_with_host_bits_means():
    made = pool("p", "10.88.7.200/28", ("10.88.7.200", "10.88.7.202"))
    assert addresses(made) == ["10.88.7.200", "10.88.7.201", "10.88.7.202"]
    assert compile_pools([made]).by_name["p"].problem == ""


@pytest.mark.parametrize(
    ("entry", "said", "used"),
    [
        (("10.0.0.9", "10.0.0.8"), "range 10.0.0.9-10.0.0.8 is reversed", 0),
        (("fd00::1", "fd00::2"), "is not of IPv4, as cidr 10.0.0.0/24 is", 0),
        (("10.0.0.1", "fd00::2"), "is not of IPv4, as cidr 10.0.0.0/24 is", 0),
        (("10.1.0.1", "10.1.0.2"), "is outside of cidr 10.0.0.0/24", 0),
        (("10.0.0.250", "10.0.1.2"), "reaches beyond cidr 10.0.0.0/24", 5),
        (("10.0.0.1",), "is not a first and a last IP address", 0),
        (("10.0.0.1", "x"), "is not a first and a last IP address", 0),
    ],
)
def test_what_is_wrong_with_a_range_is_said_in_a_sentence(entry, said, used):
    found = compile_pools([pool("p", "10.0.0.0/24", entry)]).by_name["p"]
    assert said in found.problem
    assert "[" not in found.problem
    assert found.size == used


def test_an_address_belongs_to_the_first_of_overlapping_pools():
    pools = [
        pool("p", "10.0.0.0/29"),
        pool("small", "10.0.0.2/31", priority=1),
        pool("z", "10.0.0.0/24", ("10.0.0.5", "10.0.0.9")),
        pool("far", "10.1.0.0/24"),
    ]
    compiled = compile_pools(pools)
    owners = [compiled.of(ip_address(f"10.0.0.{n}")) for n in range(10)]
    assert [o and o.name for o in owners] == [
        None, "p", "small", "small", "p", "p", "p", "z", "z", "z",
    ]  # fmt: skip
    assert compiled.by_name["p"].overlaps == ("small", "z")
    assert compiled.by_name["z"].overlaps == ("p",)
    assert compiled.by_name["far"].overlaps == ()
    assert compiled.by_name["z"].size == 3


def test_the_allow_list_limits_pools():
    made = pool("p", "10.0.0.0/8")
    allowed = (ip_network("10.5.5.0/30"), ip_network("fd00::/8"))
    assert addresses(made, allowed=allowed) == [f"10.5.5.{n}" for n in range(4)]
    assert addresses(pool("p", "10.0.0.0/8"), allowed=(ip_network("192.168.0.0/16"),)) == []


SPANS = st.lists(
    st.tuples(st.integers(0, 30), st.integers(0, 6)).map(lambda s: (s[0], s[0] + s[1])), max_size=6
)


@given(SPANS, SPANS)
def test_spans_are_sets(a, b):
    def expand(spans):
        return {value for first, last in spans for value in range(first, last + 1)}

    one, two = union(a), union(b)
    assert expand(one) == expand(a)
    assert expand(subtract(one, two)) == expand(a) - expand(b)
    assert expand(intersect(one, two)) == expand(a) & expand(b)
    assert {v for v in range(40) if holds(one, v)} == expand(a)


@pytest.mark.parametrize("version", [4, 6])
def test_pools_and_the_guard_agree_on_special_addresses_at_every_edge(version):
    edges = {v for span in UNICAST[version] for end in span for v in (end - 1, end, end + 1)}
    for value in edges:
        check(version, value)


@given(st.sampled_from([4, 6]), st.integers(0, MAX_V6))
@example(6, 1)
def test_pools_and_the_guard_agree_on_special_addresses(version, value):
    check(version, value if version == 6 else value >> 96)


def check(version, value):
    ip: IPAddress = ip_address(value.to_bytes(4 if version == 4 else 16, "big"))
    interface = Masks(v4=32, v6=128).parse(str(ip))
    assert interface is not None
    refused = Guard().refuse(interface, Surroundings()) is not None
    assert holds(UNICAST[version], value) != refused, ip


BOTH = pool(
    "p",
    "10.0.0.0/30",
    networks=(
        network("10.0.8.0/24", ("10.0.8.9", "10.0.8.10")),
        network("fd00::/126"),
        network("10.0.0.0/29"),  # of which the first half is in the pool already
    ),
)


def test_a_pool_of_several_networks_gives_each_address_the_length_of_its_own():
    found = compile_pools([BOTH]).by_name["p"]
    assert found.problem == ""
    assert (found.size, found.size_of(4), found.size_of(6)) == (11, 8, 3)
    given_ = [str(found.interface(ip_address(ip))) for ip in addresses(BOTH)]
    assert given_ == [
        "10.0.0.1/30",
        "10.0.0.2/30",
        "10.0.8.9/24",
        "10.0.8.10/24",
        *(f"10.0.0.{n}/29" for n in (3, 4, 5, 6)),
        *(f"fd00::{n}/126" for n in (1, 2, 3)),
    ]
    freed = ["fd00::1", "10.0.8.9", "10.0.0.1"]
    assert addresses(BOTH, freed=freed)[-1] == "fd00::1"


def test_a_pool_for_every_node_gives_addresses_their_full_length():
    """On `lo` a shorter one makes a node take the whole network for its own."""
    several = pool("p", "10.0.0.0/24", networks=[network("fd00::/64")], placement="Everywhere")
    found = compile_pools([several]).by_name["p"]
    assert str(found.interface(ip_address("10.0.0.1"))) == "10.0.0.1/32"
    assert str(found.interface(ip_address("fd00::1"))) == "fd00::1/128"


def test_a_pool_may_have_networks_alone_and_says_which_one_is_wrong():
    made = pool("p", "", networks=(network("10.0.0.0/30"), network("fd00::7/64"), network("x")))
    found = compile_pools([made]).by_name["p"]
    assert addresses(made) == ["10.0.0.1", "10.0.0.2"]
    assert "spec.networks[1].cidr fd00::7/64 is not the beginning" in found.problem
    assert "spec.networks[2].cidr 'x' is no network" in found.problem
    assert compile_pools([pool("p", "")]).by_name["p"].problem


def test_of_overlapping_pools_the_first_gives_the_addresses_in_each_network():
    other = pool("a", "fd00::/127", networks=(network("10.0.8.0/24"),))
    found = compile_pools([BOTH, other])
    assert found.by_name["a"].overlaps == ("p",)
    assert found.by_name["p"].overlaps == ("a",)
    assert addresses(BOTH, other) == [
        *("10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.0.4", "10.0.0.5", "10.0.0.6"),
        *("fd00::2", "fd00::3"),
    ]


def test_a_search_goes_on_where_the_last_one_ended():
    found = compile_pools([pool("p", "10.0.0.0/28")]).by_name["p"]
    used: set[IPAddress] = set()
    cursor = Cursor()
    for last in (1, 2, 3):
        ip = next(found.free(4, used, (), cursor=cursor))
        assert str(ip) == f"10.0.0.{last}"
        used.add(ip)
    first, second = (ip_address(f"10.0.0.{last}") for last in (1, 2))
    used -= {first, second}
    assert str(next(found.free(4, used, (), cursor=cursor))) == "10.0.0.4"
    released = list(
        found.free(4, used, (), cursor=cursor, released=[second, first, ip_address("::2")])
    )
    assert list(map(str, released[:3])) == ["10.0.0.1", "10.0.0.2", "10.0.0.4"]
    assert next(found.free(4, used, [first], cursor=cursor)) == first
