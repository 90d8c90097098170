"""Builds the Kubernetes binaries of the lab, once, from Debian's source package `kubernetes`.

Debian 12 ships only the client as a binary, but its source package holds all of Kubernetes 1.20.2
with its vendored libraries. `build()` fetches it, as any user (see `tests.lab.debian_source`),
compiles it with Debian's Go, verifies the result and only then renames it into the cache.

Guarantees: the folder in the cache appears complete and verified or not at all; of two builders
one waits for the other's result; an interrupted build leaves nothing half-done behind, and what a
killed one left is removed by the next. Measured on two cores: 4 to 5 minutes, 3.3 GB while it runs,
250 MB kept.

Only the standard library: it runs with the system's python3 before a virtual environment exists.
"""

import contextlib
import fcntl
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tests.lab.debian_source import SourceError, fetch_source
from tests.lab.progress import Progress, StepError, run_step

VERSION = "1.20.2"
PROGRAMS = ("kube-apiserver", "kube-proxy", "kube-controller-manager")
FREE_BYTES = 4_000_000_000
GO = Path("/usr/lib/go-1.19/bin/go")
REFLECT2 = Path("/usr/share/gocode/src/github.com/modern-go/reflect2")
NEEDS = {
    str(GO): "golang-1.19-go",
    str(REFLECT2): "golang-github-modern-go-reflect2-dev",
    "apt-get": "apt",
    "dpkg-source": "dpkg-dev",
    "make": "make",
    "jq": "jq",
    "rsync": "rsync",
}
"""What a build runs or reads (a program, or the path of a file), and its Debian package."""

JSON_CHECK = """\
package main

import (
	"fmt"

	jsoniter "github.com/json-iterator/go"
)

func main() {
	value := map[string]interface{}{"labels": map[string]string{"a": "1"}}
	text, err := jsoniter.ConfigCompatibleWithStandardLibrary.MarshalIndent(value, "", "  ")
	if err != nil {
		panic(err)
	}
	fmt.Println(string(text))
}
"""


class BuildError(Exception):
    """The binaries cannot be built here; its text says why, for a person."""


def cache_folder() -> Path:
    """Return the folder below which the lab caches what it builds (XDG base directories)."""
    base = Path(os.environ.get("XDG_CACHE_HOME", ""))
    return (base if base.is_absolute() else Path.home() / ".cache") / "extip"


def built_folder() -> Path:
    """Return where the binaries are once built, whether they are there or not."""
    return cache_folder() / f"kubernetes-{VERSION}"


def is_built() -> bool:
    """Tell whether the cache holds every program; `broken` tells whether they run."""
    return all(os.access(built_folder() / program, os.X_OK) for program in PROGRAMS)


def find_program(what: str) -> Path | None:
    """Return the path of a program, system administration's included, or of an existing file."""
    if what.startswith("/"):
        return Path(what) if Path(what).exists() else None
    path = os.pathsep.join((os.environ.get("PATH", os.defpath), "/usr/local/sbin:/usr/sbin:/sbin"))
    found = shutil.which(what, path=path)
    return Path(found) if found else None


def program_version(program: Path) -> str:
    """Ask a Kubernetes server program for its version, such as `v1.20.2`.

    Raises `BuildError` when it does not run or answers something else.
    """
    try:
        done = subprocess.run(
            (program, "--version"), capture_output=True, text=True, timeout=30, check=True
        )
    except (OSError, ValueError, subprocess.SubprocessError) as error:
        raise BuildError(f"{program} --version does not run: {error}") from error
    match = re.fullmatch(r"Kubernetes (v\d+\.\d+\.\d+\S*)", done.stdout.strip())
    if match is None:
        raise BuildError(f"{program} --version answers {done.stdout.strip()[:80]!r}")
    return match[1]


def verify(folder: Path) -> None:
    """Raise `BuildError` unless every program in `folder` runs and is of the expected version."""
    for program in PROGRAMS:
        version = program_version(folder / program)
        if version != f"v{VERSION}":
            raise BuildError(f"{folder / program} is {version}, not v{VERSION}")


def build(progress: Progress) -> Path:
    """Build the binaries unless the cache has them by now; return their folder.

    Blocks for minutes, or while another process builds. Raises `BuildError`; the log of a failed
    build stays in the cache folder.
    """
    cache = cache_folder()
    try:
        cache.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BuildError(f"cannot make the cache folder {cache}: {error.strerror}") from error
    with _locked(cache / "kubernetes.lock", progress):
        if is_built():
            with contextlib.suppress(BuildError):
                verify(built_folder())
                return built_folder()
        for leftover in cache.glob(".building-*"):
            shutil.rmtree(leftover, ignore_errors=True)
        _check_possible(cache)
        progress.say(f"building Kubernetes {VERSION} from Debian's source, once: 4 to 6 minutes")
        with tempfile.TemporaryDirectory(
            prefix=".building-", dir=cache, ignore_cleanup_errors=True
        ) as scratch:
            _build_in(Path(scratch), progress)
        progress.step(f"done: {built_folder()}")
    return built_folder()


@contextlib.contextmanager
def _locked(path: Path, progress: Progress) -> Iterator[None]:
    """Hold the lock; the kernel releases it however this process ends."""
    with path.open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            progress.say("another process is building the Kubernetes binaries: waiting for it")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _check_possible(cache: Path) -> None:
    if re.search(r"[\s:]", str(cache)):  # make and GOPATH cannot take them
        raise BuildError(f"the path of the cache folder holds a blank or colon: {cache}")
    packages = [package for what, package in NEEDS.items() if find_program(what) is None]
    if packages:
        raise BuildError(f"these Debian packages are missing: {' '.join(packages)}")
    free = shutil.disk_usage(cache).free
    if free < FREE_BYTES:
        raise BuildError(f"{cache} has {free / 1e9:.1f} GB free, {FREE_BYTES / 1e9:.0f} are needed")


def _build_in(scratch: Path, progress: Progress) -> None:
    log = scratch / "build.log"
    try:
        tree = fetch_source("kubernetes", VERSION, scratch, log=log, progress=progress)
        environment = _prepare(tree, scratch)
        progress.step("check that JSON with a map does not crash")
        source = tree / ".go/src/k8s.io/kubernetes"
        _check_json(source, environment, log)
        progress.step(f"compile {', '.join(PROGRAMS)}")
        what = " ".join(f"cmd/{program}" for program in PROGRAMS)
        run_step(("make", f"WHAT={what}"), tree, environment, log=log, tick=progress.tick)
        progress.step("verify the binaries")
        folder = scratch / "built"
        folder.mkdir()
        for program in PROGRAMS:
            (tree / "_output/bin" / program).replace(folder / program)
        verify(folder)
    except (SourceError, StepError, BuildError, OSError) as error:
        kept = cache_folder() / "kubernetes-build.log"
        if not log.exists():
            raise BuildError(str(error)) from error
        log.replace(kept)
        raise BuildError(f"{error} (log: {kept})") from error
    if built_folder().exists():  # broken, else there would be no build
        built_folder().rename(scratch / "broken")
    folder.rename(built_folder())


def _prepare(tree: Path, scratch: Path) -> dict[str, str]:
    """Make the tree buildable by Go 1.19; return the environment to build it in."""
    # The vendored reflect2 1.0.1 takes the layout of a map iterator from before Go 1.18 and
    # crashes on the first map in a pretty-printed answer; Debian packages 1.0.2, which does not.
    vendored = tree / "vendor/github.com/modern-go/reflect2"
    for pattern in ("*.go", "*.s"):
        for old in vendored.glob(pattern):
            old.unlink()
        for new in REFLECT2.glob(pattern):
            shutil.copy(new, vendored)
    # Vendoring as Go modules do it fails on this tree; GOPATH mode wants it at its import path.
    link = tree / ".go/src/k8s.io/kubernetes"
    link.parent.mkdir(parents=True)
    link.symlink_to("../../..")
    (scratch / "tmp").mkdir()
    return {
        "PATH": f"{GO.parent}:/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin",
        "HOME": str(scratch),
        "TMPDIR": str(scratch / "tmp"),
        "GOPATH": str(tree / ".go"),
        "GOCACHE": str(scratch / "go-cache"),
        "GO111MODULE": "off",
        "CGO_ENABLED": "0",
        "LC_ALL": "C.UTF-8",
    }


def _check_json(source: Path, environment: dict[str, str], log: Path) -> None:
    """Encode a map the way the API server does: takes a second, and crashed without the fix."""
    program = source / "cmd/extip-json-check/main.go"
    program.parent.mkdir()
    program.write_text(JSON_CHECK)
    command = (str(GO), "run", "./cmd/extip-json-check")
    run_step(command, source, environment | {"PWD": str(source)}, log=log)
    shutil.rmtree(program.parent)
