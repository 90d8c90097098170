"""Flags of `extip controller` reach their settings, and mistakes get a line that helps."""

import os
import subprocess
import sys
from dataclasses import replace
from math import ceil
from socket import gethostname

import pytest

from extip.errors import ConfigurationError
from extip.settings import process
from extip.settings.controller import ControllerSettings
from extip.settings.flags import parse_network


def test_defaults_are_those_of_the_specification(chosen, monkeypatch, tmp_path):
    monkeypatch.setattr(process, "_NAMESPACE_FILE", str(tmp_path / "none"))
    made = chosen("controller")
    assert made.iface == "eth0"
    assert (made.masks.v4, made.masks.v6) == (32, 128)
    assert made.resync_s == 20
    assert made.lifetime_s == 6
    assert made.on_exit == "release"
    assert made.probe_s == pytest.approx(0.2)
    assert made.heartbeat_s == 2
    assert made.drain_timeout_s == 5
    assert made.on_api_loss == "hold"
    assert made.node == gethostname().lower()
    assert made.namespace == "kube-system"
    assert made.kubeconfig == ""
    assert made.http == ("127.0.0.1", 9188)


def test_every_flag_reaches_its_setting(chosen):
    flags = {
        "iface": "lan1",
        "mask": "24",
        "mask-v6": "64",
        "resync": "1m30s",
        "address-ttl": "9s",
        "on-exit": "keep",
        "allow-cidr": "10.0.0.0/8",
        "probe": "1s",
        "kubeconfig": "/etc/k",
        "hb": "500ms",
        "hostname": "node.example.org",
        "drain-timeout": "7s",
        "on-api-loss": "release",
        "namespace": "extip",
        "http": "127.0.0.1:1",
    }
    by_flag = chosen("controller", *(f"--{name}={value}" for name, value in flags.items()))
    by_environment = chosen(
        "controller",
        **{f"EXTIP_CONTROLLER_{n.upper().replace('-', '_')}": v for n, v in flags.items()},
    )
    assert by_flag == by_environment
    assert by_flag == ControllerSettings(
        iface="lan1",
        mask=24,
        mask_v6=64,
        resync_s=90.0,
        address_ttl_s=9,
        on_exit="keep",
        allow_cidr=(parse_network("10.0.0.0/8"),),
        probe_s=1.0,
        kubeconfig="/etc/k",
        heartbeat_s=0.5,
        node="node.example.org",
        drain_timeout_s=7.0,
        on_api_loss="release",
        namespace="extip",
        http=("127.0.0.1", 1),
    )
    assert by_flag.lifetime_s == 9


@pytest.mark.parametrize(
    ("hb", "ttl_s", "cache_valid_s"),
    [("2s", 6, 4.0), ("100ms", 3, 1.0), ("800ms", 3, 1.6), ("1s", 3, 2.0), ("30s", 90, 60.0)],
)
def test_lifetimes_follow_the_heartbeat(chosen, hb, ttl_s, cache_valid_s):
    made = chosen("controller", f"--hb={hb}")
    assert made.lifetime_s == ttl_s
    assert made.cache_valid_s == pytest.approx(cache_valid_s)


@pytest.mark.parametrize(
    ("flags", "lease_s"),
    [
        (["--hb=2s"], 4.0),
        (["--hb=100ms"], 0.2),
        (["--hb=2s", "--on-api-loss=release"], 7.0),
        (["--hb=2s", "--on-api-loss=release", "--address-ttl=4s"], 5.0),
        (["--hb=1s", "--on-api-loss=release", "--address-ttl=3s"], 4.0),
    ],
)
def test_for_how_long_the_ips_cannot_be_another_nodes(chosen, flags, lease_s):
    assert chosen("controller", *flags).lease_s == pytest.approx(lease_s)


def test_nothing_is_believed_for_longer_than_addresses_surely_live(chosen):
    made = chosen("controller", "--hb=1500ms", "--address-ttl=3s")
    assert made.cache_valid_s == made.cache_valid_at_most_s == 2
    assert replace(made, heartbeat_s=0.1).cache_valid_s == 1


@pytest.mark.parametrize("hb_s", [0.05, 0.4, 1.5, 2, 4, 10, 3600])
def test_what_is_known_is_trusted_from_one_heartbeat_to_the_next(chosen, hb_s):
    """Else a stop would often not be in order; heartbeats come up to a tenth late."""
    shortest_s = max(3, ceil(2 * hb_s))
    made = chosen("controller", f"--hb={hb_s}s", f"--address-ttl={shortest_s}s")
    assert made.cache_valid_s >= 1.3 * hb_s


def test_the_namespace_is_that_of_the_pod(chosen, monkeypatch, tmp_path):
    path = tmp_path / "namespace"
    path.write_text("edge\n")
    monkeypatch.setattr(process, "_NAMESPACE_FILE", str(path))
    assert chosen("controller").namespace == "edge"
    assert chosen("controller", "--namespace=other").namespace == "other"


@pytest.mark.parametrize("name", ["Node", "a_b", "-a", "a..b", "a" * 243, "a b"])
def test_names_that_no_node_can_have(name):
    with pytest.raises(ConfigurationError, match="--hostname"):
        ControllerSettings(node=name)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--hb", "2"], "not a duration"),
        (["--hb", "10ms"], "--hb must be at least 50ms"),
        (["--hostname", "No_Name"], "--hostname"),
        (["--address-ttl", "1s"], "--address-ttl must be at least 3s"),
        (["--address-ttl", "3s", "--on-api-loss", "release"], "at least two heartbeats"),
        (["--address-ttl", "3s"], "at least two heartbeats"),
        (["--address-ttl", "7s", "--hb", "4s"], "at least two heartbeats"),
        (["--kubeconfig", "/does/not/exist"], "/does/not/exist"),
    ],
)
def test_mistakes_exit_with_2_and_no_traceback(arguments, says):
    result = subprocess.run(
        [sys.executable, "-m", "extip", "controller", *arguments],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
        env=dict(os.environ),
    )
    assert result.returncode == 2, result.stderr
    assert says in result.stderr
    assert "Traceback" not in result.stderr
