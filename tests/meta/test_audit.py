"""A vulnerability fails the check; an index that cannot be asked does not, and is told of."""

import json
import sys
import time
from importlib.metadata import requires

import pytest
from packaging.requirements import Requirement

from tests.meta.audit import audit, main, shipped

PACKAGES = {"aiohttp": "3.0", "yarl": "1.0"}
SOUND = [{"name": name, "version": v, "vulns": []} for name, v in PACKAGES.items()]
HOLE = {"id": "PYSEC-1", "fix_versions": ["3.1"], "aliases": ["CVE-1"], "description": "bad"}
VULNERABLE = [SOUND[1], {"name": "aiohttp", "version": "3.0", "vulns": [HOLE]}]
SKIPPED = [{"name": name, "skip_reason": "not found"} for name in PACKAGES]


def answers(dependencies, *, code=0, stderr=""):
    """Return a command that answers as pip-audit does."""
    text = json.dumps({"dependencies": dependencies, "fixes": []})
    script = f"import sys; print({text!r}); print({stderr!r}, file=sys.stderr); sys.exit({code})"
    return [sys.executable, "-c", script]


@pytest.mark.parametrize(
    ("command", "code", "said"),
    [
        (answers(SOUND), 0, "audit: 2 packages, no known vulnerability\n"),
        (answers(VULNERABLE, code=1), 1, "VULNERABLE: aiohttp 3.0: PYSEC-1, mended in 3.1\n"),
        (answers(SKIPPED), 0, "NOT DONE: the index says nothing about 2 of 2 packages\n"),
        (answers(SOUND[:1]), 0, "NOT DONE: the index says nothing about 1 of 2 packages\n"),
        (
            answers([VULNERABLE[1], SKIPPED[1]], code=1),
            1,
            "not complete: the index says nothing about 1 of 2 packages\n",
        ),
        (
            [sys.executable, "-c", "import sys; sys.exit('ERROR: connection refused')"],
            0,
            "NOT DONE: ERROR: connection refused\n",
        ),
        (["/nowhere/pip-audit"], 0, "NOT DONE: cannot run /nowhere/pip-audit: No such file"),
    ],
    ids=["sound", "vulnerable", "unknown", "partly", "both", "away", "missing"],
)
def test_what_is_found_fails_and_what_is_not_looked_at_is_said(capsys, command, code, said):
    assert main(PACKAGES, command) == code
    captured = capsys.readouterr()
    assert said in captured.out + captured.err
    assert ("NOT DONE" in captured.err) is ("NOT DONE" in said)


def test_an_index_that_hangs_is_not_waited_for():
    began = time.monotonic()
    found, left_out = audit(
        PACKAGES, [sys.executable, "-c", "import time; time.sleep(600)"], patience_s=0.5
    )
    assert (found, left_out) == ([], "no answer within 0.5 s")
    assert time.monotonic() - began < 30


def test_everything_that_ships_is_asked_about_and_nothing_else():
    found = shipped()
    direct = {Requirement(text).name for text in requires("extip") or ()}
    assert direct <= set(found)
    assert {"multidict", "idna", "urllib3"} <= set(found)  # what those need
    assert not {"pytest", "mypy", "pip-audit", "extip"} & set(found)
