"""Stands in front of the API server and misbehaves as a file of orders says, read for each request.

Orders: ``about`` requests whose path contains this text; ``delay_s`` before an answer begins;
``status`` to answer with instead of asking, with ``retry_after_s`` if it is not null; ``away`` to
hang up without an answer; ``lost`` to hang up once a write has taken effect; ``watch_s`` after
which a watch is ended in order, also one that is open already (null: as the server ends it).

One line on stdout per answer: ``STATUS METHOD PATH``, status 0 when hung up. Standard library only.
"""

import contextlib
import http.client
import http.server
import json
import os
import socket
import ssl
import sys
import threading
import time
from pathlib import Path
from typing import Any

TICK_S = 0.05
PASSED_ON = ("Authorization", "Accept", "Accept-Encoding", "Content-Type")
PASSED_BACK = ("Content-Type", "Content-Encoding", "Retry-After")

SETTINGS: dict[str, Any] = json.loads(sys.argv[1])
UPSTREAM = ssl.create_default_context(cafile=SETTINGS["certificate"])


WELL = {
    "delay_s": 0.0,
    "status": 0,
    "retry_after_s": None,
    "away": False,
    "lost": False,
    "watch_s": None,
}


def orders(path: str) -> dict[str, Any]:
    """Return how to answer a request for a path."""
    found: dict[str, Any] = json.loads(Path(SETTINGS["orders"]).read_text())
    return WELL | found if found.get("about", "") in path else WELL


class Watches:
    """The streams that are open, each with its path and the time of its start."""

    def __init__(self) -> None:
        self._open: dict[socket.socket, tuple[str, float]] = {}
        self._lock = threading.Lock()

    def add(self, upstream: socket.socket, path: str) -> None:
        with self._lock:
            self._open[upstream] = path, time.monotonic()

    def remove(self, upstream: socket.socket) -> None:
        with self._lock:
            self._open.pop(upstream, None)

    def keep_orders(self) -> None:
        """End what has lasted for too long; for ever."""
        while True:
            time.sleep(TICK_S)
            with self._lock:
                for upstream, (path, since) in self._open.items():
                    now = orders(path)
                    limit_s = 0.0 if now["away"] else now["watch_s"]
                    if limit_s is not None and time.monotonic() - since >= limit_s:
                        with contextlib.suppress(OSError):  # it has just ended by itself
                            # Not the TLS socket's own: that takes away what a thread reads of.
                            socket.socket.shutdown(upstream, socket.SHUT_RDWR)


WATCHES = Watches()


class Handler(http.server.BaseHTTPRequestHandler):
    """One connection of a client, and one of its own to the API server."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    upstream: http.client.HTTPSConnection | None = None

    def handle(self) -> None:
        try:
            super().handle()
        except OSError:
            pass  # the client went away
        finally:
            if self.upstream is not None:
                self.upstream.close()

    def log_message(self, *_: object) -> None:
        """Say nothing; `_say` does."""

    def _say(self, status: int) -> None:
        os.write(1, f"{status} {self.command} {self.path}\n".encode())

    def _answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
        now = orders(self.path)
        if now["delay_s"]:
            time.sleep(now["delay_s"])
            now = orders(self.path)
        if now["away"]:
            self._hang_up()
        elif now["status"]:
            self._refuse(now["status"], now["retry_after_s"])
        else:
            try:
                self._pass_on(body)
            except (OSError, http.client.HTTPException):
                self._hang_up()

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _answer  # noqa: N815 - names of http.server

    def _hang_up(self) -> None:
        self._say(0)
        self.close_connection = True

    def _refuse(self, status: int, retry_after_s: int | None) -> None:
        failure = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": status}
        body = json.dumps({**failure, "message": "told to fail", "reason": "Told"}).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        if retry_after_s is not None:
            self.send_header("Retry-After", str(retry_after_s))
        self.end_headers()
        self.wfile.write(body)
        self._say(status)

    def _pass_on(self, body: bytes) -> None:
        if self.upstream is None:
            host, port = SETTINGS["server"]
            self.upstream = http.client.HTTPSConnection(host, port, context=UPSTREAM, timeout=600)
        headers = {name: self.headers[name] for name in PASSED_ON if name in self.headers}
        self.upstream.request(self.command, self.path, body or None, headers)
        response = self.upstream.getresponse()
        if self.command != "GET" and orders(self.path)["lost"]:
            response.read()
            self._hang_up()
            return
        self._say(response.status)
        self.send_response(response.status)
        for name in PASSED_BACK:
            if name in response.headers:
                self.send_header(name, response.headers[name])
        if "watch=1" in self.path and response.status == http.HTTPStatus.OK:
            self._stream(response)
            return
        whole = response.read()
        self.send_header("Content-Length", str(len(whole)))
        self.end_headers()
        self.wfile.write(whole)

    def _stream(self, response: http.client.HTTPResponse) -> None:
        assert self.upstream is not None
        upstream = self.upstream.sock
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        WATCHES.add(upstream, self.path)
        try:
            while data := response.read1(1 << 16):
                self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
        except (OSError, http.client.HTTPException):
            pass  # ended by order
        finally:
            WATCHES.remove(upstream)
            self.upstream.close()
        self.wfile.write(b"0\r\n\r\n")
        self.close_connection = True


class Server(http.server.ThreadingHTTPServer):
    """A thread for each connection."""

    daemon_threads = True
    request_queue_size = 128


def main() -> None:
    server = Server(tuple(SETTINGS["listen"]), Handler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(SETTINGS["certificate"], SETTINGS["key"])
    # The handshake is the connection's own thread's: nobody who is slow at it holds others up.
    server.socket = context.wrap_socket(
        server.socket, server_side=True, do_handshake_on_connect=False
    )
    threading.Thread(target=WATCHES.keep_orders, daemon=True).start()
    server.serve_forever()


main()
