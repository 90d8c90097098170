"""Frames at a rate, from a thread of the test: `with Storm(opened, frames, per_s=20_000):`."""

import socket
import threading
import time
from collections.abc import Sequence
from typing import Self

_PAUSE_S = 0.001
"""Between two bursts."""
_MOST_S = 0.02
"""Of the rate, sent in one burst."""


class Storm:
    """Sends the same frames round and round on a packet socket that is bound, until it ends.

    A machine that is too slow for the rate gets fewer frames: what it missed is not made up for, so
    it neither turns into a flood nor goes on after the end.
    """

    def __init__(self, opened: socket.socket, frames: Sequence[bytes], *, per_s: float) -> None:
        self.count = 0
        """Frames sent so far."""
        self._socket = opened
        self._frames = frames
        self._per_s = per_s
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._send)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _send(self) -> None:
        before_s = time.monotonic()
        while not self._over.wait(_PAUSE_S):
            now_s = time.monotonic()
            due = round(min(now_s - before_s, _MOST_S) * self._per_s)
            before_s = now_s
            for _ in range(due):
                self._socket.send(self._frames[self.count % len(self._frames)])
                self.count += 1
