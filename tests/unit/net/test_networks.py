"""One look tells in which of many networks an address is."""

from ipaddress import ip_address, ip_network

from hypothesis import given
from hypothesis import strategies as st

from extip.net.networks import Networks


def networks(*texts):
    return Networks(frozenset(map(ip_network, texts)))


def test_the_smallest_network_is_found():
    known = networks("10.0.0.0/8", "10.1.0.0/16", "10.1.2.3/32", "fd00::/8")
    assert known.find(ip_address("10.1.2.3")) == ip_network("10.1.2.3/32")
    assert known.find(ip_address("10.1.2.4")) == ip_network("10.1.0.0/16")
    assert known.find(ip_address("10.2.0.1")) == ip_network("10.0.0.0/8")
    assert known.find(ip_address("11.0.0.1")) is None
    assert ip_address("fd12::1") in known
    assert ip_address("::10.1.2.3") not in known


def test_none_is_false_and_a_union_has_both():
    assert not Networks()
    both = networks("10.0.0.0/8") | networks("fd00::/8")
    assert both == networks("fd00::/8", "10.0.0.0/8")


@given(
    st.frozensets(
        st.one_of(
            st.ip_addresses().map(ip_network),
            st.builds(
                lambda ip, cut: (
                    ip_network((int(ip), ip.max_prefixlen - cut), strict=False)
                    if ip.version == 4
                    else ip_network(f"{ip}/{ip.max_prefixlen - cut}", strict=False)
                ),
                st.ip_addresses(),
                st.integers(0, 32),
            ),
        )
    ),
    st.ip_addresses(),
)
def test_it_finds_what_looking_at_each_finds(members, ip):
    expected = [n for n in members if ip.version == n.version and ip in n]
    found = Networks(members).find(ip)
    assert found == (max(expected, key=lambda n: n.prefixlen) if expected else None)
