"""`python -m tests.soak`: exit code 0 when all is explained, 1 when not, 2 when it cannot run."""

import argparse
import os
import signal
import sys
import tempfile
import time
from pathlib import Path

from tests.lab.binaries import BinariesError
from tests.lab.errors import LabError
from tests.soak import report
from tests.soak.run import Soak


def main() -> int:
    """Run a soak and write its report; returns the exit code."""
    arguments = _arguments()
    signal.signal(signal.SIGTERM, _interrupt)
    signal.signal(signal.SIGHUP, _interrupt)
    try:
        _say(f"soak: seed {arguments.seed}, {arguments.minutes:g} minutes of chaos")
        outcome = Soak(
            seed=arguments.seed,
            chaos_s=60 * arguments.minutes,
            say=_say,
            logs_to=arguments.out.with_suffix(".logs.tar.gz"),
        ).run()
    except KeyboardInterrupt:
        _say("interrupted; nothing is left")
        return 130
    except (LabError, BinariesError) as error:
        sys.stderr.write(f"soak: {error}\n")
        return 2
    _say(report.summary(outcome))
    arguments.out.write_text(report.html(outcome))
    _say(f"report: {arguments.out}")
    return 0 if outcome.ok else 1


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=5.0, help="of chaos (default: 5)")
    parser.add_argument("--seed", type=int, help="of an earlier run, to have its faults again")
    parser.add_argument("--out", type=Path, help="where the report goes (default: a new file)")
    arguments = parser.parse_args()
    if arguments.seed is None:
        arguments.seed = int.from_bytes(os.urandom(3))
    if arguments.out is None:
        name = f"extip-soak-{arguments.seed}-{time.strftime('%H%M%S')}.html"
        arguments.out = Path(tempfile.gettempdir()) / name
    if arguments.out.is_dir() or not arguments.out.parent.is_dir():
        parser.error(f"--out {arguments.out}: give a file in a folder that exists")
    return arguments


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def _interrupt(_number: int, _frame: object) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
