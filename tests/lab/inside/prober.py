"""Probes addresses on an absolute schedule: one TCP connection and one HTTP request each time.

A probe is sent when its time has come, whether earlier ones were answered or not. One line on
stdout per finished probe: ``p INDEX SENT ENDED RESULT``, times of CLOCK_MONOTONIC in seconds;
``l SECONDS`` when it sent later behind its schedule than ever before; ``r`` when it is ready.
Ends on SIGTERM, after the probes under way. Standard library only.
"""

import errno
import gc
import json
import os
import select
import signal
import socket
import struct
import sys
import time
from collections import deque
from typing import Any

NAMES = {
    errno.ECONNREFUSED: "refused",
    errno.ECONNRESET: "reset",
    errno.EHOSTUNREACH: "unreachable",
    errno.ENETUNREACH: "unreachable",
}
RESET_ON_CLOSE = struct.pack("ii", 1, 0)


class Probe:
    """One probe under way."""

    __slots__ = ("index", "received", "requested", "sent", "socket")

    def __init__(self, index: int, sent: float, connection: socket.socket) -> None:
        self.index = index
        self.sent = sent
        self.socket = connection
        self.requested = False
        self.received = b""


class Prober:
    """The loop: one thread, any number of probes in flight."""

    def __init__(self, settings: dict[str, Any]) -> None:
        self._targets: list[tuple[int, tuple[str, int], bytes]] = []
        port: int = settings["port"]
        for ip in settings["ips"]:
            family = socket.AF_INET6 if ":" in ip else socket.AF_INET
            host = f"[{ip}]" if ":" in ip else ip
            request = f"GET / HTTP/1.0\r\nHost: {host}\r\n\r\n".encode()
            self._targets.append((family, (ip, port), request))
        self._interval: float = settings["interval_s"]
        self._timeout: float = settings["timeout_s"]
        self._epoll = select.epoll()
        self._flight: dict[int, Probe] = {}
        self._order: deque[Probe] = deque()  # by time sent, so by deadline
        self._worst = 0.0
        self._stopping = False
        self._lines: list[str] = ["r"]

    def stop(self, *_: object) -> None:
        self._stopping = True

    def run(self) -> None:
        due = time.monotonic()
        while not self._stopping or self._flight:
            now = time.monotonic()
            if not self._stopping and now >= due:
                self._note_lateness(now - due)
                self._send_all()
                missed = int((now - due) / self._interval)
                due += (1 + missed) * self._interval
            self._expire(time.monotonic())
            self._write()
            self._poll(due)
        self._write()

    def _poll(self, due: float) -> None:
        until = self._timeout if self._stopping else due - time.monotonic()
        if self._order:
            until = min(until, self._order[0].sent + self._timeout - time.monotonic())
        # epoll waits whole milliseconds and rounds up: leave the last one to a short wait.
        for fd, _ in self._epoll.poll(max(0.0, until - 0.001)):
            probe = self._flight.get(fd)
            if probe is not None:
                self._advance(probe)
        rest = min(due - time.monotonic(), 0.001)
        if rest > 0 and until <= 0.001:
            select.select([], [], [], rest)

    def _send_all(self) -> None:
        for index, (family, address, _) in enumerate(self._targets):
            connection = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
            probe = Probe(index, time.monotonic(), connection)
            self._flight[connection.fileno()] = probe
            self._order.append(probe)
            error = connection.connect_ex(address)
            if error not in (0, errno.EINPROGRESS):
                self._finish(probe, "!" + NAMES.get(error, os.strerror(error)))
            else:
                self._epoll.register(connection.fileno(), select.EPOLLOUT)

    def _advance(self, probe: Probe) -> None:
        try:
            if not probe.requested:
                error = probe.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
                if error:
                    self._finish(probe, "!" + NAMES.get(error, os.strerror(error)))
                    return
                probe.socket.send(self._targets[probe.index][2])
                probe.requested = True
                self._epoll.modify(probe.socket.fileno(), select.EPOLLIN)
                return
            data = probe.socket.recv(4096)
        except OSError as error:
            self._finish(probe, "!" + NAMES.get(error.errno or 0, str(error)))
            return
        probe.received += data
        head, _, body = probe.received.partition(b"\r\n\r\n")
        if body.endswith(b"\n"):
            status = head.split(b" ", 2)[1:2]
            text = body.decode(errors="replace").strip()
            self._finish(probe, text if status == [b"200"] else f"!status {status!r}")
        elif not data:
            self._finish(probe, "!closed")

    def _finish(self, probe: Probe, result: str) -> None:
        ended = time.monotonic()
        self._flight.pop(probe.socket.fileno(), None)
        probe.socket.close()
        self._lines.append(f"p {probe.index} {probe.sent:.6f} {ended:.6f} {result}")

    def _expire(self, now: float) -> None:
        while self._order:
            probe = self._order[0]
            if probe.socket.fileno() >= 0:
                if now < probe.sent + self._timeout:
                    return
                self._finish(probe, "!timeout")
            self._order.popleft()

    def _note_lateness(self, late: float) -> None:
        if late > self._worst:
            self._worst = late
            self._lines.append(f"l {late:.6f}")

    def _write(self) -> None:
        if self._lines:
            os.write(1, ("\n".join(self._lines) + "\n").encode())
            self._lines.clear()


def main() -> None:
    prober = Prober(json.loads(sys.argv[1]))
    signal.signal(signal.SIGTERM, prober.stop)
    gc.freeze()
    gc.disable()
    prober.run()


main()
