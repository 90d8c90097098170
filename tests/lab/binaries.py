"""Finds the binaries of the lab's control plane: `python -m tests.lab.binaries` shows them.

In this order:

1. the folders that `EXTIP_KUBE_BIN` and `KUBEBUILDER_ASSETS` name, of any version. etcd and
   kubectl may come from the PATH instead; kube-proxy and kube-controller-manager, which the
   kubebuilder assets do not have, from the cache when it has them (of another version, then);
2. the cache, into which `tests.lab.kubernetes_build` builds them once from Debian's source.

Only the standard library: it runs with the system's python3 before a virtual environment exists.
"""

import os
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.lab import kubernetes_build
from tests.lab.kubernetes_build import BuildError
from tests.lab.progress import Progress

VARIABLES = ("EXTIP_KUBE_BIN", "KUBEBUILDER_ASSETS")
HOW = (
    "Set EXTIP_KUBE_BIN to a folder with kube-apiserver, kube-proxy and kube-controller-manager "
    "(etcd and kubectl there or on the PATH), or KUBEBUILDER_ASSETS; or, on Debian 12, let them be "
    "built: run `python3 -m tests.lab.packages` as root first; it takes a Debian mirror, 4 GB of "
    "disk and 4 to 6 minutes, once."
)


class BinariesError(Exception):
    """The lab's binaries are not to be had; its text says why and how to supply them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Binaries:
    """Paths of the programs, all executable."""

    etcd: Path
    kube_apiserver: Path
    kube_proxy: Path | None
    """May be of another version than the API server: see the module's order."""
    kube_controller_manager: Path | None
    """As kube_proxy."""
    kubectl: Path
    version: str
    """The API server's own answer, such as `v1.20.2`."""
    source: str
    """Where the API server came from, for a person."""


def find_binaries(*, build: bool = True) -> Binaries:
    """Return the binaries; build them where none are given, none are cached and `build` is set.

    Blocks: a tenth of a second, or minutes when building, with progress on stderr. Raises
    `BinariesError` when something is missing, does not run, or cannot be built.
    """
    try:
        return _given() if _folders() else _cached(build=build)
    except BuildError as error:
        raise BinariesError(f"No Kubernetes binaries for the lab: {error}. {HOW}") from error


def needs_build() -> bool:
    """Tell whether `find_binaries` would build."""
    return not _folders() and not kubernetes_build.is_built()


def find_tool(what: str) -> Path | None:
    """Return the path of a program: from the given folders first, then from the PATH."""
    for folder in _folders().values():
        if os.access(folder / what, os.X_OK):
            return folder / what
    return kubernetes_build.find_program(what)


def _folders() -> dict[str, Path]:
    """Return the folders given by environment variables, in the order they are searched."""
    given = {variable: os.environ.get(variable, "") for variable in VARIABLES}
    return {variable: Path(value).expanduser() for variable, value in given.items() if value}


def _given() -> Binaries:
    folders = _folders()
    for variable, folder in folders.items():
        if os.access(folder / "kube-apiserver", os.X_OK):
            return _assemble(folder, f"{variable}={folder}", _given_or_built)
    named = " and ".join(f"{variable}={folder}" for variable, folder in folders.items())
    raise BuildError(f"no executable kube-apiserver in {named}")


def _given_or_built(program: str) -> Path | None:
    for folder in (*_folders().values(), kubernetes_build.built_folder()):
        if os.access(folder / program, os.X_OK):
            return folder / program
    return None


def _cached(*, build: bool) -> Binaries:
    folder = kubernetes_build.built_folder()
    try:
        kubernetes_build.program_version(folder / "kube-apiserver")
        usable = kubernetes_build.is_built()
    except BuildError:
        usable = False
    if not usable:
        if not build:
            raise BuildError(f"none built in {folder}")
        kubernetes_build.build(Progress())
    return _assemble(folder, f"built from Debian's source package, {folder}", folder.joinpath)


def _assemble(folder: Path, source: str, companion: Callable[[str], Path | None]) -> Binaries:
    return Binaries(
        etcd=_required("etcd", "etcd-server"),
        kube_apiserver=folder / "kube-apiserver",
        kube_proxy=companion("kube-proxy"),
        kube_controller_manager=companion("kube-controller-manager"),
        kubectl=_required("kubectl", "kubernetes-client"),
        version=kubernetes_build.program_version(folder / "kube-apiserver"),
        source=source,
    )


def _required(tool: str, package: str) -> Path:
    path = find_tool(tool)
    if path is None:
        raise BuildError(f"no {tool} on the PATH (Debian package {package})")
    return path


def _terminated(number: int, frame: object) -> None:
    raise SystemExit(128 + number)  # unwinds, so that a build cleans up after itself


def main() -> int:
    """Find or build the binaries and show them; return the exit code: 2 when there are none."""
    signal.signal(signal.SIGTERM, _terminated)
    try:
        found = find_binaries()
    except BinariesError as error:
        print(f"lab: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\nlab: interrupted; nothing half-built is left", file=sys.stderr)
        return 130
    print(f"Kubernetes {found.version}, {found.source}")
    for name in ("etcd", "kube_apiserver", "kube_proxy", "kube_controller_manager", "kubectl"):
        print(f"  {name.replace('_', '-'):24}{getattr(found, name) or 'none'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
