"""A host of the lab: something with a network of its own. Nodes, client and router are hosts."""

import http.client
import json
import os
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.lab.anchor import Anchor, wait_for_exit
from tests.lab.errors import LabError
from tests.lab.netlink import Address, dump_addresses
from tests.lab.process import Process
from tests.lab.wait import PATIENCE_S

_SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

SERVICE_ACCOUNT_FILES = "/run/secrets/kubernetes.io/serviceaccount"
"""Where a pod finds them, and a client that finds them takes itself for that pod."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Neighbour:
    """One entry of a neighbour table. `mac` is empty while unresolved; `state` as `ip` names it."""

    ip: str
    mac: str
    interface: str
    state: str


class Host:
    """Runs processes in, and opens sockets in, one set of network, name and mount namespaces."""

    def __init__(self, anchor: Anchor, name: str, sysctls: Mapping[str, str]) -> None:
        self.name = name
        self.anchor = anchor
        self.holder_pid = anchor.make_host(name, dict(sysctls))
        """Pid of the process that holds the namespaces: enter with `nsenter -t PID -a`."""
        self.processes: list[Process] = []
        self._started = 0

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name}>"

    def environment(self, extra: Mapping[str, str] | None = None) -> dict[str, str]:
        """Return the small, fixed environment that processes of the lab get."""
        directory = str(self.anchor.directory)
        return {
            "PATH": f"{Path(sys.executable).parent}:{_SYSTEM_PATH}",
            "HOME": directory,
            "LANG": "C.UTF-8",
            "PYTHONUNBUFFERED": "1",
            **(extra or {}),
        }

    def start(
        self,
        argv: Sequence[str | Path],
        *,
        env: Mapping[str, str] | None = None,
        name: str | None = None,
        stdout: int | None = None,
        pass_fds: Sequence[int] = (),
    ) -> Process:
        """Start a process; stdout and stderr go to a log file, or stdout to the descriptor given.

        Descriptors in `pass_fds` become 3, 4, ... there.
        Raises LabError when the program cannot be executed.
        """
        self._started += 1
        name = name or Path(argv[0]).name
        log = self.anchor.directory / "logs" / f"{self.name}-{name}-{self._started}.log"
        log.parent.mkdir(exist_ok=True)
        with log.open("ab") as file, Path(os.devnull).open("rb") as null:
            fds = [null.fileno(), file.fileno() if stdout is None else stdout, file.fileno()]
            fds += pass_fds
            command = [str(argument) for argument in argv]
            spawned = self.anchor.spawn(self.name, command, self.environment(env), fds)
        process = Process(self.anchor, spawned, name=f"{self.name}/{name}", log=log)
        self.processes = [other for other in self.processes if other.running]
        self.processes.append(process)
        return process

    def run(
        self,
        argv: Sequence[str | Path],
        *,
        stdin: str = "",
        env: Mapping[str, str] | None = None,
        check: bool = True,
        timeout: float = PATIENCE_S,
    ) -> subprocess.CompletedProcess[str]:
        """Run a command to its end. With `check`, a status other than 0 raises LabError."""
        command = [str(argument) for argument in argv]
        fds = [os.memfd_create(stream) for stream in ("stdin", "stdout", "stderr")]
        try:
            os.pwrite(fds[0], stdin.encode(), 0)
            status = self._run(command, self.environment(env), fds, timeout)
            stdout, stderr = (
                os.pread(fd, os.fstat(fd).st_size, 0).decode(errors="replace") for fd in fds[1:]
            )
        finally:
            for fd in fds:
                os.close(fd)
        if check and status != 0:
            raise LabError(f"{self.name}: {' '.join(command)}: status {status}\n{stderr}{stdout}")
        return subprocess.CompletedProcess(command, status, stdout, stderr)

    def _run(self, argv: list[str], env: dict[str, str], fds: list[int], timeout: float) -> int:
        spawned = self.anchor.spawn(self.name, argv, env, fds)
        process = Process(self.anchor, spawned, name=f"{self.name}/{argv[0]}", log=Path(os.devnull))
        if not wait_for_exit(spawned.pidfd, timeout):
            process.kill()
            raise LabError(f"{self.name}: {' '.join(argv)}: still running after {timeout} s")
        return process.wait()

    def open_socket(
        self, family: int, kind: int = socket.SOCK_STREAM, proto: int = 0
    ) -> socket.socket:
        """Open a socket in this host's network for use in the calling process."""
        return self.anchor.open_socket(self.name, family, kind, proto)

    def connect(self, ip: str, port: int, timeout: float = 5.0) -> socket.socket:
        """Open a TCP connection from this host. Raises OSError like `socket.connect`."""
        connection = self.open_socket(socket.AF_INET6 if ":" in ip else socket.AF_INET)
        connection.settimeout(timeout)
        try:
            connection.connect((ip, port))
        except OSError:
            connection.close()
            raise
        return connection

    def http_get(self, ip: str, port: int = 80, *, path: str = "/", timeout: float = 10.0) -> str:
        """GET a page from this host and return the body, stripped. OSError when there is none."""
        host = f"[{ip}]:{port}" if ":" in ip else f"{ip}:{port}"
        with self.connect(ip, port, timeout) as connection:
            connection.sendall(f"GET {path} HTTP/1.0\r\nHost: {host}\r\n\r\n".encode())
            response = http.client.HTTPResponse(connection)
            try:
                response.begin()
                body = response.read().decode(errors="replace")
            except http.client.HTTPException as error:
                raise ConnectionError(f"{host}: no HTTP answer: {error!r}") from error
        return body.strip()

    def addresses(self, interface: str) -> list[Address]:
        """Return the interface's addresses as the kernel tells them, in its order."""
        with self.open_socket(socket.AF_NETLINK, socket.SOCK_RAW) as netlink:
            return dump_addresses(netlink, interface)

    def ip_json(self, *args: str) -> Any:
        """Run `ip -j ARGS` in this host and return what it prints, decoded (None: nothing)."""
        text = self.run(["ip", "-j", *args]).stdout
        return json.loads(text) if text.strip() else None

    def neighbours(self) -> list[Neighbour]:
        """Return the neighbour tables of this host, IPv4 and IPv6."""
        entries = [*(self.ip_json("-4", "neigh") or []), *(self.ip_json("-6", "neigh") or [])]
        return [
            Neighbour(
                ip=entry["dst"],
                mac=entry.get("lladdr", ""),
                interface=entry["dev"],
                state="|".join(entry.get("state", [])),
            )
            for entry in entries
        ]

    def flush_neighbours(self) -> None:
        for family in ("-4", "-6"):
            self.run(["ip", family, "neigh", "flush", "all"])

    def outside(self, path: str) -> Path:
        """Return where a file that this host sees under a path (its /run is private) really is."""
        return Path(f"/proc/{self.holder_pid}/root") / path.lstrip("/")

    def write_file(self, path: str, text: str) -> None:
        """Write a file as this host sees it (its /run is private), folders included."""
        outside = self.outside(path)
        outside.parent.mkdir(parents=True, exist_ok=True)
        outside.write_text(text)
        outside.chmod(0o600)

    def all_pids(self) -> set[int]:
        """Return every process in this host's network, whoever started it, but not the holder."""
        return self.own_pids(pids_by_namespaces())

    def own_pids(self, everybody: Mapping["Namespaces", set[int]]) -> set[int]:
        """Return those of `all_pids`, of what `pids_by_namespaces` has found."""
        mine = _namespaces(self.holder_pid)
        return set() if mine is None else everybody.get(mine, set()) - {self.holder_pid}


Namespaces = tuple[int, int]
"""Network and pid namespace of a process, by their inodes."""


def pids_by_namespaces() -> dict[Namespaces, set[int]]:
    """Look at all processes once, for whoever asks about several hosts."""
    found: dict[Namespaces, set[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            namespaces = _namespaces(int(entry.name))
            if namespaces is not None:
                found.setdefault(namespaces, set()).add(int(entry.name))
    return found


def _namespaces(pid: int) -> Namespaces | None:
    """Identify a process's network and pid namespaces, None when it is gone.

    The pid namespace tells the lab's processes from the `unshare` that waits for the anchor.
    """
    try:
        folder = Path(f"/proc/{pid}/ns")
        return (folder / "net").stat().st_ino, (folder / "pid").stat().st_ino
    except OSError:
        return None
