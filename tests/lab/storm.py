"""Frames at a rate, from a thread of the test: `with Storm(opened, frames, per_s=20_000):`."""

import socket
import threading
import time
from collections.abc import Sequence
from types import TracebackType
from typing import Self


class Storm:
    """Sends the same frames round and round on a packet socket that is bound, until it ends."""

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

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._over.set()
        self._thread.join()

    def _send(self) -> None:
        began = time.monotonic()
        while not self._over.is_set():
            while self.count < (time.monotonic() - began) * self._per_s:
                self._socket.send(self._frames[self.count % len(self._frames)])
                self.count += 1
            time.sleep(0.001)
