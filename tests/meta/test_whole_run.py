"""`make test` runs every test once, and leaves no run behind."""

import asyncio
import signal
from collections import Counter
from pathlib import Path

from tests.__main__ import LABS, Ended, Part, Runs, counted, parts, total
from tests.lab.wait import until

SLOW = """
import time
from pathlib import Path


def test_a(tmp_path):
    try:
        Path("begun").touch()
        time.sleep(100)
    finally:
        Path("tidied-up").touch()
"""


def test_each_file_of_labs_is_in_one_run_and_the_rest_in_the_last():
    files = sorted(LABS.glob("test_*.py"))
    *labs, rest = parts(files)
    assert sorted(Path(file) for part in labs for file in part.arguments) == files
    assert all(part.arguments for part in labs)
    assert rest.arguments == [str(LABS.parent), f"--ignore={LABS}"]


def test_the_large_files_of_labs_are_shared_out(tmp_path):
    for name, size in {"a": 90, "b": 50, "c": 50, "d": 10}.items():
        (tmp_path / name).write_text("x" * size)
    first, second, _ = parts(tmp_path.iterdir())
    assert [Path(file).name for file in first.arguments] == ["a", "d"]
    assert [Path(file).name for file in second.arguments] == ["b", "c"]


def test_the_last_line_adds_those_of_the_runs_up():
    lines = (
        "== 2 failed, 300 passed, 1 warning in 65.10s (0:01:05) ==",
        "1 passed, 2 errors in 3.00s",
        "FAILED tests/x.py::test_3 passed in vain",
    )
    ended = [Ended(0, counted(line)) for line in lines]
    assert ended[2].counts == Counter()
    assert total(ended, 66.5) == "2 failed, 301 passed, 1 warning, 2 error in 66.50s"


async def test_a_signal_ends_the_runs_after_they_have_tidied_up(tmp_path, capfd):
    (tmp_path / "test_it.py").write_text(SLOW)
    flags = ["-c", "/dev/null", "-p", "no:randomly", "--rootdir", str(tmp_path)]
    runs = Runs(tmp_path)
    running = asyncio.create_task(runs.run(Part("slow", [*flags, "test_it.py"])))
    await until((tmp_path / "begun").exists)
    runs.end(signal.SIGINT)
    ended = await running
    assert ended.code == 130
    assert (tmp_path / "tidied-up").exists()
    assert "slow | " in capfd.readouterr().out


async def test_tests_that_did_not_pass_are_named_at_the_end_again(tmp_path):
    (tmp_path / "test_it.py").write_text(
        "def test_a():\n    pass\n\n\ndef test_b():\n    {}['b']\n"
    )
    flags = ["-c", "/dev/null", "-p", "no:randomly", "--rootdir", str(tmp_path)]
    ended = await Runs(tmp_path).run(Part("short", [*flags, "test_it.py"]))
    assert ended.code == 1
    assert total([ended], 2.0).splitlines() == [
        "FAILED test_it.py::test_b - KeyError: 'b'",
        "1 failed, 1 passed in 2.00s",
    ]
