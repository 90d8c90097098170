"""Freed addresses keep their order and their last users, and do not pile up."""

from ipaddress import ip_address

from extip.pools.policy.freed import MAX, Freed
from extip.pools.policy.pools import compile_pools
from tests.unit.pools.allocation_world import pool

A, B, C = (ip_address(f"10.0.0.{n}") for n in (1, 2, 3))


def test_an_address_that_is_used_again_has_no_former_user():
    freed = Freed()
    for ip in (A, B, C):
        freed.put(ip, "shop/web")
    freed.put(A, "shop/api")
    assert list(freed) == [B, C, A]
    assert freed.of("shop/web") == (B, C)
    assert freed.of("shop/api") == (A,)
    for ip in (B, C, C):
        freed.drop(ip)
    assert list(freed) == [A]
    assert freed.of("shop/web") == ()


def test_the_oldest_are_forgotten():
    freed = Freed()
    first = int(ip_address("10.0.0.0"))
    for number in range(MAX + 2):
        freed.put(ip_address(first + number), "shop/web")
    assert len(list(freed)) == len(list(freed.of("shop/web"))) == MAX
    assert ip_address(first + 1) not in set(freed)


def test_each_pool_has_its_own_order_and_pools_change():
    freed = Freed()
    freed.regroup(compile_pools([pool("p", "10.0.0.0/30"), pool("q", "10.0.0.8/30")]))
    other = ip_address("10.0.0.9")
    for ip in (B, other, A):
        freed.put(ip, "shop/web")
    assert list(freed.within("p")) == [B, A]
    assert list(freed.within("q")) == [other]
    freed.drop(B)
    assert list(freed.within("p")) == [A]
    freed.regroup(compile_pools([pool("q", "10.0.0.0/28")]))
    assert list(freed.within("p")) == []
    assert list(freed.within("q")) == [other, A]
    freed.drop(A)
    assert list(freed.within("q")) == [other]
