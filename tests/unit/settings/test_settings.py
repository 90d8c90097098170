"""Flags are checked where they become settings, with a text that says what to do."""

from ipaddress import ip_address, ip_network
from typing import Any

import pytest

from extip.errors import ConfigurationError
from extip.settings.address import (
    MIN_ADDRESS_TTL_S,
    MIN_PROBE_S,
    MIN_RESYNC_S,
    AddressSettings,
)
from extip.settings.flags import WHOLE_SECONDS
from extip.settings.simple import SimpleSettings

SERVED: dict[str, Any] = {
    "metrics": ("10.0.0.1", 9189),
    "metrics_allow_cidr": (ip_network("10.244.0.0/16"),),
}
TLS: dict[str, Any] = {"metrics_tls_cert_file": "a", "metrics_tls_private_key_file": "b"}


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
        AddressSettings(**changed)


def test_a_class_of_load_balancers_without_them_names_the_missing_flag():
    with pytest.raises(ConfigurationError, match="add it"):
        SimpleSettings(lb_class="lab/edge")
    assert SimpleSettings().balanced_class is None
    assert SimpleSettings(load_balancers=True).balanced_class == ""
    assert SimpleSettings(load_balancers=True, lb_class="lab/edge").balanced_class == "lab/edge"


def test_metrics_are_not_served_to_everybody_by_mistake():
    with pytest.raises(ConfigurationError, match="--metrics-allow-cidr"):
        SimpleSettings(metrics=("10.0.0.1", 9189))
    allowed = SimpleSettings(
        metrics=("10.0.0.1", 9189), metrics_allow_cidr=(ip_network("10.244.0.0/16"),)
    )
    assert ip_address("10.244.1.2") in allowed.metrics_readers
    assert ip_address("10.0.0.2") not in allowed.metrics_readers


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ({"metrics_tls_cert_file": "a"}, "give both"),
        ({"metrics_tls_private_key_file": "a"}, "give both"),
        ({"metrics_auth": True}, "plain text"),
        ({"metrics_auth": True, **SERVED}, "plain text"),
        (TLS, "are for --metrics: say where"),
        ({"metrics_auth": True, **TLS}, "are for --metrics: say where"),
    ],
)
def test_tls_and_tokens_are_not_half_switched_on(flags, said):
    with pytest.raises(ConfigurationError, match=said) as caught:
        SimpleSettings(**flags)
    assert "\n" not in str(caught.value)


def test_tls_needs_no_tokens_and_tokens_need_tls():
    assert SimpleSettings(**SERVED, **TLS).metrics_auth is False
    assert SimpleSettings(**SERVED, **TLS, metrics_auth=True).metrics_auth is True


def test_probing_can_be_switched_off():
    assert AddressSettings(probe_s=0.0).probe_s == 0


def test_two_refreshes_may_fail_before_an_address_expires():
    assert AddressSettings(address_ttl_s=30).refresh_s == pytest.approx(10)


@pytest.mark.parametrize(
    ("resync_s", "address_ttl_s", "expected"),
    [(20.0, None, 40), (0.5, None, 3), (1.7, None, 4), (20.0, 3, 3)],
)
def test_addresses_live_two_resyncs_unless_told_otherwise(resync_s, address_ttl_s, expected):
    made = SimpleSettings(resync_s=resync_s, address_ttl_s=address_ttl_s)
    assert made.lifetime_s == expected


def test_the_kernel_counts_whole_seconds():
    assert WHOLE_SECONDS.parse("3.2s") == WHOLE_SECONDS.parse("4s") == 4


def test_what_is_least_of_each_flag_is_taken():
    AddressSettings(resync_s=MIN_RESYNC_S, address_ttl_s=MIN_ADDRESS_TTL_S, probe_s=MIN_PROBE_S)
