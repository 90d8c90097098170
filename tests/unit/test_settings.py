"""Flags are checked where they become settings, with a text that says what to do."""

import pytest

from extip.errors import ConfigurationError
from extip.settings import (
    AddressSettings,
    simple_settings,
)


def settings(**changed) -> AddressSettings:
    values = {
        "iface": "eth0",
        "mask": 32,
        "mask_v6": 128,
        "resync_s": 20.0,
        "address_ttl_s": 40,
        "on_exit": "release",
        "allow_cidrs": (),
        "probe_s": 0.2,
    }
    return AddressSettings(**{**values, **changed})


@pytest.mark.parametrize(
    ("changed", "flag"),
    [
        ({"iface": ""}, "--iface"),
        ({"iface": "a" * 16}, "--iface"),
        ({"iface": "a/b"}, "--iface"),
        ({"iface": "a b"}, "--iface"),
        ({"resync_s": 0.05}, "--resync"),
        ({"address_ttl_s": 2}, "--address-ttl"),
        ({"probe_s": 0.001}, "--probe"),
        ({"probe_s": 61.0}, "--probe"),
    ],
)
def test_impossible_values_name_their_flag(changed, flag):
    with pytest.raises(ConfigurationError, match=flag):
        settings(**changed)


def test_probing_can_be_switched_off():
    assert settings(probe_s=0.0).probe_s == 0


def test_two_refreshes_may_fail_before_an_address_expires():
    assert settings(address_ttl_s=30).refresh_s == pytest.approx(10)


@pytest.mark.parametrize(
    ("resync", "address_ttl", "expected"),
    [(20.0, None, 40), (0.5, None, 3), (1.7, None, 4), (20.0, 3.0, 3), (20.0, 3.2, 4)],
)
def test_addresses_live_two_resyncs_unless_told_otherwise(resync, address_ttl, expected):
    made = simple_settings(
        iface="eth0",
        mask=32,
        mask_v6=128,
        resync=resync,
        address_ttl=address_ttl,
        on_exit="release",
        allow_cidr=(),
        allow=(),
        probe=0.2,
        kubeconfig="",
        namespace_selector="",
        service_selector="",
        http=None,
    )
    assert made.address.address_ttl_s == expected
