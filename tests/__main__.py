"""`make test`: every test, by runs of pytest side by side, since most of their time is waiting.

Two runs share the files of `tests/system`, each with labs of its own. A third one has all other
tests, with the soak: it would end long before them.
"""

import asyncio
import re
import signal
import sys
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
LABS = HERE / "system"

_LONGEST_LINE = 2**24

_SUMMARY = re.compile(r"=* ?(\d+ [a-z]+.*) in \d+\.\d+s\b")
_COUNT = re.compile(r"(\d+) ([a-z]+)")
_NOT_PASSED = ("FAILED ", "ERROR ")
_KINDS = ("failed", "passed", "skipped", "deselected", "xfailed", "xpassed", "warning", "error")


@dataclass(frozen=True, slots=True)
class Part:
    """One run of pytest."""

    name: str
    arguments: Sequence[str]


@dataclass(frozen=True, slots=True)
class Ended:
    """Its exit code, the numbers of its last line, and its lines of tests that did not pass."""

    code: int
    counts: Counter[str]
    not_passed: Sequence[str] = ()


def parts(files: Iterable[Path]) -> Sequence[Part]:
    """Divide the tests. The larger a file of labs is, the longer it takes."""
    halves: tuple[list[Path], list[Path]] = ([], [])
    for file in sorted(files, key=lambda file: (-file.stat().st_size, file)):
        min(halves, key=_size).append(file)
    return (
        *(Part(f"labs {n}", [*map(str, half)]) for n, half in enumerate(halves, 1)),
        Part("rest", [str(HERE), f"--ignore={LABS}"]),
    )


def _size(files: Iterable[Path]) -> int:
    return sum(file.stat().st_size for file in files)


def counted(line: str) -> Counter[str]:
    """Return the numbers of the last line of pytest; none for any other line."""
    found = _SUMMARY.match(line)
    pairs = _COUNT.findall(found[1]) if found else ()
    return Counter({word.removesuffix("s"): int(number) for number, word in pairs})


def total(ended: Sequence[Ended], took_s: float) -> str:
    """Return the tests that did not pass, and one last line for all runs, as pytest has them."""
    counts = sum((one.counts for one in ended), Counter[str]())
    said = ", ".join(f"{counts[kind]} {kind}" for kind in _KINDS if counts[kind])
    not_passed = [line for one in ended for line in one.not_passed]
    return "\n".join([*not_passed, f"{said or 'no tests ran'} in {took_s:.2f}s"])


class Runs:
    """Runs of pytest. Each has a session of its own, so a signal reaches it once.

    Guarantee: none of them outlives `run`.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._running: list[asyncio.subprocess.Process] = []
        self._told_to_end = False

    def end(self, number: signal.Signals) -> None:
        """Tell all to end; they tidy up."""
        self._told_to_end = True
        for process in self._running:
            if process.returncode is None:
                process.send_signal(number)

    async def run(self, part: Part) -> Ended:
        """Run one to its end; print each of its lines behind its name."""
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "pytest", "-q", "--durations=10"),
            *part.arguments,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            cwd=self._folder,
            start_new_session=True,
            limit=_LONGEST_LINE,
        )
        self._running.append(process)
        assert process.stdout is not None
        counts: Counter[str] = Counter()
        not_passed: list[str] = []
        try:
            async for line in process.stdout:
                text = line.decode(errors="replace").rstrip("\n")
                print(f"{part.name} | {text}", flush=True)
                counts.update(counted(text))
                if text.startswith(_NOT_PASSED):
                    not_passed.append(text)
        except BaseException:
            self.end(signal.SIGTERM)
            raise
        finally:
            code = await process.wait()
        return Ended(130 if self._told_to_end else code, counts, not_passed)


async def main() -> int:
    """Return the exit code: that of the first run that did not pass."""
    runs, began = Runs(HERE.parent), time.monotonic()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, runs.end, number)
    ended = await asyncio.gather(*map(runs.run, parts(LABS.glob("test_*.py"))))
    print(total(ended, time.monotonic() - began))
    return next((one.code for one in ended if one.code), 0)


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
