"""A short soak: chaos of a fixed seed, every outage explained; and one that is interrupted."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.lab.host import pids_by_namespaces
from tests.soak import report
from tests.soak.run import Soak

SEED = 7
CHAOS_S = 75.0
ROOT = Path(__file__).parents[2]


@pytest.mark.timeout(600)
def test_after_a_minute_of_chaos_nothing_is_lost_leaked_double_or_unexplained(tmp_path):
    said: list[str] = []
    logs = tmp_path / "logs.tar.gz"
    outcome = Soak(seed=SEED, chaos_s=CHAOS_S, say=said.append, logs_to=logs).run()
    assert outcome.ok, report.summary(outcome)
    assert len({bar.what for bar in outcome.faults}) > 5
    assert outcome.judged, "faults that nobody noticed: nothing was watched"
    assert "</svg>" in report.html(outcome)


def test_a_soak_that_is_told_to_end_leaves_nothing_behind(tmp_path):
    out = tmp_path / "report.html"
    command = [sys.executable, "-m", "tests.soak", "--minutes=5", f"--out={out}"]
    environment = {
        "TMPDIR": str(tmp_path),
        "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
        "HOME": str(Path.home()),
    }
    with subprocess.Popen(
        command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True
    ) as soak:
        assert soak.stdout is not None
        while "faults to come" not in (line := soak.stdout.readline()):
            assert line, "it ended before the chaos began"
        lab = next(tmp_path.glob("extip-lab-*"))
        assert lived_in(lab)
        time.sleep(2.0)  # into the chaos
        soak.send_signal(signal.SIGTERM)
        assert "nothing is left" in soak.stdout.read()
        assert soak.wait() == 130
    assert not lived_in(lab)
    assert list(tmp_path.iterdir()) == []


def lived_in(lab: Path) -> list[int]:
    """Return the processes whose working directory is the lab's, as that of all in it is."""
    pids = {pid for found in pids_by_namespaces().values() for pid in found}
    return [pid for pid in pids if _directory(pid) == str(lab)]


def _directory(pid: int) -> str:
    try:
        return str(Path(f"/proc/{pid}/cwd").readlink())
    except OSError:
        return ""
