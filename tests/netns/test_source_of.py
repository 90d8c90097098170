"""The source that the kernel would take is found without a packet."""

from ipaddress import ip_address

from extip.net.source_address import source_of


def test_what_stays_here_comes_from_here_and_no_way_is_none():
    for own in ("127.0.0.1", "::1"):
        assert source_of(ip_address(own)) == ip_address(own)
    assert source_of(ip_address("255.255.255.255")) is None
