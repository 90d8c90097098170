"""An API server that has its lists ready: ``lists COUNT``.

So many services, each with a claim that is up, and nothing else. It serves HTTP on a port of
loopback, which it prints first, and gives what is asked for at once. Ends on SIGTERM.
"""

import json
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from extip.api.names import MANAGED_BY, MANAGED_BY_LABEL
from tests.bench.inside.claims import claim
from tests.bench.inside.fill import service

_NAME = "storefront-checkout"
"""Of services, and so of what claims name."""
_NOTHING = b'{"kind":"List","apiVersion":"v1","metadata":{"resourceVersion":"1"},"items":[]}'


class Lists(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    whole: dict[str, bytes] = {}  # noqa: RUF012 - set once, before it serves
    begun: dict[str, bytes] = {}  # noqa: RUF012
    """The first objects of each kind, where the client asks for no more."""

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        known = self.begun if "limit" in parse_qs(url.query) else self.whole
        body = known.get(url.path.rpartition("/")[2], _NOTHING)
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name there
        """Log nothing."""


def _claim(number: int) -> dict[str, Any]:
    made = claim(number, "n1", _NAME)
    made["metadata"]["labels"][MANAGED_BY_LABEL] = MANAGED_BY
    return made


def _service(number: int) -> dict[str, Any]:
    made = service(number, external=True)
    made["metadata"]["namespace"] = "default"
    made["spec"]["externalIPs"] = [_claim(number)["spec"]["cidr"].partition("/")[0]]
    return made


def _list(items: list[dict[str, Any]], more: str = "") -> bytes:
    metadata = {"resourceVersion": "1", "continue": more}
    return json.dumps({"kind": "List", "metadata": metadata, "items": items}).encode()


def main(count: str) -> None:
    for plural, describe in (("ipclaims", _claim), ("services", _service)):
        items = [describe(number) for number in range(int(count))]
        Lists.whole[plural] = _list(items)
        Lists.begun[plural] = _list(items[:1], "more")
    server = ThreadingHTTPServer(("127.0.0.1", 0), Lists)
    print(server.server_port, flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main(*sys.argv[1:])
