"""A mutation is caught by a test that says so, and by nothing else; and nothing is left behind."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.mutants.__main__ import table
from tests.mutants.mutation import Mutation, StaleMutationError
from tests.mutants.runner import Fate, Patience, SelectionFailsError, run

ROOT = Path(__file__).parents[3]

PROGRAM = """
def double(number):
    return number + number


def unused(number):
    return number - 1
"""

TESTS = """
import extip.program


def test_double():
    assert extip.program.double(3) == 6
"""


@pytest.fixture
def root(tmp_path):
    """Return a tree with a program and its tests."""
    tree = tmp_path / "root"
    for folder in ("extip", "tests"):
        (tree / folder).mkdir(parents=True)
        (tree / folder / "__init__.py").touch()
    (tree / "extip" / "program.py").write_text(PROGRAM)
    (tree / "tests" / "test_program.py").write_text(TESTS)
    (tree / "pyproject.toml").write_text("[tool.pytest.ini_options]\n")
    return tree


def mutation(name, old, new, *, tests=("test_program.py",)):
    return Mutation(
        name=name, promise="two times", file="program.py", old=old, new=new, tests=tests
    )


CAUGHT = mutation("caught", "number + number", "number + 1")
SURVIVES = mutation("survives", "number - 1", "number - 2")
BROKEN = mutation("broken", "number + number", "number + missing")
NO_PROGRAM = mutation("no-program", "    return number - 1", "    return number - 1 +")


def test_each_one_ends_as_it_should_and_the_tree_stays_as_it_is(root):
    lines: list[str] = []
    found = run([CAUGHT, SURVIVES, BROKEN, NO_PROGRAM], root=root, jobs=2, tell=lines.append)
    assert [one.fate for one in found] == [Fate.CAUGHT, Fate.SURVIVED, Fate.BROKEN, Fate.BROKEN]
    assert found[0].test == "tests/test_program.py::test_double"
    assert "missing" in found[2].error
    assert (root / "extip" / "program.py").read_text() == PROGRAM
    assert len(lines) == 5
    shown = table(found).splitlines()
    assert shown[0].split() == ["caught", "two", "times", "tests/test_program.py::test_double"]
    assert "SURVIVED" in shown[1]


def test_a_change_that_fits_the_program_no_more_is_told_with_its_name(root):
    for old in ("number + numbers", "number"):
        with pytest.raises(StaleMutationError, match=r"stale: extip/program\.py must have"):
            run([mutation("stale", old, "x")], root=root, jobs=1, tell=lambda _line: None)


def test_tests_that_fail_anyway_prove_nothing(root):
    (root / "tests" / "test_program.py").write_text(TESTS.replace("6", "7"))
    with pytest.raises(SelectionFailsError, match="test_double fails without any mutation"):
        run([CAUGHT], root=root, jobs=1, tell=lambda _line: None)


SPINS = mutation("spins", "return number + number", "while True: number + number")
WAITS = mutation(
    "waits", "return number + number", "import time; time.sleep(1e6); return number + number"
)
LIMITED = "[tool.pytest.ini_options]\ntimeout = 1\nmarkers = []\n"


def test_a_run_that_uses_the_processor_without_end_is_caught(root):
    patience = Patience(used_s=4.0, slowness=100.0)
    (spins,) = run([SPINS], root=root, jobs=1, patience=patience, tell=lambda _line: None)
    assert spins.fate is Fate.HUNG


def test_a_run_that_gets_no_processor_is_not_caught(root):
    (root / "pyproject.toml").write_text(LIMITED)
    patience = Patience(used_s=40.0, slowness=0.2)
    (waits,) = run([WAITS], root=root, jobs=1, patience=patience, tell=lambda _line: None)
    assert waits.fate is Fate.LATE
    assert "s of them on the processor" in waits.error
    assert f"{Fate.LATE.value} (test_program.py: no end in " in table([waits])


def test_a_run_that_gets_little_of_the_processor_may_take_its_time() -> None:
    patience = Patience(used_s=60.0, slowness=15.0)
    assert patience.used_up(used_s=59.0, passed_s=890.0) is None
    assert patience.used_up(used_s=61.0, passed_s=62.0) is Fate.HUNG
    assert patience.used_up(used_s=1.0, passed_s=901.0) is Fate.LATE


MAIN = """
import signal, sys
from pathlib import Path
from tests.mutants.runner import run
from tests.unit.mutants.test_runner import CAUGHT

signal.signal(signal.SIGTERM, signal.default_int_handler)
run([CAUGHT], root=Path(sys.argv[1]), jobs=1, tell=lambda line: print(line, flush=True))
"""


def test_who_interrupts_it_finds_no_process_and_no_file_afterwards(root, tmp_path):
    """The tests of this tree never end by themselves."""
    pid = tmp_path / "pid"
    hangs = f"open({str(pid)!r}, 'w').write(str(os.getpid())); time.sleep(1e6)"
    (root / "tests" / "test_program.py").write_text(
        f"import os, time\n\ndef test_it():\n    {hangs}"
    )
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    process = subprocess.Popen(
        [sys.executable, "-c", MAIN, str(root)],
        env={**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": str(scratch)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        deadline = time.monotonic() + 100
        while not (pid.exists() and pid.read_text()):
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.05)
        process.send_signal(signal.SIGTERM)
        process.wait(100)
    finally:
        process.kill()
        process.wait()
    assert list(scratch.iterdir()) == []
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid.read_text()), 0)
