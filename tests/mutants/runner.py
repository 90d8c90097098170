"""Runs tests on mutated copies of the tree, several at a time; the tree itself is never changed.

Guarantee: after `run`, or after what interrupts it, no process and no file of it is left.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from enum import Enum
from pathlib import Path
from typing import Self, TypeVar

from tests.mutants.mutation import Mutation

T = TypeVar("T")
R = TypeVar("R")

_INSIDE = Path(__file__).with_name("inside")
_NOT_COPIED = shutil.ignore_patterns(
    ".*", "__pycache__", "node_modules", "dist", "build", "*.egg-info"
)
_FLAGS = (
    *("-q", "-x", "--tb=short", "--show-capture=no"),
    *("-p", "no:randomly", "-p", "no:cacheprovider", "-p", "no:anyio", "-p", "no:timeout"),
    *("-p", "witness", "--hypothesis-profile=mutants"),
)

_TIMES = 10.0
"""A run may take so many times what its tests take without a mutation."""

_LOOK_S = 0.5
"""Between two looks at what a run has taken."""

_END_S = 20.0
"""Seconds for a run that is told to end to tidy up."""

_SESSION, _TIMES_OF_ALL = 3, slice(11, 15)
"""Fields of ``/proc/PID/stat`` behind the name: the session, and utime, stime, cutime, cstime."""


class Fate(Enum):
    """The end of a mutation."""

    CAUGHT = "caught"
    HUNG = "caught, since it hangs"
    LATE = "NO END"
    """It waits for ever, or the machine leaves it no processor: nobody can tell."""
    SURVIVED = "SURVIVED"
    BROKEN = "BROKEN"
    """A test failed, but not by what it asserts: the mutation is no sensible program."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How long a run may take. A busy machine makes it slow, and not a mutation that is caught."""

    used_s: float = 60.0
    """Seconds of the processor: a run that uses more of it hangs."""
    slowness: float = 15.0
    """How many times as long it may take by the clock: a busy machine has other work, too."""

    def used_up(self, *, used_s: float, passed_s: float) -> Fate | None:
        """Return the fate of a run that has no end after so long; None while it may go on."""
        if used_s > self.used_s:
            return Fate.HUNG
        return Fate.LATE if passed_s > self.used_s * self.slowness else None


@dataclass(frozen=True, slots=True)
class Result:
    """What became of a mutation."""

    mutation: Mutation
    fate: Fate
    test: str = ""
    """The test that failed first."""
    error: str = ""


class SelectionFailsError(Exception):
    """A test fails without any mutation, so its failure says nothing."""


@dataclass(slots=True)
class _Run:
    """How one run of pytest ended."""

    code: int
    output: str
    unfinished: Fate | None
    """Its fate where it was ended, since it took too long."""
    seconds: Counter[str] = field(default_factory=Counter)
    failure: dict[str, str] = field(default_factory=dict)


def run(
    mutations: Sequence[Mutation],
    *,
    root: Path,
    jobs: int = os.cpu_count() or 1,
    patience: Patience = Patience(),
    tell: Callable[[str], None],
) -> list[Result]:
    """Apply each mutation to a copy of the tree in `root`, and run its tests there.

    `patience` is for tests that take a moment. `tell` gets a line for each step. Raises
    StaleMutationError, and SelectionFailsError.
    """
    for mutation in mutations:
        mutation.applied(root)
    with tempfile.TemporaryDirectory(prefix="extip-mutants-") as folder, _Runs(jobs) as runs:
        tree = Path(folder) / "tree"
        shutil.copytree(root, tree, ignore=_NOT_COPIED)
        tell("first without any mutation")
        seconds = _unchanged(mutations, tree, runs, jobs=jobs)
        results = []
        for result in runs.each(
            lambda one: _try(one, tree, runs, _patience(one, patience, seconds)), mutations
        ):
            tell(f"{result.mutation.name}: {result.fate.value}")
            results.append(result)
    return sorted(results, key=lambda result: mutations.index(result.mutation))


def _unchanged(
    mutations: Iterable[Mutation], tree: Path, runs: "_Runs", *, jobs: int
) -> Counter[str]:
    """Run all the tests on the unchanged copy; return the processor seconds of each file."""
    selected = sorted({test for mutation in mutations for test in mutation.tests})
    shares = [share for n in range(jobs) if (share := selected[n::jobs])]
    seconds: Counter[str] = Counter()
    for ran in runs.each(lambda share: runs.pytest(tree, share), shares):
        if ran.code != 0:
            failed = ran.failure.get("test", "")
            raise SelectionFailsError(f"{failed} fails without any mutation:\n{ran.output}")
        seconds += ran.seconds
    return seconds


def _patience(mutation: Mutation, least: Patience, seconds: Counter[str]) -> Patience:
    """Return the patience with a mutation whose tests take some of these seconds."""
    files = {f"tests/{test.partition('::')[0]}" for test in mutation.tests}
    used_s = max(least.used_s, _TIMES * sum(seconds[file] for file in files))
    return replace(least, used_s=used_s)


def _try(mutation: Mutation, tree: Path, runs: "_Runs", patience: Patience) -> Result:
    copy = tree.with_name(mutation.name)
    changed = mutation.applied(tree)
    shutil.copytree(tree, copy, copy_function=os.link)
    path = mutation.path(copy)
    path.unlink()  # the other copies have the same file
    path.write_text(changed)
    for compiled in path.parent.glob(f"__pycache__/{path.stem}.*"):
        compiled.unlink()
    try:
        ran = runs.pytest(copy, mutation.tests, patience)
    finally:
        shutil.rmtree(copy)
    test, error = ran.failure.get("test", ""), ran.failure.get("error", "")
    if ran.code == 0:
        return Result(mutation, Fate.SURVIVED)
    if ran.failure.get("kind") == "assertion":
        return Result(mutation, Fate.CAUGHT, test, error)
    if ran.unfinished is not None and not ran.failure:
        return Result(mutation, ran.unfinished, ", ".join(mutation.tests), ran.output)
    return Result(mutation, Fate.BROKEN, test, error or ran.output.strip()[-500:])


class _Runs:
    """The runs of pytest that are under way; all of them end when it is left."""

    def __init__(self, jobs: int) -> None:
        self._pool = ThreadPoolExecutor(jobs)
        self._lock = threading.Lock()
        self._over = False
        self._running: set[subprocess.Popen[str]] = set()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._over = True
            running = tuple(self._running)
        for process in running:
            _signal(process, signal.SIGTERM)
        for process in running:
            with suppress(subprocess.TimeoutExpired):
                process.wait(_END_S)
            _signal(process, signal.SIGKILL)
        self._pool.shutdown(cancel_futures=True)

    def each(self, do: Callable[[T], R], work: Iterable[T]) -> Iterator[R]:
        """Do all the work side by side; yield the results as they come."""
        for future in as_completed([self._pool.submit(do, one) for one in work]):
            yield future.result()

    def pytest(self, tree: Path, tests: Sequence[str], patience: Patience | None = None) -> _Run:
        """Run tests in a tree; without a patience they may take as long as they like."""
        command = (sys.executable, "-m", "pytest", *_FLAGS, *(f"tests/{one}" for one in tests))
        with tempfile.NamedTemporaryFile(prefix="extip-witness-") as said:
            path = os.pathsep.join((str(tree), str(_INSIDE)))
            environment = {**os.environ, "PYTHONPATH": path, "EXTIP_WITNESS": said.name}
            with self._started(command, tree, environment) as process:
                unfinished, output = _end_of(process, patience)
            text = Path(said.name).read_text()
        found = json.loads(text) if text else {"seconds": {}, "failure": {}}
        seconds = Counter(found["seconds"])
        return _Run(process.returncode, output, unfinished, seconds, found["failure"])

    @contextmanager
    def _started(
        self, command: Sequence[str], folder: Path, environment: Mapping[str, str]
    ) -> Iterator[subprocess.Popen[str]]:
        with self._lock:
            if self._over:
                raise SelectionFailsError("interrupted")
            process = subprocess.Popen(
                command,
                cwd=folder,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
                start_new_session=True,
            )
            self._running.add(process)
        try:
            yield process
        finally:
            _signal(process, signal.SIGKILL)
            process.wait()
            with self._lock:
                self._running.discard(process)


def _end_of(process: subprocess.Popen[str], patience: Patience | None) -> tuple[Fate | None, str]:
    """Wait for the end; return what it wrote. When it takes too long: its fate, and how long."""
    began = time.monotonic()
    while True:
        try:
            return None, process.communicate(timeout=_LOOK_S)[0]
        except subprocess.TimeoutExpired:
            used_s, passed_s = _used_s(process.pid), time.monotonic() - began
        fate = patience.used_up(used_s=used_s, passed_s=passed_s) if patience else None
        if fate is not None:
            _end(process)
            return fate, f"no end in {passed_s:.0f} s, {used_s:.0f} s of them on the processor"


def _used_s(session: int) -> float:
    """Return the processor seconds of a session: its processes, and those that have ended."""
    ticks = 0
    for entry in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = entry.read_text().rpartition(") ")[2].split()
        except OSError:  # it has ended meanwhile
            continue
        if int(fields[_SESSION]) == session:
            ticks += sum(map(int, fields[_TIMES_OF_ALL]))
    return ticks / os.sysconf("SC_CLK_TCK")


def _end(process: subprocess.Popen[str]) -> None:
    """Tell a run to end, and let it tidy up."""
    _signal(process, signal.SIGTERM)
    try:
        process.communicate(timeout=_END_S)
    except subprocess.TimeoutExpired:
        _signal(process, signal.SIGKILL)
        process.communicate()


def _signal(process: subprocess.Popen[str], number: int) -> None:
    """Signal a run and all that it started in its session."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, number)
