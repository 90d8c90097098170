"""The anchor: process 1 of a lab's pid namespace, which starts everything else in it.

It speaks one JSON request and one JSON reply per packet over the socket that it inherits, file
descriptors beside them. When the other end closes the socket, however it died, this process ends,
and with it the kernel ends every process, namespace, link and mount of the lab.

Requests: ``host`` makes a host (net, uts and mount namespaces that a sleeping process holds),
``spawn`` starts a process in one, ``socket`` opens a socket in one, ``status`` tells how a process
ended. Standard library only: it runs isolated from the project.
"""

import contextlib
import ctypes
import json
import os
import selectors
import shutil
import signal
import socket
import sys
import traceback
from pathlib import Path
from typing import Any, NoReturn

CLONE_NEWNS = 0x00020000
CLONE_NEWUTS = 0x04000000
CLONE_NEWNET = 0x40000000
MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_BIND = 2, 4, 8, 4096
MAX_PACKET = 1 << 18
NAMESPACES = ("net", "uts", "mnt")  # mnt last: entering it changes what /proc shows

libc = ctypes.CDLL(None, use_errno=True)


def unshare(flags: int) -> None:
    if libc.unshare(flags) != 0:
        errno = ctypes.get_errno()
        raise OSError(errno, f"unshare: {os.strerror(errno)}")


def setns(fd: int) -> None:
    if libc.setns(fd, 0) != 0:
        errno = ctypes.get_errno()
        raise OSError(errno, f"setns: {os.strerror(errno)}")


def mount(source: str, target: str, kind: str) -> None:
    flags = MS_NOSUID | MS_NODEV | MS_NOEXEC
    if libc.mount(source.encode(), target.encode(), kind.encode(), flags, None) != 0:
        errno = ctypes.get_errno()
        raise OSError(errno, f"mount {target}: {os.strerror(errno)}")


def set_sysctls(values: dict[str, str]) -> None:
    """Write what this kernel has; names that are not there (no br_netfilter) are skipped."""
    for name, value in values.items():
        with contextlib.suppress(FileNotFoundError):
            Path("/proc/sys", name).write_text(value)


def become_host(name: str, sysctls: dict[str, str]) -> None:
    """Turn this process into a host of its own: network, name, /run and /sys."""
    unshare(CLONE_NEWNET | CLONE_NEWUTS | CLONE_NEWNS)
    socket.sethostname(name)
    mount("tmpfs", "/run", "tmpfs")
    with contextlib.suppress(OSError):  # refused in some containers; links are read by netlink
        mount("sysfs", "/sys", "sysfs")
    set_sysctls(sysctls)


class Init:
    """The request loop. One instance, one thread."""

    def __init__(self, control: socket.socket, directory: str) -> None:
        self._control = control
        self._directory = directory
        self._hosts: dict[str, list[int]] = {}
        self._children: dict[int, int] = {}  # pid -> request number
        self._ended: dict[int, int] = {}  # request number -> exit status, negative for a signal
        self._last = 0

    def serve(self) -> None:
        wake_r, wake_w = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(wake_w, warn_on_full_buffer=False)
        with selectors.DefaultSelector() as selector:
            selector.register(wake_r, selectors.EVENT_READ)
            selector.register(self._control, selectors.EVENT_READ)
            self._reply({"ok": True}, [os.pidfd_open(os.getpid())])
            while True:
                ready = [key.fileobj for key, _ in selector.select()]
                if wake_r in ready:
                    os.read(wake_r, 4096)
                self._reap()
                if self._control in ready and not self._serve_one():
                    return

    def _serve_one(self) -> bool:
        try:
            packet, fds, _, _ = socket.recv_fds(self._control, MAX_PACKET, 8)
        except ConnectionResetError:
            return False
        if not packet:
            return False
        request = json.loads(packet)
        try:
            getattr(self, "do_" + request.pop("op"))(fds, **request)
        except Exception:  # noqa: BLE001 - the other end raises it
            self._reply({"ok": False, "error": traceback.format_exc()})
        finally:
            for fd in fds:
                os.close(fd)
        return True

    def _reply(self, reply: dict[str, Any], fds: list[int] | None = None) -> None:
        with contextlib.suppress(BrokenPipeError):
            socket.send_fds(self._control, [json.dumps(reply).encode()], fds or [])
        for fd in fds or []:
            os.close(fd)

    def _reap(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            number = self._children.pop(pid, None)
            if number is not None:
                self._ended[number] = os.waitstatus_to_exitcode(status)

    def _fork(self) -> int:
        pid = os.fork()
        if pid == 0:
            signal.set_wakeup_fd(-1)
            for name in (signal.SIGCHLD, signal.SIGPIPE, signal.SIGINT):
                signal.signal(name, signal.SIG_DFL)
        return pid

    def _enter(self, host: str) -> None:
        for fd in self._hosts[host]:
            setns(fd)

    def do_host(self, _fds: list[int], *, name: str, sysctls: dict[str, str]) -> None:
        """Make a host, or with the name "switch" set the anchor's own network up as one."""
        if name == "switch":
            set_sysctls(sysctls)
            pid = os.getpid()
        else:
            pid = self._hold_host(name, sysctls)
        self._hosts[name] = [
            os.open(f"/proc/{pid}/ns/{kind}", os.O_RDONLY | os.O_CLOEXEC) for kind in NAMESPACES
        ]
        self._reply({"ok": True, "pid": pid}, [os.pidfd_open(pid)])

    def _hold_host(self, name: str, sysctls: dict[str, str]) -> int:
        ready_r, ready_w = os.pipe()
        pid = self._fork()
        if pid == 0:
            self._hold(name, sysctls, ready_w)
        os.close(ready_w)
        with os.fdopen(ready_r) as pipe:
            error = pipe.read()
        if error != "ok":
            raise RuntimeError(error)
        path = Path("/run/netns", name)
        path.parent.mkdir(exist_ok=True)
        path.touch()
        source, target = f"/proc/{pid}/ns/net".encode(), bytes(path)
        if libc.mount(source, target, b"none", MS_BIND, None) != 0:
            raise OSError(ctypes.get_errno(), f"bind mount of {path}")
        return pid

    def _hold(self, name: str, sysctls: dict[str, str], ready: int) -> NoReturn:
        try:
            os.setsid()
            become_host(name, sysctls)
            libc.prctl(15, f"lab-{name}".encode(), 0, 0, 0)  # PR_SET_NAME, for who looks with ps
            os.write(ready, b"ok")
            os.closerange(3, 1024)
            while True:
                signal.pause()
        except BaseException:  # noqa: BLE001 - a forked child must not return
            os.write(ready, traceback.format_exc().encode())
        finally:
            os._exit(1)

    def do_spawn(
        self, fds: list[int], *, host: str, argv: list[str], env: dict[str, str], cwd: str
    ) -> None:
        """Start argv in a host; the descriptors become 0, 1, 2 and, if there are more, 3 and up."""
        error_r, error_w = os.pipe2(os.O_CLOEXEC)
        pid = self._fork()
        if pid == 0:
            self._exec(host, argv, env, cwd, fds, error_w)
        os.close(error_w)
        with os.fdopen(error_r) as pipe:
            error = pipe.read()
        if error:
            os.waitpid(pid, 0)
            raise RuntimeError(error)
        self._last += 1
        self._children[pid] = self._last
        self._reply({"ok": True, "number": self._last, "pid": pid}, [os.pidfd_open(pid)])

    def _exec(
        self,
        host: str,
        argv: list[str],
        env: dict[str, str],
        cwd: str,
        fds: list[int],
        error: int,
    ) -> NoReturn:
        try:
            os.setsid()
            self._enter(host)
            os.chdir(cwd)
            # Two steps, so that no source is overwritten before it is duplicated.
            high = [os.dup2(fd, 100 + number, inheritable=False) for number, fd in enumerate(fds)]
            os.dup2(error, 99, inheritable=False)
            for number, fd in enumerate(high):
                os.dup2(fd, number)
            os.closerange(len(high), 99)
            program = shutil.which(argv[0], path=env.get("PATH")) or argv[0]
            os.execve(program, argv, env)  # noqa: S606 - that is what it is for
        except BaseException as failure:  # noqa: BLE001 - a forked child must not return
            os.write(99, f"{argv[0]}: {failure}".encode())
        finally:
            os._exit(127)

    def do_socket(self, _fds: list[int], *, host: str, family: int, kind: int, proto: int) -> None:
        """Open a socket in a host's network namespace; a child enters it and hands it over."""
        pid = self._fork()
        if pid != 0:
            os.waitpid(pid, 0)
            return
        try:
            setns(self._hosts[host][0])
            fd = socket.socket(family, kind, proto).detach()
            self._reply({"ok": True}, [fd])
        except BaseException:  # noqa: BLE001 - a forked child must not return
            self._reply({"ok": False, "error": traceback.format_exc()})
        finally:
            os._exit(0)

    def do_status(self, _fds: list[int], *, number: int) -> None:
        """Tell a process's exit status, null while it runs."""
        self._reap()
        self._reply({"ok": True, "status": self._ended.get(number)})


def main() -> None:
    directory = sys.argv[2]
    control = socket.socket(fileno=int(sys.argv[1]))
    control.set_inheritable(False)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the other end's to act on
    mount("tmpfs", "/run", "tmpfs")
    try:
        Init(control, directory).serve()
    finally:
        shutil.rmtree(directory, ignore_errors=True)


main()
