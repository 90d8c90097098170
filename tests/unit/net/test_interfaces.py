"""Compact interfaces and cached addresses equal those of the standard library."""

import pickle
from ipaddress import AddressValueError, ip_address, ip_interface, ip_network

import pytest

from extip.net.interfaces import CompactIPv4Interface, compact, ip_address_of, prefix_length

TEXTS = ("10.1.2.3/24", "10.1.2.3/32", "0.0.0.0/0", "fd00::1:2/64", "fd00::1/128", "::/0")


def made(text):
    address, _, length = text.partition("/")
    return compact(ip_address_of(address), int(length))


@pytest.mark.parametrize("text", TEXTS)
def test_a_compact_interface_is_that_of_the_standard_library(text):
    ours, theirs = made(text), ip_interface(text)
    assert ours == theirs
    assert theirs == ours
    assert hash(ours) == hash(theirs)
    assert (ours.ip, ours.network, str(ours)) == (theirs.ip, theirs.network, str(theirs))
    assert ours.with_prefixlen == theirs.with_prefixlen
    assert prefix_length(ours) == prefix_length(theirs) == theirs.network.prefixlen
    assert pickle.loads(pickle.dumps(ours)) == theirs  # noqa: S301 - our own


def test_the_prefix_length_counts():
    assert made("10.1.2.3/24") == made("10.1.2.3/24")
    assert made("10.1.2.3/24") != made("10.1.2.3/25")
    assert made("10.1.2.3/24") != made("10.1.2.4/24")
    assert made("10.1.2.3/24") != ip_interface("10.1.2.3/25")
    assert made("0.0.0.1/32") != made("::1/32")
    assert made("10.1.2.3/24").network == ip_network("10.1.2.0/24")


def test_a_comparison_with_an_address_of_the_kernel_makes_no_network(monkeypatch):
    monkeypatch.setattr(
        CompactIPv4Interface, "network", property(lambda _self: pytest.fail("made"))
    )
    assert made("10.1.2.3/24") == ip_interface("10.1.2.3/24")
    assert ip_interface("10.1.2.3/24") == made("10.1.2.3/24")
    assert made("10.1.2.3/24") != ip_interface("10.1.2.3/25")
    assert made("10.1.2.3/24") != ip_interface("10.1.2.4/24")


def test_an_address_of_the_other_family_differs():
    assert made("::1/32") != ip_interface("0.0.0.1/32")
    assert made("0.0.0.1/32") != ip_interface("::1/32")


@pytest.mark.parametrize("text", ["10.1.2.3/33", "10.1.2.3/-1", "fd00::1/129"])
def test_a_prefix_length_that_the_family_does_not_have_is_refused(text):
    with pytest.raises(ValueError, match="prefix length"):
        made(text)


@pytest.mark.parametrize("text", ["10.1.2.3", "fd00::1"])
def test_a_cached_address_equals_that_of_the_standard_library(text):
    ours, theirs = ip_address_of(text), ip_address(text)
    assert ours == theirs
    assert [hash(ours), hash(ours)] == [hash(theirs)] * 2
    assert ours is ip_address_of(text)


@pytest.mark.parametrize("text", ["", "10.1.2", "010.1.2.3", "fd00::g", "10.1.2.3/24"])
def test_a_text_that_writes_no_address_is_refused(text):
    with pytest.raises(AddressValueError):
        ip_address_of(text)
