"""A person's mistake gets one line that says what to do, and an exit code that means something."""

import json
import os
import signal
import subprocess
import sys
import time
import tomllib
from pathlib import Path

import pytest
from click.testing import CliRunner

from extip.cli import cli
from extip.errors import UnansweredError
from extip.modes import dry_run
from extip.net.link_selection import LinkSelection
from extip.settings.flags import parse_network
from extip.settings.simple import SimpleSettings

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


def test_defaults_are_those_of_the_specification(chosen):
    made = chosen("simple")
    assert made.iface == "eth0"
    assert (made.masks.v4, made.masks.v6) == (32, 128)
    assert made.resync_s == 20
    assert made.lifetime_s == 40
    assert made.on_exit == "release"
    assert made.probe_s == pytest.approx(0.2)
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
        "allow": "ns/web=10.1.0.0/24",
        "probe": "1s",
        "kubeconfig": "/etc/k",
        "http": "",
        "namespace-selector": "edge=yes",
        "service-selector": "app=web",
    }
    by_flag = chosen("simple", *(f"--{name}={value}" for name, value in flags.items()))
    by_environment = chosen(
        "simple",
        **{f"EXTIP_SIMPLE_{n.upper().replace('-', '_')}": v for n, v in flags.items()},
    )
    assert by_flag == by_environment
    assert by_flag == SimpleSettings(
        iface="lan1",
        mask=24,
        mask_v6=64,
        resync_s=90.0,
        address_ttl_s=9,
        on_exit="keep",
        allow_cidr=(parse_network("10.0.0.0/8"),),
        allow=(("web", parse_network("10.1.0.0/24")),),
        probe_s=1.0,
        kubeconfig="/etc/k",
        namespace_selector="edge=yes",
        service_selector="app=web",
        http=None,
    )


def test_http_by_the_environment_gives_way_to_the_flag(chosen):
    assert chosen("simple", EXTIP_SIMPLE_HTTP="127.0.0.1:1").http == ("127.0.0.1", 1)
    assert chosen("simple", "--http=[::1]:2", EXTIP_SIMPLE_HTTP="").http == ("::1", 2)
    assert chosen("simple", "--http=", EXTIP_SIMPLE_HTTP="127.0.0.1:1").http is None


def test_what_is_repeatable_is_separated_by_blanks_in_the_environment(chosen):
    settings = chosen(
        "simple",
        EXTIP_SIMPLE_ALLOW_CIDR="10.0.0.0/8 fd00::/8",
        EXTIP_SIMPLE_ALLOW="ns/a=10.1.0.0/24 ns/b=10.2.0.0/24",
    )
    assert settings == chosen(
        "simple",
        "--allow-cidr=10.0.0.0/8",
        "--allow-cidr=fd00::/8",
        "--allow=ns/a=10.1.0.0/24",
        "--allow=ns/b=10.2.0.0/24",
    )


def test_interfaces_are_a_list_however_they_are_given(chosen):
    given = [
        chosen("simple", "--iface=lan0", "--iface=dmz*,auto"),
        chosen("simple", "--iface=lan0,dmz*,auto"),
        chosen("simple", EXTIP_SIMPLE_IFACE="lan0 dmz*,auto"),
    ]
    assert {made.iface for made in given} == {"lan0,dmz*,auto"}
    assert given[0].links == LinkSelection(("lan0", "dmz*", "auto"))


def test_a_daemon_logs_the_flags_that_it_was_given():
    flags = ["--resync=1m30s", "--allow-cidr=10.0.0.0/8", "--allow=ns/web=10.1.0.0/24"]
    ended = extip("simple", *flags, EXTIP_SIMPLE_HTTP="[::1]:1", EXTIP_SIMPLE_LOG_FORMAT="json")
    (line,) = (line for line in ended.stderr.splitlines() if "flags_given" in line)
    assert set(json.loads(line)["flags"].split()) == {
        "--resync=90s",
        "--allow-cidr=10.0.0.0/8",
        "--allow=ns/web=10.1.0.0/24",
        "--http=[::1]:1",
        "--log-format=json",
    }


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
        (["simple", "--mask", "33"], "--mask': '33' is not a whole number from 1 to 32"),
        (["simple", "--mask", "/24"], "--mask': '/24' is not a whole number from 1 to 32"),
        (["controller", "--monitor", "3s"], "'--monitor' here: it is one of `extip scheduler`"),
        (["scheduler", "--iface", "x"], "it is one of `extip simple` and `extip controller`"),
        (["scheduler", "--ifacs", "x"], "No such option '--ifacs'"),
        (["simple", "--allow-cidr", "10.0.0.1/8"], "host bits"),
        (["simple", "--allow-cidr", "10.0.0.1/8"], "is 10.0.0.0/8 meant?"),
        (["simple", "--allow-cidr", "10.0.1.0"], "for one address write 10.0.1.0/32"),
        (["simple", "--allow-cidr", "fd00::"], "for one address write fd00::/128"),
        (["simple", "--allow-cidr", "10.0.0.0/8,fd00::/8"], "give the flag once for each"),
        (["simple", "--allow-cidr", "lan"], "'lan' is not a network, such as 10.0.0.0/24"),
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
        (["simple", "--address-ttl", "1s"], "--address-ttl must be at least 3s"),
        (["simple", "--iface", "no/such"], "cannot be the name of an interface"),
        (["scheduler", "--instance", "Team A"], "cannot be the name of an instance"),
        (["status", "--instance", "Team A"], "cannot be the name of an instance"),
        (["migrate", "services", "--instance", "Team A"], "cannot be the name of an instance"),
        (["simple", "--kubeconfig", "/does/not/exist"], "/does/not/exist"),
        (["simple"], "--kubeconfig"),
        (["simpel"], "No such command 'simpel'. Did you mean 'simple'?"),
        (["manifest"], "No such command 'manifest'. Did you mean 'manifests'?"),
        (["crd"], "Did you mean 'crds'?"),
        (["stat"], "Did you mean 'status'?"),
        (["xyz"], "No such command 'xyz' ("),
    ],
)
def test_mistakes_exit_with_2_and_no_traceback(arguments, says):
    result = extip(*arguments)
    assert result.returncode == 2, result.stderr
    assert says in result.stderr
    *logged, last = result.stderr.splitlines()
    assert last.startswith("extip: ")
    assert all(" started " in line or " flags_given " in line for line in logged)


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


@pytest.mark.parametrize("mode", ["simple", "controller", "scheduler"])
def test_a_mode_imports_nothing_heavy_that_it_does_not_use(mode):
    script = (
        "import sys\n"
        f"import extip.modes.{mode}\n"
        "heavy = {'ctypes', 'kubernetes_asyncio', 'urllib3', 'yaml'}\n"
        "sys.exit(str(heavy & set(sys.modules)) if heavy & set(sys.modules) else 0)\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False
    )
    assert result.returncode == 0, result.stderr


def test_a_dry_run_without_an_api_server_says_so(tmp_path, monkeypatch):
    (tmp_path / "config").write_text(KUBECONFIG_OF_NOTHING)
    monkeypatch.setattr(dry_run, "_DRY_RUN_S", 0.5)
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


@pytest.mark.parametrize(
    "command",
    [["status"], ["drain", "n1"], ["crds", "--apply"], ["migrate", "services", "--all"]],
)
def test_commands_for_people_find_the_cluster_as_kubectl_does(tmp_path, command):
    """Nothing answers there: the message tells which cluster was meant."""
    home = tmp_path / "home"
    (home / ".kube").mkdir(parents=True)
    found = {
        "home": {"HOME": str(home), "KUBECONFIG": ""},
        "named": {"HOME": str(home), "KUBECONFIG": f"{tmp_path}/none:{tmp_path}/named"},
    }
    for number, (name, environment) in enumerate(found.items(), start=1):
        content = KUBECONFIG_OF_NOTHING.replace("127.0.0.1:1", f"127.0.0.1:{number}")
        path = home / ".kube/config" if name == "home" else tmp_path / "named"
        path.write_text(content)
        ended = extip(*command, **environment)
        assert f"127.0.0.1:{number}" in ended.stderr
        assert (ended.returncode, ended.stderr.count("\n")) == (5, 1)
        refused = extip(*command, "--context=y", **environment)
        assert "there is no 'y' among its contexts (x)" in refused.stderr
        assert (refused.returncode, refused.stderr.count("\n")) == (2, 1)


def test_it_is_a_plugin_of_kubectl(tmp_path):
    program = tmp_path / "kubectl-extip"
    program.write_text(
        f"#!{sys.executable}\nfrom extip.__main__ import main\nmain()\n", encoding="utf-8"
    )
    program.chmod(0o755)

    def run(*arguments):
        return subprocess.run(
            [program, *arguments], capture_output=True, text=True, timeout=30, check=False
        )

    assert "Usage: kubectl extip status" in run("status", "--help").stdout
    assert "`kubectl extip drain --help`" in run("drain").stderr
    assert "Usage: kubectl extip migrate services" in run("migrate", "services", "--help").stdout
    scripts = tomllib.loads((Path(__file__).parents[3] / "pyproject.toml").read_text())
    names = scripts["project"]["scripts"]
    assert names["kubectl-extip"] == names["extip"] == "extip.__main__:main"


def test_a_command_without_anything_shows_its_help():
    ended = extip()
    assert (ended.returncode, "Commands:" in ended.stderr) == (2, True)
