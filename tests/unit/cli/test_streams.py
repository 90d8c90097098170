"""Closed, full and abandoned standard streams: no traceback, and exit codes that mean one thing."""

import os
import subprocess
import sys

import pytest

FULL = "/dev/full"


def run(*arguments, redirections):
    """Run extip with redirections as a shell writes them."""
    command = f'exec "$0" -m extip "$@" {redirections}'
    return subprocess.run(
        ["bash", "-c", command, sys.executable, *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["crds"], ["status", "--help"]])
@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_full_standard_output_is_said_in_one_line(arguments, unbuffered, monkeypatch):
    monkeypatch.setenv("PYTHONUNBUFFERED", unbuffered)
    ended = run(*arguments, redirections=f">{FULL}")
    assert (ended.returncode, ended.stderr) == (
        6,
        "extip: cannot write to standard output: No space left on device\n",
    )


@pytest.mark.parametrize("arguments", [["--help"], ["crds"]])
def test_a_reader_that_leaves_ends_a_command_in_silence(arguments):
    reading, writing = os.pipe()
    os.close(reading)
    try:
        ended = subprocess.run(
            [sys.executable, "-m", "extip", *arguments],
            stdout=writing,
            stderr=subprocess.PIPE,
            text=True,
            timeout=60,
            check=False,
        )
    finally:
        os.close(writing)
    assert (ended.returncode, ended.stderr) == (141, "")


def test_a_closed_standard_output_is_no_error():
    ended = run("crds", redirections=">&-")
    assert (ended.returncode, ended.stderr) == (0, "")


@pytest.mark.parametrize("mode", ["simple", "controller", "scheduler"])
def test_a_closed_standard_error_ends_no_daemon(mode):
    """It gets as far as the kubeconfig that is not there: exit code 2, not a traceback's 1."""
    ended = run(mode, "--kubeconfig=/does/not/exist", redirections="2>&- 0<&-")
    assert (ended.returncode, ended.stdout, ended.stderr) == (2, "", "")


def test_no_other_file_gets_the_number_of_a_closed_stream():
    script = (
        "import os; from extip.cli.streams import open_standard_streams;"
        "open_standard_streams(); print(os.open('/', os.O_RDONLY) > 2)"
    )
    ended = subprocess.run(
        ["bash", "-c", 'exec "$0" -c "$1" 2>&- 0<&-', sys.executable, script],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.stdout == "True\n"
