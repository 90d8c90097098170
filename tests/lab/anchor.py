"""The outer half of the anchor: starts it, and asks it for hosts, processes and sockets.

The anchor is process 1 of a pid namespace of its own (`inside/init.py`). Whatever ends it, ends
all of the lab; it ends itself when the socket to this process closes, so also when this process is
killed. Without CAP_SYS_ADMIN everything is wrapped in a user namespace.
"""

import contextlib
import fcntl
import json
import os
import select
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.lab.errors import LabError

INSIDE = Path(__file__).parent / "inside"
START_TIMEOUT_S = 60.0
_MAX_PACKET = 1 << 18
_CAP_SYS_ADMIN = 21
_PREFIX = "extip-lab-"
_SWEEP_AFTER_S = 60.0


def python(script: str, *args: str) -> list[str]:
    """Command line that runs a script of `inside/`, isolated from the project and from site."""
    return [sys.executable, "-I", "-S", str(INSIDE / script), *args]


def pid_of(pidfd: int) -> int:
    """Return the process behind a pidfd, as this process's pid namespace numbers it."""
    for line in Path(f"/proc/self/fdinfo/{pidfd}").read_text().splitlines():
        if line.startswith("Pid:"):
            return int(line.split()[1])
    raise LabError("this kernel does not tell the pid behind a pidfd")


def wait_for_exit(pidfd: int, timeout_s: float | None) -> bool:
    """Return True as soon as the process has ended, False after the time given (None: never)."""
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    return bool(poll.poll(None if timeout_s is None else timeout_s * 1000))


@dataclass(frozen=True, slots=True, kw_only=True)
class Spawned:
    """A process that the anchor has started: its number there, and handles that work here."""

    number: int
    pidfd: int
    pid: int
    inner_pid: int


class Anchor:
    """Starts on construction; `close` ends it and waits until everything on it is gone."""

    def __init__(self) -> None:
        _sweep()
        self.directory = Path(tempfile.mkdtemp(prefix=_PREFIX))
        self._lock = threading.Lock()
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._control = ours
        command = [*_unshare(), *python("init.py", str(theirs.fileno()), str(self.directory))]
        self._log = (self.directory / "anchor.log").open("wb")
        fcntl.flock(self._log, fcntl.LOCK_SH)  # inherited: held as long as anything of it lives
        self._unshare = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=self._log,
            pass_fds=[theirs.fileno()],
            start_new_session=True,
        )
        theirs.close()
        self._pidfd = self._await_hello()
        self.pid = pid_of(self._pidfd)

    def _await_hello(self) -> int:
        self._control.settimeout(START_TIMEOUT_S)
        try:
            _, (pidfd,) = self._receive()
        except (OSError, ValueError, LabError) as error:
            said = (self.directory / "anchor.log").read_text().strip()
            self._unshare.kill()
            self._unshare.wait()
            self._control.close()
            shutil.rmtree(self.directory, ignore_errors=True)
            raise LabError(f"cannot make the lab's namespaces: {said or error}") from error
        self._control.settimeout(None)
        return pidfd

    def _receive(self) -> tuple[dict[str, Any], list[int]]:
        packet, fds, _, _ = socket.recv_fds(self._control, _MAX_PACKET, 4)
        if not packet:
            raise LabError("the lab's anchor is gone")
        return json.loads(packet), fds

    def _ask(self, op: str, fds: list[int], **request: Any) -> tuple[dict[str, Any], list[int]]:
        with self._lock:
            try:
                packet = json.dumps({"op": op, **request}).encode()
                socket.send_fds(self._control, [packet], fds)
                reply, received = self._receive()
            except OSError as error:
                raise LabError(f"the lab's anchor is gone: {error}") from error
        for fd in received:
            os.set_inheritable(fd, False)  # noqa: FBT003 - takes it by position only
        if not reply["ok"]:
            raise LabError(reply["error"].strip())
        return reply, received

    def make_host(self, name: str, sysctls: dict[str, str]) -> int:
        """Make a host and return the pid of the process that holds its namespaces."""
        _, (pidfd,) = self._ask("host", [], name=name, sysctls=sysctls)
        try:
            return pid_of(pidfd)
        finally:
            os.close(pidfd)

    def spawn(self, host: str, argv: list[str], env: dict[str, str], fds: list[int]) -> Spawned:
        """Start a process in a host, in the lab's directory. The caller closes fds and pidfd."""
        reply, (pidfd,) = self._ask(
            "spawn", fds, host=host, argv=argv, env=env, cwd=str(self.directory)
        )
        return Spawned(
            number=reply["number"], pidfd=pidfd, pid=pid_of(pidfd), inner_pid=reply["pid"]
        )

    def exit_status(self, number: int) -> int | None:
        """Return a process's exit status (negative: the signal), None while it runs."""
        status: int | None = self._ask("status", [], number=number)[0]["status"]
        return status

    def open_socket(self, host: str, family: int, kind: int, proto: int = 0) -> socket.socket:
        """Open a socket that lives in a host's network and is used from this process."""
        _, (fd,) = self._ask("socket", [], host=host, family=family, kind=kind, proto=proto)
        return socket.socket(fileno=fd)

    def close(self) -> None:
        """End everything in the lab and wait for it; safe to call again, and after a kill."""
        if self._control.fileno() < 0:
            return
        self._control.close()
        if not wait_for_exit(self._pidfd, 10.0):
            self._unshare.kill()
        self._unshare.wait()
        wait_for_exit(self._pidfd, None)
        os.close(self._pidfd)
        self._log.close()
        shutil.rmtree(self.directory, ignore_errors=True)


def _sweep() -> None:
    """Remove the folders of labs that were killed together with the process that started them."""
    for log in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*/anchor.log"):
        with contextlib.suppress(OSError):  # another user's, or locked by a lab that lives
            if time.time() - log.stat().st_mtime > _SWEEP_AFTER_S:
                with log.open() as file:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    shutil.rmtree(log.parent)


def _unshare() -> list[str]:
    command = ["unshare", "--mount", "--mount-proc", "--pid", "--net", "--uts", "--fork"]
    command.append("--kill-child")
    if not _may_unshare():
        command += ["--user", "--map-root-user"]
    return command


def _may_unshare() -> bool:
    with contextlib.suppress(OSError, ValueError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("CapEff:"):
                return bool(int(line.split()[1], 16) >> _CAP_SYS_ADMIN & 1)
    return False
