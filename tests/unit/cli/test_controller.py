"""Flags of `extip controller` reach their settings, and mistakes get a line that helps."""

import os
import subprocess
import sys
from dataclasses import replace
from math import ceil
from socket import gethostname

import pytest
from click.testing import CliRunner

from extip import settings as settings_module
from extip.cli import cli
from extip.cli.values import parse_network
from extip.errors import ConfigurationError
from extip.modes import controller as mode


def chosen(monkeypatch, *arguments, **environment):
    """Return the settings that a command line leads to."""
    seen = []

    async def run(settings):
        seen.append(settings)

    monkeypatch.setattr(mode, "run", run)
    result = CliRunner().invoke(
        cli, ["controller", *arguments], env=environment, auto_envvar_prefix="EXTIP"
    )
    assert result.exit_code == 0, result.output
    return seen[0]


def test_defaults_are_those_of_the_specification(monkeypatch, tmp_path):
    monkeypatch.setattr(settings_module, "_NAMESPACE_FILE", str(tmp_path / "none"))
    made = chosen(monkeypatch)
    assert made.address.iface == "eth0"
    assert (made.address.mask, made.address.mask_v6) == (32, 128)
    assert made.address.resync_s == 20
    assert made.address.address_ttl_s == 6
    assert made.address.on_exit == "release"
    assert made.address.probe_s == pytest.approx(0.2)
    assert made.heartbeat_s == 2
    assert made.drain_timeout_s == 5
    assert made.on_api_loss == "hold"
    assert made.node == gethostname().lower()
    assert made.namespace == "kube-system"
    assert made.kubeconfig == ""
    assert made.http == ("127.0.0.1", 9188)


def test_every_flag_reaches_its_setting(monkeypatch):
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
    by_flag = chosen(monkeypatch, *(f"--{name}={value}" for name, value in flags.items()))
    by_environment = chosen(
        monkeypatch,
        **{f"EXTIP_CONTROLLER_{n.upper().replace('-', '_')}": v for n, v in flags.items()},
    )
    assert by_flag == by_environment
    assert by_flag == settings_module.controller_settings(
        iface="lan1",
        mask=24,
        mask_v6=64,
        resync=90.0,
        address_ttl=9.0,
        on_exit="keep",
        allow_cidr=(parse_network("10.0.0.0/8"),),
        probe=1.0,
        kubeconfig="/etc/k",
        hb=0.5,
        hostname="node.example.org",
        drain_timeout=7.0,
        on_api_loss="release",
        namespace="extip",
        http=("127.0.0.1", 1),
    )
    assert by_flag.address.address_ttl_s == 9


@pytest.mark.parametrize(
    ("hb", "ttl_s", "trust_s"),
    [("2s", 6, 4.0), ("100ms", 3, 1.0), ("800ms", 3, 1.6), ("1s", 3, 2.0), ("30s", 90, 60.0)],
)
def test_lifetimes_follow_the_heartbeat(monkeypatch, hb, ttl_s, trust_s):
    made = chosen(monkeypatch, f"--hb={hb}")
    assert made.address.address_ttl_s == ttl_s
    assert made.trust_s == pytest.approx(trust_s)


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
def test_for_how_long_the_ips_cannot_be_another_nodes(monkeypatch, flags, lease_s):
    assert chosen(monkeypatch, *flags).lease_s == pytest.approx(lease_s)


def test_nothing_is_believed_for_longer_than_addresses_surely_live(monkeypatch):
    made = chosen(monkeypatch, "--hb=1500ms", "--address-ttl=3s")
    assert made.trust_s == 2
    assert replace(made, heartbeat_s=0.1).trust_s == 1


@pytest.mark.parametrize("hb_s", [0.05, 0.4, 1.5, 2, 4, 10, 3600])
def test_what_is_known_is_trusted_from_one_heartbeat_to_the_next(monkeypatch, hb_s):
    """Else a stop would often not be in order; heartbeats come up to a tenth late."""
    shortest_s = max(3, ceil(2 * hb_s))
    made = chosen(monkeypatch, f"--hb={hb_s}s", f"--address-ttl={shortest_s}s")
    assert made.trust_s >= 1.3 * hb_s


def test_the_namespace_is_that_of_the_pod(monkeypatch, tmp_path):
    path = tmp_path / "namespace"
    path.write_text("edge\n")
    monkeypatch.setattr(settings_module, "_NAMESPACE_FILE", str(path))
    assert chosen(monkeypatch).namespace == "edge"
    assert chosen(monkeypatch, "--namespace=other").namespace == "other"


@pytest.mark.parametrize("name", ["Node", "a_b", "-a", "a..b", "a" * 243, "a b"])
def test_names_that_no_node_can_have(name):
    with pytest.raises(ConfigurationError, match="--hostname"):
        settings_module.controller_settings(
            iface="eth0",
            mask=32,
            mask_v6=128,
            resync=20,
            address_ttl=None,
            on_exit="release",
            allow_cidr=(),
            probe=0.2,
            kubeconfig="",
            hb=2,
            hostname=name,
            drain_timeout=5,
            on_api_loss="hold",
            namespace="",
            http=None,
        )


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--hb", "2"], "not a duration"),
        (["--hb", "10ms"], "--hb must be at least"),
        (["--hostname", "No_Name"], "--hostname"),
        (["--address-ttl", "1s"], "--address-ttl must be at least 3 s"),
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
