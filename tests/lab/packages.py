"""Installs what the lab needs from Debian: `python -m tests.lab.packages`.

It says first what it installs and does nothing, in a few milliseconds, where everything is there.
A program counts as there when it can be found; where it came from does not matter. What only
building the Kubernetes binaries takes (see `tests.lab.kubernetes_build`) is installed only when
they are neither given nor in the cache.

Daemons among the packages (etcd, BIRD, FRR, keepalived, Prometheus) are neither started nor left to
start at boot: the lab runs its own in namespaces. No question is ever asked, no package is removed
or upgraded.

Only the standard library: it runs with the system's python3 before a virtual environment exists.
"""

import contextlib
import importlib.util
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.lab import binaries, kubernetes_build

POLICY = Path("/usr/sbin/policy-rc.d")
POLICY_MARK = "# extip: no daemon starts while its lab's packages are installed"


@dataclass(frozen=True, slots=True)
class Need:
    """Something the lab runs or reads, and the Debian package that brings it."""

    what: str
    """A program's name, or the absolute path of a file."""
    package: str
    service: str = ""
    """The daemon that the package would start at boot; empty for none."""


RUN = (
    Need("etcd", "etcd-server", service="etcd"),
    Need("kubectl", "kubernetes-client"),
    Need("ip", "iproute2"),
    Need("iptables", "iptables"),  # kube-proxy's rules
    Need("conntrack", "conntrack"),  # kube-proxy drops stale UDP entries with it
    Need("nft", "nftables"),  # the lab's cuts
    Need("bird", "bird2", service="bird"),  # the ECMP router, and the BGP daemon of its nodes
    Need("vtysh", "frr", service="frr"),  # the other BGP daemon of them
    Need("keepalived", "keepalived", service="keepalived"),  # a baseline of the benchmarks
    Need("promtool", "prometheus", service="prometheus"),  # it checks the alerts
    Need("chromium-headless-shell", "chromium-headless-shell"),  # looks at the page
    Need("curl", "curl"),
    Need("openssl", "openssl"),  # the service-account key
    Need("unshare", "util-linux"),
    Need("sysctl", "procps"),
)
BUILD = tuple(Need(what, package) for what, package in kubernetes_build.NEEDS.items())
VENV = Need("ensurepip", "python3-venv")


class InstallError(Exception):
    """The packages cannot be installed; its text is one line for a person."""


def missing(*, build: bool) -> list[Need]:
    """Return what is not there; with `build` also what the Kubernetes build takes."""
    needs = [need for need in RUN + (BUILD if build else ()) if not binaries.find_tool(need.what)]
    # Debian splits the module off its own interpreter; every other one has it.
    if sys.base_prefix == "/usr" and importlib.util.find_spec(VENV.what) is None:
        needs.append(VENV)
    return needs


def install(needs: Sequence[Need]) -> None:
    """Install the packages of `needs` without starting their daemons, now or at boot.

    Raises `InstallError` where it is not possible: not root, no apt, no network.
    """
    packages = sorted({need.package for need in needs})
    if shutil.which("apt-get") is None:
        raise InstallError("this machine has no apt-get")
    if os.geteuid() != 0:
        raise InstallError("only root can install packages")
    with no_daemon_starts(POLICY):
        _install(packages)
    for service in sorted({need.service for need in needs} - {""}):
        _run(("update-rc.d", service, "disable"))


def _install(packages: Sequence[str]) -> None:
    command = _apt("install", "--yes", "--no-install-recommends", "--no-remove", *packages)
    try:
        _run(command)
    except InstallError:  # no package lists, or they name versions that the mirror has no more
        stale = _complaint_of(_apt("update", "-o", "APT::Update::Error-Mode=any"))
        try:
            _run(command)
        except InstallError as error:  # if the update failed, too, that is the cause
            raise InstallError(stale or str(error)) from error


def _complaint_of(command: Sequence[str]) -> str:
    try:
        _run(command)
    except InstallError as error:
        return str(error)
    return ""


def _apt(*arguments: str) -> tuple[str, ...]:
    # Another apt may be at work (unattended upgrades): wait for it, in seconds.
    options = ("DPkg::Lock::Timeout=300", "Dpkg::Options::=--force-confold", "Acquire::Retries=2")
    return ("apt-get", "-q", *(word for option in options for word in ("-o", option)), *arguments)


def _run(command: Sequence[str]) -> None:
    environment = os.environ | {
        "PATH": f"{os.environ.get('PATH', os.defpath)}:/usr/local/sbin:/usr/sbin:/sbin",  # for dpkg
        "DEBIAN_FRONTEND": "noninteractive",
        "DEBIAN_PRIORITY": "critical",
        "APT_LISTCHANGES_FRONTEND": "none",
        "NEEDRESTART_SUSPEND": "1",
        "LC_ALL": "C.UTF-8",
    }
    done = subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        env=environment,
        check=False,
    )
    if done.returncode != 0:
        raise InstallError(_complaint(done.stdout) or f"{command[0]} failed")


def _complaint(output: str) -> str:
    """Return the line of apt's output that says most about why it failed."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith("E: ")]
    return (errors or lines or [""])[0].removeprefix("E: ")


@contextlib.contextmanager
def no_daemon_starts(policy: Path) -> Iterator[None]:
    """Let no package start its daemon in the meantime (Debian policy 9.3.3.1, invoke-rc.d(8)).

    What was there before is put back. Should this process be killed so hard that it cannot, the
    file left behind denies nothing: it looks whether this process lives, else asks the one before.
    A policy that already denies is left alone.
    """
    saved = policy.with_name(f"{policy.name}.extip-saved")
    if policy.exists() and POLICY_MARK in policy.read_text(errors="replace"):
        _restore(policy, saved)
    saved.unlink(missing_ok=True)
    if policy.exists() and _denies(policy):
        yield
        return
    if policy.exists():
        shutil.copy2(policy, saved)
    draft = policy.with_name(f"{policy.name}.extip-{os.getpid()}")
    draft.write_text(
        f"#!/bin/sh\n{POLICY_MARK}\n"
        f"[ -d /proc/{os.getpid()} ] && exit 101\n"
        f'[ -x {saved} ] && exec {saved} "$@"\n'
        "exit 0\n"
    )
    draft.chmod(0o755)
    draft.replace(policy)
    try:
        yield
    finally:
        _restore(policy, saved)


def _denies(policy: Path) -> bool:
    try:
        return subprocess.run((policy, "etcd", "start"), check=False).returncode == 101
    except OSError:  # not executable: invoke-rc.d takes it for absent, too
        return False


def _restore(policy: Path, saved: Path) -> None:
    if saved.exists():
        saved.replace(policy)
    else:
        policy.unlink(missing_ok=True)


def _say(text: str) -> None:
    print(f"lab: {text}", file=sys.stderr, flush=True)


def main() -> int:
    """Install what is missing; return the exit code: 0 when all is there, 2 when it cannot be."""
    needs = missing(build=binaries.needs_build())
    if not needs:
        return 0
    packages = " ".join(sorted({need.package for need in needs}))
    _say(f"installing Debian packages: {packages}")
    started = time.monotonic()
    try:
        install(needs)
    except InstallError as error:
        _say(
            f"cannot install them: {error}. By hand, as root: "
            f"apt-get install --no-install-recommends {packages}"
        )
        return 2
    still = missing(build=binaries.needs_build())
    if still:
        _say(f"installed, yet not found: {' '.join(need.what for need in still)}")
        return 2
    _say(f"installed in {time.monotonic() - started:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
