"""Debian packages of the lab: nothing where all is there, and never a daemon started."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.lab import binaries, packages
from tests.lab.packages import InstallError, install, missing, no_daemon_starts


@pytest.fixture(autouse=True)
def machine(tmp_path, monkeypatch):
    """Make a machine of its own: every tool the lab runs is there, and we are root."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for need in packages.RUN:
        script(folder / need.what, "exit 0")
    monkeypatch.setenv("PATH", str(folder))
    monkeypatch.setattr(
        binaries, "find_tool", lambda what: folder / what if (folder / what).exists() else None
    )
    monkeypatch.setattr(binaries, "needs_build", lambda: False)
    monkeypatch.setattr(packages, "POLICY", tmp_path / "policy-rc.d")
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(sys, "base_prefix", "/opt/python")
    return folder


def script(path: Path, body: str) -> None:
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)


def recorder(folder: Path, body: str = "") -> Path:
    """Make apt-get and update-rc.d write down their arguments, then run `body`."""
    calls = folder / "calls"
    for name in ("apt-get", "update-rc.d"):
        script(folder / name, f'echo "{name} $*" >> {calls}\n{body}')
    return calls


def test_nothing_is_said_or_done_where_everything_is_there(machine, capsys):
    calls = recorder(machine)
    assert packages.main() == 0
    assert capsys.readouterr() == ("", "")
    assert not calls.exists()


def test_what_the_build_takes_is_wanted_only_for_a_build(machine):
    assert missing(build=False) == []
    assert {need.package for need in missing(build=True)} >= {"dpkg-dev", "jq", "rsync"}


def test_it_says_first_what_it_installs_and_checks_that_it_is_there_then(machine, capsys):
    (machine / "bird").unlink()
    (machine / "nft").unlink()
    assert missing(build=False) != []
    recorder(machine, f"case $* in *install*) :> {machine}/bird; :> {machine}/nft;; esac")
    assert packages.main() == 0
    lines = capsys.readouterr().err.splitlines()
    assert lines[0].endswith("installing Debian packages: bird2 nftables")
    assert "installed in" in lines[1]


def test_an_installation_that_brings_nothing_is_not_called_a_success(machine, capsys):
    (machine / "bird").unlink()
    recorder(machine)
    assert packages.main() == 2
    assert "not found: bird" in capsys.readouterr().err


def test_daemons_do_not_start_at_boot_either(machine):
    needs = [need for need in packages.RUN if need.what in {"etcd", "curl"}]
    calls = recorder(machine)
    install(needs)
    asked = calls.read_text().splitlines()
    assert asked[0].endswith("--no-remove curl etcd-server")
    assert asked[1:] == ["update-rc.d etcd disable"]


def test_lists_are_read_only_when_the_installation_fails_without(machine):
    once = machine / "once"
    calls = recorder(
        machine, f"case $* in *install*) [ -e {once} ] || {{ : > {once}; exit 100; }};; esac"
    )
    install([packages.Need("jq", "jq")])
    asked = calls.read_text().splitlines()
    verbs = [line.split("-o Acquire::Retries=2 ")[1].split()[0] for line in asked]
    assert verbs == ["install", "update", "install"]


def test_no_network_is_one_line_that_names_the_cause_and_the_packages(machine, capsys):
    (machine / "jq").unlink(missing_ok=True)
    (machine / "etcd").unlink()
    recorder(
        machine,
        'case $* in *update*) echo "E: Could not resolve mirror.example";;'
        ' *) echo "E: Unable to locate package";; esac; exit 100',
    )
    assert packages.main() == 2
    line = capsys.readouterr().err.splitlines()[-1]
    assert "Could not resolve mirror.example" in line
    assert line.endswith("apt-get install --no-install-recommends etcd-server")


def test_only_root_installs(machine, monkeypatch, capsys):
    (machine / "etcd").unlink()
    calls = recorder(machine)
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert packages.main() == 2
    assert "only root" in capsys.readouterr().err
    assert not calls.exists()


def test_a_machine_without_apt_is_told_so(machine):
    with pytest.raises(InstallError, match="no apt-get"):
        install([packages.Need("jq", "jq")])


def answer(policy: Path) -> int:
    """Ask the policy as invoke-rc.d does."""
    return subprocess.run((policy, "etcd", "start"), check=False).returncode


def test_daemons_are_denied_meanwhile_and_no_policy_stays(tmp_path):
    policy = tmp_path / "policy-rc.d"
    answers = []

    def fail() -> None:
        with no_daemon_starts(policy):
            answers.append(answer(policy))
            raise InstallError

    with pytest.raises(InstallError):
        fail()
    assert answers == [101]
    assert not list(tmp_path.glob("policy*"))


def test_a_permissive_policy_is_put_back_as_it_was(tmp_path):
    policy = tmp_path / "policy-rc.d"
    script(policy, "exit 104")
    policy.chmod(0o711)
    before = (policy.read_bytes(), policy.stat().st_mode)
    with no_daemon_starts(policy):
        assert answer(policy) == 101
    assert (policy.read_bytes(), policy.stat().st_mode) == before
    assert [path.name for path in tmp_path.glob("policy*")] == ["policy-rc.d"]


def test_a_policy_that_denies_already_is_left_alone(tmp_path):
    policy = tmp_path / "policy-rc.d"
    script(policy, "exit 101")
    before = policy.stat()
    with no_daemon_starts(policy):
        assert policy.stat() == before
    assert policy.stat() == before


@pytest.mark.parametrize("existed", [True, False])
def test_a_policy_left_by_a_killed_installation_denies_nothing(existed, tmp_path):
    policy = tmp_path / "policy-rc.d"
    if existed:
        script(policy, "exit 104")
    code = (
        "import os, pathlib, sys; from tests.lab.packages import no_daemon_starts\n"
        "with no_daemon_starts(pathlib.Path(sys.argv[1])): os.kill(os.getpid(), 9)"
    )
    killed = subprocess.run(
        (sys.executable, "-c", code, policy),
        cwd=Path(packages.__file__).parents[2],
        check=False,
    )
    assert killed.returncode == -signal.SIGKILL
    assert packages.POLICY_MARK in policy.read_text()
    assert answer(policy) == (104 if existed else 0)
    with no_daemon_starts(policy):
        assert answer(policy) == 101
    assert policy.exists() == existed
    assert not existed or "exit 104" in policy.read_text().splitlines()
