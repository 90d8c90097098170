"""A network namespace that nothing can leave behind.

It has no name and no mount: only this process holds it, so it ends with the process, however that
ends. While entered, the whole main thread is inside: sockets that a test opens and programs that
it runs belong to it. (setns(2) and unshare(2) by libc, since `os` has them from Python 3.12 on.)
"""

import ctypes
import os
import subprocess
import sys
from typing import Self

_CLONE_NEWNET = 0x40000000
_SEND = """
import socket, sys
with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0) as opened:
    opened.bind((sys.argv[1], 0))
    opened.send(bytes.fromhex(sys.argv[2]))
"""
_libc = ctypes.CDLL(None, use_errno=True)


class PrivateNamespace:
    """Enter it to be in a fresh network namespace, with ``lo`` up; leave it to drop it."""

    def __init__(self) -> None:
        self._before = -1

    def __enter__(self) -> Self:
        """Go there; raises PermissionError without CAP_SYS_ADMIN."""
        self._before = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        try:
            _checked(_libc.unshare(_CLONE_NEWNET))
        except BaseException:
            os.close(self._before)
            raise
        try:
            self.ip("link set lo up")
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        _checked(_libc.setns(self._before, _CLONE_NEWNET))
        os.close(self._before)

    def ip(self, *commands: str) -> str:
        """Run the program of that name with each command line; return what it prints."""
        return "".join(
            subprocess.run(["ip", *c.split()], check=True, capture_output=True, text=True).stdout
            for c in commands
        )

    def batch(self, *commands: str) -> None:
        """Run many command lines by one process of `ip`."""
        subprocess.run(["ip", "-batch", "-"], input="\n".join(commands), check=True, text=True)

    def add_veth(self, name: str = "v0", peer: str = "v1") -> None:
        """Make a pair of connected interfaces, both up, that send nothing of their own accord."""
        self.ip(f"link add {name} type veth peer name {peer}")
        for end in (name, peer):
            self.ip(f"link set {end} addrgenmode none", f"link set {end} up")


def _checked(result: int) -> None:
    if result:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


class Elsewhere:
    """Another namespace, to which interfaces can go and from which they come back."""

    def __init__(self, holder: int) -> None:
        self._holder = holder

    def take(self, name: str) -> None:
        _run("ip", "link", "set", name, "netns", str(self._holder))

    def give_back(self, name: str) -> None:
        self.ip(f"link set {name} netns {os.getpid()}")

    def ip(self, *commands: str) -> None:
        """Run the program of that name there, with each command line."""
        for command in commands:
            self._run("ip", *command.split())

    def send(self, name: str, frame: bytes) -> None:
        """Have a frame leave there by an interface."""
        self._run(sys.executable, "-I", "-c", _SEND, name, frame.hex())

    def _run(self, *command: str) -> None:
        _run("nsenter", "-t", str(self._holder), "-n", *command)


def _run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True)
