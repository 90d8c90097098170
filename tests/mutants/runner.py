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
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
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
    *("-p", "no:randomly", "-p", "no:cacheprovider", "-p", "no:anyio"),
    *("-p", "witness", "--hypothesis-profile=mutants"),
)

_PATIENCE_S, _PATIENCE = 60.0, 10.0
"""A run hangs when it takes longer than the first, and this many times what its tests take."""

_END_S = 20.0
"""Seconds for a run that is told to end to tidy up."""


class Fate(Enum):
    """The end of a mutation."""

    CAUGHT = "caught"
    HUNG = "caught, since it hangs"
    SURVIVED = "SURVIVED"
    BROKEN = "BROKEN"
    """A test failed, but not by what it asserts: the mutation is no sensible program."""


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

    code: int | None
    """None: it was ended, since it took too long."""
    output: str
    seconds: Counter[str] = field(default_factory=Counter)
    failure: dict[str, str] = field(default_factory=dict)


def run(
    mutations: Sequence[Mutation],
    *,
    root: Path,
    jobs: int = os.cpu_count() or 1,
    tell: Callable[[str], None],
) -> list[Result]:
    """Apply each mutation to a copy of the tree in `root`, and run its tests there.

    `tell` gets a line for each step. Raises StaleMutationError, and SelectionFailsError.
    """
    for mutation in mutations:
        mutation.applied(root)
    with tempfile.TemporaryDirectory(prefix="extip-mutants-") as folder, _Runs(jobs) as runs:
        tree = Path(folder) / "tree"
        shutil.copytree(root, tree, ignore=_NOT_COPIED)
        tell("first without any mutation")
        seconds = _unchanged(mutations, tree, runs, jobs=jobs)
        results = []
        for result in runs.each(lambda one: _try(one, tree, runs, seconds=seconds), mutations):
            tell(f"{result.mutation.name}: {result.fate.value}")
            results.append(result)
    return sorted(results, key=lambda result: mutations.index(result.mutation))


def _unchanged(
    mutations: Iterable[Mutation], tree: Path, runs: "_Runs", *, jobs: int
) -> Counter[str]:
    """Run all the tests on the unchanged copy; return the seconds that each file takes."""
    selected = sorted({test for mutation in mutations for test in mutation.tests})
    shares = [share for n in range(jobs) if (share := selected[n::jobs])]
    seconds: Counter[str] = Counter()
    for ran in runs.each(lambda share: runs.pytest(tree, share), shares):
        if ran.code != 0:
            failed = ran.failure.get("test", "")
            raise SelectionFailsError(f"{failed} fails without any mutation:\n{ran.output}")
        seconds += ran.seconds
    return seconds


def _try(mutation: Mutation, tree: Path, runs: "_Runs", *, seconds: Counter[str]) -> Result:
    copy = tree.with_name(mutation.name)
    changed = mutation.applied(tree)
    shutil.copytree(tree, copy, copy_function=os.link)
    path = mutation.path(copy)
    path.unlink()  # the other copies have the same file
    path.write_text(changed)
    for compiled in path.parent.glob(f"__pycache__/{path.stem}.*"):
        compiled.unlink()
    files = {f"tests/{test.partition('::')[0]}" for test in mutation.tests}
    limit_s = max(_PATIENCE_S, _PATIENCE * sum(seconds[file] for file in files))
    try:
        ran = runs.pytest(copy, mutation.tests, limit_s=limit_s)
    finally:
        shutil.rmtree(copy)
    test, error = ran.failure.get("test", ""), ran.failure.get("error", "")
    if ran.code == 0:
        return Result(mutation, Fate.SURVIVED)
    if ran.failure.get("kind") == "assertion":
        return Result(mutation, Fate.CAUGHT, test, error)
    if ran.code is None and not ran.failure:
        return Result(mutation, Fate.HUNG, ", ".join(mutation.tests), f"no end in {limit_s:.0f} s")
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

    def pytest(self, tree: Path, tests: Sequence[str], *, limit_s: float | None = None) -> _Run:
        """Run tests in a tree."""
        command = (sys.executable, "-m", "pytest", *_FLAGS, *(f"tests/{one}" for one in tests))
        with tempfile.NamedTemporaryFile(prefix="extip-witness-") as said:
            path = os.pathsep.join((str(tree), str(_INSIDE)))
            environment = {**os.environ, "PYTHONPATH": path, "EXTIP_WITNESS": said.name}
            with self._started(command, tree, environment) as process:
                output, in_time = _output_of(process, limit_s)
            text = Path(said.name).read_text()
        found = json.loads(text) if text else {"seconds": {}, "failure": {}}
        code = process.returncode if in_time else None
        return _Run(code, output, Counter(found["seconds"]), found["failure"])

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


def _output_of(process: subprocess.Popen[str], limit_s: float | None) -> tuple[str, bool]:
    """Wait for the end; return what it wrote, and whether it ended in time."""
    try:
        return process.communicate(timeout=limit_s)[0], True
    except subprocess.TimeoutExpired:
        _signal(process, signal.SIGTERM)
    try:
        return process.communicate(timeout=_END_S)[0], False
    except subprocess.TimeoutExpired:
        _signal(process, signal.SIGKILL)
        return process.communicate()[0], False


def _signal(process: subprocess.Popen[str], number: int) -> None:
    """Signal a run and all that it started in its session."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, number)
