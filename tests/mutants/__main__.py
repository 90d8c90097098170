"""`python -m tests.mutants [NAME ...]`: exit code 1 when one survives, 2 when it cannot run."""

import argparse
import signal
import sys
import time
from collections.abc import Sequence
from fnmatch import fnmatch
from pathlib import Path

from tests.mutants.catalogue import MUTATIONS
from tests.mutants.mutation import Mutation, StaleMutationError
from tests.mutants.runner import Fate, Result, SelectionFailsError, run

_ROOT = Path(__file__).parents[2]


def main() -> int:
    """Try the chosen mutations, all by default; return the exit code."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    chosen, began = _chosen(), time.monotonic()
    try:
        results = run(chosen, root=_ROOT, tell=_tell)
    except (StaleMutationError, SelectionFailsError) as error:
        print(f"mutants: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    print(table(results))
    left = [one for one in results if one.fate not in (Fate.CAUGHT, Fate.HUNG)]
    outcome = f"{len(left)} NOT CAUGHT" if left else "all caught"
    print(f"\n{len(results)} mutations, {outcome}; {time.monotonic() - began:.0f} s")
    return 1 if left else 0


def table(results: Sequence[Result]) -> str:
    """Return a line for each mutation: its name, the promise, and the test that caught it."""
    rows = [(one.mutation.name, one.mutation.promise, _end(one)) for one in results]
    widths = [max(map(len, column)) for column in list(zip(*rows, strict=True))[:2]]
    return "\n".join(
        f"{name:<{widths[0]}}  {promise:<{widths[1]}}  {end}" for name, promise, end in rows
    )


def _end(result: Result) -> str:
    if result.fate is Fate.CAUGHT:
        return result.test
    tests = result.test or ", ".join(result.mutation.tests)
    return f"{result.fate.value} ({tests}{f': {result.error}' if result.error else ''})"


def _tell(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _chosen() -> Sequence[Mutation]:
    parser = argparse.ArgumentParser(
        prog="python -m tests.mutants",
        description="Apply dangerous changes to copies of the tree, one by one; tests must fail.",
    )
    parser.add_argument("names", metavar="NAME", nargs="*", help="names, also such as 'lease-*'")
    names: list[str] = parser.parse_args().names
    chosen = [m for m in MUTATIONS if not names or any(fnmatch(m.name, name) for name in names)]
    if not chosen:
        parser.error(f"no mutation is named {' or '.join(names)}")
    return chosen


if __name__ == "__main__":
    sys.exit(main())
