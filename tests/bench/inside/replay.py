"""An API server that repeats captured watch lines: ``replay LINES CERTIFICATE KEY``.

Serves HTTPS on a port of loopback that it prints first. A list of services is empty, a watch of
them gets every line of the file as one chunk in one TLS record, as fast as the client reads; any
other path is a namespace. Ends on SIGTERM.
"""

import ssl
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

_LIST = b'{"kind":"ServiceList","apiVersion":"v1","metadata":{"resourceVersion":"1"},"items":[]}'
_NAMESPACE = b'{"kind":"Namespace","apiVersion":"v1","metadata":{"name":"default"}}'


class Replay(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    chunks: tuple[bytes, ...] = ()

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        if not url.path.endswith("/services"):
            self._answer(_NAMESPACE)
        elif "watch" in parse_qs(url.query):
            self._replay()
        else:
            self._answer(_LIST)

    def _answer(self, body: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _replay(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        try:
            for chunk in self.chunks:
                self.wfile.write(chunk)
            self.wfile.write(b"0\r\n\r\n")
        except OSError:  # the client has seen enough
            self.close_connection = True

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name there
        """Log nothing."""


def main(lines: str, certificate: str, key: str) -> None:
    with Path(lines).open("rb") as file:
        Replay.chunks = tuple(b"%x\r\n%b\r\n" % (len(line), line) for line in file)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate, key)
    server = ThreadingHTTPServer(("127.0.0.1", 0), Replay)
    server.daemon_threads = True
    server.socket = tls.wrap_socket(server.socket, server_side=True)
    print(server.server_address[1], flush=True)
    server.serve_forever()


main(*sys.argv[1:])
