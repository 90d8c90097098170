"""Permissions add up; what is nobody's is left to the guard."""

from ipaddress import ip_address, ip_network

import pytest

from extip.services.policy.permissions import Permissions
from extip.services.policy.refusal import Reason
from extip.services.policy.requests import Masks, Owner, collect

WEB, DB = ip_network("10.1.0.0/24"), ip_network("fd00:1::/64")
ALL = ip_network("10.9.0.0/24")
PERMISSIONS = Permissions.of((ALL,), [("web", WEB), ("db", DB), ("web", ip_network("10.2.0.0/24"))])


@pytest.mark.parametrize(
    ("namespace", "ip", "may"),
    [
        ("web", "10.1.0.5", True),
        ("web", "10.2.0.5", True),
        ("web", "10.9.0.5", True),
        ("other", "10.9.0.5", True),
        ("db", "10.1.0.5", False),
        ("", "10.1.0.5", False),
        ("web", "fd00:1::5", False),
        ("db", "fd00:1::5", True),
    ],
)
def test_a_namespace_may_have_its_own_and_everyones(namespace, ip, may):
    refusal = PERMISSIONS.refuse(namespace, ip_address(ip))
    assert (refusal is None) == may
    if refusal is not None:
        assert refusal.reason is Reason.NOT_ALLOWED
        assert ip in refusal.message


def test_what_nobody_may_have_is_for_the_guard():
    assert PERMISSIONS.refuse("web", ip_address("8.8.8.8")) is None
    assert PERMISSIONS.networks() == (WEB, ip_network("10.2.0.0/24"), ALL, DB)


def test_without_any_everything_is_allowed():
    assert not Permissions().restrictive
    assert Permissions().networks() == ()
    assert Permissions().refuse("web", ip_address("8.8.8.8")) is None
    assert Permissions.of((), [("web", WEB)]).restrictive
    assert Permissions.of((ALL,)).restrictive


def test_who_may_not_have_an_ip_does_not_stand_in_the_way_of_who_may():
    web, db = (Owner(kind="Service", namespace=n, name="s", uid=n) for n in ("web", "db"))
    ips = ("10.1.0.5", "10.9.0.5")
    requests = collect([(db, ips), (web, ips)], Masks(v4=32, v6=128).parse, PERMISSIONS.refuse)
    assert [owners for _, owners in sorted(requests.wanted.items())] == [(web,), (db, web)]
    assert [(r.text, r.owner) for r in requests.denied] == [("10.1.0.5", db)]
