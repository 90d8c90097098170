"""A run that is told to end does so, and says why."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]

TESTS = """
import os
import signal
from pathlib import Path

from click.testing import CliRunner

from extip.cli import cli


def test_a(monkeypatch):
    monkeypatch.setattr(cli, "get_command", lambda *_: os.kill(os.getpid(), signal.SIGTERM))
    result = CliRunner().invoke(cli, ["simple"])
    assert result.exit_code == 0, result.exception


def test_b():
    Path("b-ran").touch()
"""


def test_sigterm_in_a_command_that_takes_it_for_ctrl_c_ends_the_run_and_is_named(tmp_path):
    """`timeout pytest` sends it: the test that fails so must not be taken for the culprit."""
    (tmp_path / "test_it.py").write_text(TESTS)
    flags = ["-p", "tests.conftest", "-p", "no:randomly", "-c", "/dev/null", "--rootdir"]
    ended = subprocess.run(
        [sys.executable, "-m", "pytest", *flags, str(tmp_path), "test_it.py"],
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert ended.returncode == 2, ended.stdout
    assert "InterruptedByUserError" in ended.stdout
    assert "the run was sent SIGTERM" in ended.stdout
    assert not (tmp_path / "b-ran").exists()
