"""Which interfaces of this machine are looked at."""

from ipaddress import ip_interface

import pytest

from extip.doctor.node import selected_names
from extip.net.interfaces import ObservedAddress
from extip.net.link_selection import LinkSelection
from tests.fakes.interfaces import ethernet

LINKS = [ethernet(index=n, name=name) for n, name in enumerate(("eth0", "eth1", "pods0"), 1)]


def on(index, text, *, ours=False):
    return ObservedAddress(interface=ip_interface(text), link_index=index, ours=ours, valid_s=None)


OWN = [on(n, f"10.{n}.0.1/24") for n in (1, 2, 3)]
IP = on(2, "10.2.0.9/32", ours=True)


@pytest.mark.parametrize(
    ("iface", "observed", "names"),
    [
        ("eth0", [*OWN, IP], ["eth0"]),
        ("bond0", OWN, ["bond0"]),
        ("eth*", OWN, ["eth0", "eth1"]),
        ("bond*", OWN, ["bond*"]),
        ("auto", OWN, ["eth0", "eth1", "pods0"]),
        ("auto", [*OWN, IP], ["eth1"]),
        ("eth0,auto", [*OWN, IP], ["eth0", "eth1"]),
    ],
)
def test_of_auto_those_with_external_ips(iface, observed, names):
    assert selected_names(LinkSelection.parse(iface), LINKS, observed) == names
