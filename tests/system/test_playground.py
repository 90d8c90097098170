"""`make lab`: the commands that it prints work as printed, one after another."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.lab.binaries import Binaries
from tests.lab.wait import wait_until

ROOT = Path(__file__).parents[2]
COMMAND = re.compile(r"^    (\S.*)$", re.MULTILINE)


def run(command: str, environment: dict[str, str]) -> str:
    done = subprocess.run(
        ["/bin/sh", "-c", command],
        check=False,
        capture_output=True,
        text=True,
        env=environment,
        cwd=ROOT,
        timeout=60,
    )
    return f"{done.stdout}{done.stderr}".strip()


@pytest.mark.timeout(400)
def test_every_command_that_the_playground_prints_can_be_tried(
    binaries: Binaries, tmp_path: Path
) -> None:
    shown = tmp_path / "shown"
    with shown.open("w") as out:
        lab = subprocess.Popen([sys.executable, "-m", "tests.lab"], stdout=out, cwd=ROOT)
    try:

        def printed() -> str:
            assert lab.poll() is None, shown.read_text()
            text = shown.read_text()
            return text if "Ctrl-C" in text else ""

        text = wait_until(printed, "the lab to be up", timeout=240)
        export, *commands = COMMAND.findall(text)
        environment = dict(os.environ)
        environment["KUBECONFIG"] = export.partition("=")[2]
        assert binaries.kubectl is not None
        environment["PATH"] = f"{binaries.kubectl.parent}:{environment['PATH']}"

        def try_next() -> str:
            return run(commands.pop(0), environment)

        assert try_next() in ("n1", "n2", "n3")
        assert try_next() in ("n1", "n2", "n3")
        assert "2 of 2 IPs up" in try_next()
        assert "web" in try_next()
        assert "n1 is drained" in try_next()
        assert "n1" in try_next()
        assert "created" in try_next()
        listed = commands.pop(0)
        wait_until(lambda: "10.88.1.101" in run(listed, environment), "an address of the pool")
        assert try_next() == ""
        status = commands.pop(0)
        down = "n2 is not ready"
        wait_until(lambda: down in run(status, environment), "the cable to be missed")
        wait_until(lambda: "3 of 3 IPs up" in run(status, environment), "the IPs to have moved")
        assert try_next() == ""
        wait_until(lambda: down not in run(status, environment), "the node to be back")
        assert commands == []
    finally:
        lab.send_signal(signal.SIGINT)
        status_of_lab = lab.wait(timeout=60)
    assert status_of_lab == 0
    assert shown.read_text().endswith("gone\n")
