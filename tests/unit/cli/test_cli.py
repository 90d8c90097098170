"""A person's mistake gets one line that says what to do, and an exit code that means something."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from click.testing import CliRunner

from extip import settings as settings_module
from extip.cli import cli
from extip.cli.values import parse_network
from extip.errors import UnansweredError
from extip.modes import simple as simple_mode

KUBECONFIG_OF_NOTHING = """
apiVersion: v1
kind: Config
clusters: [{name: c, cluster: {server: "https://127.0.0.1:1"}}]
users: [{name: u, user: {token: t}}]
contexts: [{name: x, context: {cluster: c, user: u}}]
current-context: x
"""


def extip(*arguments, **environment):
    return subprocess.run(
        [sys.executable, "-m", "extip", *arguments],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
        env={**os.environ, **environment},
    )


def chosen(monkeypatch, *arguments, **environment):
    """Return the settings that a command line leads to."""
    seen = []

    async def run(settings):
        seen.append(settings)

    monkeypatch.setattr(simple_mode, "run", run)
    result = CliRunner().invoke(
        cli, ["simple", *arguments], env=environment, auto_envvar_prefix="EXTIP"
    )
    assert result.exit_code == 0, result.output
    return seen[0]


def test_defaults_are_those_of_the_specification(monkeypatch):
    made = chosen(monkeypatch)
    assert made.address.iface == "eth0"
    assert (made.address.mask, made.address.mask_v6) == (32, 128)
    assert made.address.resync_s == 20
    assert made.address.address_ttl_s == 40
    assert made.address.on_exit == "release"
    assert made.address.probe_s == pytest.approx(0.2)
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
        "allow": "ns/web=10.1.0.0/24",
        "probe": "1s",
        "kubeconfig": "/etc/k",
        "http": "",
        "namespace-selector": "edge=yes",
        "service-selector": "app=web",
    }
    by_flag = chosen(monkeypatch, *(f"--{name}={value}" for name, value in flags.items()))
    by_environment = chosen(
        monkeypatch,
        **{f"EXTIP_SIMPLE_{n.upper().replace('-', '_')}": v for n, v in flags.items()},
    )
    assert by_flag == by_environment
    assert by_flag == settings_module.simple_settings(
        iface="lan1",
        mask=24,
        mask_v6=64,
        resync=90.0,
        address_ttl=9.0,
        on_exit="keep",
        allow_cidr=(parse_network("10.0.0.0/8"),),
        allow=(("web", parse_network("10.1.0.0/24")),),
        probe=1.0,
        kubeconfig="/etc/k",
        namespace_selector="edge=yes",
        service_selector="app=web",
        http=None,
    )


def test_http_by_the_environment_gives_way_to_the_flag(monkeypatch):
    assert chosen(monkeypatch, EXTIP_SIMPLE_HTTP="127.0.0.1:1").http == ("127.0.0.1", 1)
    assert chosen(monkeypatch, "--http=[::1]:2", EXTIP_SIMPLE_HTTP="").http == ("::1", 2)
    assert chosen(monkeypatch, "--http=", EXTIP_SIMPLE_HTTP="127.0.0.1:1").http is None


def test_what_is_repeatable_is_separated_by_blanks_in_the_environment(monkeypatch):
    settings = chosen(
        monkeypatch,
        EXTIP_SIMPLE_ALLOW_CIDR="10.0.0.0/8 fd00::/8",
        EXTIP_SIMPLE_ALLOW="ns/a=10.1.0.0/24 ns/b=10.2.0.0/24",
    )
    assert settings == chosen(
        monkeypatch,
        "--allow-cidr=10.0.0.0/8",
        "--allow-cidr=fd00::/8",
        "--allow=ns/a=10.1.0.0/24",
        "--allow=ns/b=10.2.0.0/24",
    )


def test_flags_of_the_process_by_the_environment(tmp_path):
    (tmp_path / "config").write_text("current-context: x")
    ended = extip(
        "simple",
        EXTIP_SIMPLE_KUBECONFIG=str(tmp_path / "config"),
        EXTIP_SIMPLE_LOG_LEVEL="error",
        EXTIP_SIMPLE_LOG_FORMAT="xml",
    )
    assert (ended.returncode, "xml" in ended.stderr) == (2, True)
    told = {
        level: extip(
            "simple",
            EXTIP_SIMPLE_KUBECONFIG=str(tmp_path / "config"),
            EXTIP_SIMPLE_LOG_LEVEL=level,
            EXTIP_SIMPLE_LOG_FORMAT="json",
            EXTIP_SIMPLE_DRY_RUN=dry,
        ).stderr
        for level, dry in (("info", "false"), ("error", "0"), ("debug", "true"))
    }
    assert ['"event":"started"' in told[level] for level in told] == [True, False, False]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["simple", "--resync", "20"], "not a duration"),
        (["simple", "--mask", "33"], "--mask"),
        (["simple", "--allow-cidr", "10.0.0.1/8"], "host bits"),
        (["simple", "--allow", "web=10.1.0.0/24"], "ns/NAMESPACE=NETWORK"),
        (["simple", "--allow", "ns/Web=10.1.0.0/24"], "ns/NAMESPACE=NETWORK"),
        (["simple", "--allow", "ns/web=10.1.0.1/24"], "host bits"),
        (["simple", "--on-exit", "stay"], "--on-exit"),
        (["simple", "--http", "9188"], "host:port"),
        (["simple", "--http", "a..b:80"], "host:port"),
        (["simple", "--service-selector", "a b"], "--service-selector"),
        (["simple", "--namespace-selector", "a=b=c"], "is not a label selector"),
        (["simple", "--resync", "2000000h"], "longer than 30 days"),
        (["simple", "--address-ttl", "2000000h"], "longer than 30 days"),
        (["simple", "--address-ttl", "1s"], "--address-ttl must be at least 3 s"),
        (["simple", "--iface", "no/such"], "cannot be the name of an interface"),
        (["simple", "--kubeconfig", "/does/not/exist"], "/does/not/exist"),
        (["simple"], "--kubeconfig"),
        (["simpel"], "simpel"),
    ],
)
def test_mistakes_exit_with_2_and_no_traceback(arguments, says):
    result = extip(*arguments)
    assert result.returncode == 2, result.stderr
    assert says in result.stderr
    assert "Traceback" not in result.stderr


def test_help_and_version_load_no_library_but_click():
    script = (
        "import sys; sys.argv = ['extip', '--help']\n"
        "from extip.cli import main\n"
        "try:\n    main()\nexcept SystemExit: pass\n"
        "heavy = {'asyncio', 'aiohttp', 'kubernetes_asyncio', 'pyroute2', 'structlog'}\n"
        "sys.exit(str(heavy & set(sys.modules)) if heavy & set(sys.modules) else 0)\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=30, check=False
    )
    assert result.returncode == 0, result.stderr
    assert "simple" in result.stdout


def test_a_dry_run_without_an_api_server_says_so(tmp_path, monkeypatch):
    (tmp_path / "config").write_text(KUBECONFIG_OF_NOTHING)
    monkeypatch.setattr(simple_mode, "_DRY_RUN_S", 0.5)
    result = CliRunner().invoke(
        cli, ["simple", "--dry-run", "--kubeconfig", str(tmp_path / "config")]
    )
    assert isinstance(result.exception, UnansweredError)
    assert "did not answer" in str(result.exception)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("mode", ["simple", "controller", "scheduler"])
def test_a_signal_ends_the_start_in_order(tmp_path, mode, number):
    asked = tmp_path / "asked"
    path = tmp_path / "kubeconfig"
    plugin = f"{{apiVersion: v1, command: sh, args: [-c, 'echo $$ > {asked}; exec sleep 3600']}}"
    path.write_text(KUBECONFIG_OF_NOTHING.replace("{token: t}", f"{{exec: {plugin}}}"))
    with subprocess.Popen(
        [sys.executable, "-m", "extip", mode, "--kubeconfig", str(path), "--http", ""],
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        while not (asked.exists() and asked.read_text().strip()):
            assert process.poll() is None
            time.sleep(0.05)
        process.send_signal(number)
        said = process.communicate(timeout=120)[1]
    assert process.returncode == 0, said
    assert said.splitlines()[-1] == f"extip: stopped by {number.name} before it was up"
    assert not Path("/proc", asked.read_text().strip()).exists()  # the plugin has ended, too
