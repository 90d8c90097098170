"""At most one controller in a network namespace.

An abstract Unix socket (unix(7)) belongs to the network namespace, as the interfaces do, and the
kernel frees its name with the process: a lock that no crash leaves behind. A process that is
stopped (SIGSTOP) keeps it, and can still be asked who it is: the kernel answers.
"""

import errno
import socket
import struct
from typing import Self

from extip.errors import AlreadyRunningError

_NAME = "\0extip/controller"

_BACKLOG = 4096
"""Each one who asks leaves a connection in the queue, which nobody accepts; when it is full, who
asks no longer learns the pid."""

_CREDENTIALS = struct.Struct("=3i")  # struct ucred: pid, uid, gid


class InstanceLock:
    """Holds the lock while entered."""

    def __init__(self) -> None:
        self._socket: socket.socket | None = None

    def __enter__(self) -> Self:
        """Take the lock; raises `AlreadyRunningError`, which names the holder's pid."""
        lock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        try:
            lock.bind(_NAME)
            lock.listen(_BACKLOG)
        except OSError as error:
            lock.close()
            if error.errno != errno.EADDRINUSE:
                raise
            raise AlreadyRunningError(
                f"another extip controller runs in this network namespace: {_holder()}; "
                "stop it first"
            ) from None
        self._socket = lock
        return self

    def __exit__(self, *_: object) -> None:
        """Give the lock back."""
        lock, self._socket = self._socket, None
        if lock is not None:
            lock.close()


def _holder() -> str:
    """Say who listens on the lock; the kernel recorded it when it began to."""
    with socket.socket(
        socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK
    ) as asking:
        try:
            asking.connect(_NAME)
            raw = asking.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
        except OSError:  # it has just ended, or its queue is full
            return "its pid cannot be told"
    pid = _CREDENTIALS.unpack(raw)[0]
    return f"pid {pid}" if pid else "in another PID namespace (another container)"
