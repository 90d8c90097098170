"""A vulnerability fails the check; an index that cannot be asked does not, and is told of."""

import json
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import requires, version

import pytest
from packaging.requirements import Requirement

from tests.meta.audit import PIP_AUDIT, audit, main, shipped

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


class Advisories(BaseHTTPRequestHandler):
    """Answers as osv.dev does (API v1, query): every version of aiohttp before 99.0 has a hole."""

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        package = {"name": "aiohttp", "ecosystem": "PyPI"}
        events = [{"introduced": "0"}, {"fixed": "99.0"}]
        affected = {"package": package, "ranges": [{"type": "ECOSYSTEM", "events": events}]}
        hole = {"id": "GHSA-1", "modified": "2026-01-01T00:00:00Z", "affected": [affected]}
        found = {"vulns": [hole]} if asked["package"]["name"] == "aiohttp" else {}
        body = json.dumps(found).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextmanager
def advisory_server() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Advisories) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/v1/query"
        server.shutdown()


def test_pip_audit_finds_what_an_advisory_server_tells_it():
    packages = {"aiohttp": version("aiohttp"), "yarl": version("yarl")}
    with advisory_server() as url:
        command = [*PIP_AUDIT, "--vulnerability-service=osv", f"--osv-url={url}"]
        found, left_out = audit(packages, command, patience_s=120)
    assert found == [f"aiohttp {packages['aiohttp']}: GHSA-1, mended in 99.0"]
    assert left_out == ""


def test_everything_that_ships_is_asked_about_and_nothing_else():
    found = shipped()
    direct = {Requirement(text).name for text in requires("extip") or ()}
    assert direct <= set(found)
    assert {"multidict", "idna", "urllib3"} <= set(found)  # what those need
    assert not {"pytest", "mypy", "pip-audit", "extip"} & set(found)
