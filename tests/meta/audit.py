"""Looks for known vulnerabilities in what extip ships with: `python -m tests.meta.audit`.

`pip-audit` asks the package index about each of them, in the versions that are installed here. One
that is found fails. Where the index cannot be asked, or does not know, nothing fails and one line
says that the audit was not done: a check must work on a machine without a network.
"""

import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from importlib.metadata import requires, version
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

PATIENCE_S = 18.0
"""For the whole audit; an index that answers takes a few seconds."""

PIP_AUDIT = (str(Path(sys.executable).with_name("pip-audit")), "--disable-pip", "--no-deps")


def shipped(package: str = "extip") -> dict[str, str]:
    """Return what a package needs at run time, with all that those need: version by name."""
    found: dict[str, str] = {}
    waiting = [package]
    while waiting:
        for text in requires(waiting.pop()) or ():
            needed = Requirement(text)
            name = canonicalize_name(needed.name)
            if name in found or (needed.marker and not needed.marker.evaluate({"extra": ""})):
                continue
            found[name] = version(name)
            waiting.append(name)
    return found


def audit(
    packages: Mapping[str, str],
    command: Sequence[str] = PIP_AUDIT,
    *,
    patience_s: float = PATIENCE_S,
) -> tuple[list[str], str]:
    """Return what was found, a line each, and why not all was looked at (empty: it was)."""
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as pinned:
        pinned.write("".join(f"{name}=={number}\n" for name, number in packages.items()))
        pinned.flush()
        options = ("--format=json", "--progress-spinner=off", "--timeout=5", "--requirement")
        try:
            run = subprocess.run(
                [*command, *options, pinned.name],
                capture_output=True, text=True, check=False, timeout=patience_s,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            return [], f"no answer within {patience_s:g} s"
        except OSError as error:
            return [], f"cannot run {command[0]}: {error.strerror}"
    try:
        answers = json.loads(run.stdout)["dependencies"]
    except (ValueError, KeyError, TypeError):
        return [], (run.stderr.strip().splitlines() or ["no answer"])[-1]
    return _read(packages, answers)


def _read(packages: Mapping[str, str], answers: Sequence[dict[str, Any]]) -> tuple[list[str], str]:
    known = {canonicalize_name(a["name"]): a for a in answers if "vulns" in a}
    found = [
        f"{name} {packages.get(name, '')}: {vulnerability['id']}, mended in "
        f"{', '.join(vulnerability.get('fix_versions') or ['no version yet'])}"
        for name, answer in known.items()
        for vulnerability in answer["vulns"]
    ]
    unknown = sorted(set(packages) - set(known))
    if not unknown:
        return found, ""
    return found, f"the index says nothing about {len(unknown)} of {len(packages)} packages"


def main(packages: Mapping[str, str] | None = None, command: Sequence[str] = PIP_AUDIT) -> int:
    """Audit and say what came of it; return the exit code: 1 when something was found."""
    audited = shipped() if packages is None else packages
    found, left_out = audit(audited, command)
    for line in found:
        print(f"audit: VULNERABLE: {line}", file=sys.stderr)
    if left_out:
        what = "not complete" if found else "NOT DONE"
        print(f"audit: {what}: {left_out}", file=sys.stderr)
    elif not found:
        print(f"audit: {len(audited)} packages, no known vulnerability")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
