"""Lets `ip` delete an address again and again, and watches the kernel's notices.

``deletions IFACE ADDRESS/PREFIX COUNT MODE``; with MODE ``repaired`` somebody else is expected to
put the address back each time, with ``own`` this program does. Prints a JSON list of
``{"run_s": ..., "gone_s": ...}``: how long `ip` ran, and how long the address was gone.
"""

import contextlib
import json
import os
import select
import socket
import subprocess
import sys
import time
from ipaddress import ip_interface

_RTMGRP_IPV4_IFADDR = 0x10
_RTM_NEWADDR, _RTM_DELADDR = 20, 21
_BETWEEN_S = 0.05
_PATIENCE_S = 5.0


class Deletions:
    """One netlink socket, and one deletion after the other."""

    def __init__(self, iface: str, address: str) -> None:
        self._iface = iface
        self._address = address
        self._ip = ip_interface(address).packed
        self._events = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_NONBLOCK)
        self._events.bind((0, _RTMGRP_IPV4_IFADDR))
        self._seen: dict[int, float] = {}

    def add(self) -> None:
        subprocess.run(["ip", "addr", "add", self._address, "dev", self._iface], check=True)

    def delete(self, *, repaired: bool) -> dict[str, float]:
        """Delete the address, wait for what has to follow, and tell both times."""
        self._read()
        self._seen.clear()
        command = ["ip", "addr", "del", self._address, "dev", self._iface]
        started = time.monotonic()
        pidfd = os.pidfd_open(os.posix_spawnp("ip", command, os.environ))
        poll = select.poll()
        poll.register(pidfd, select.POLLIN)
        poll.register(self._events, select.POLLIN)
        ended = 0.0
        while not ended or (repaired and _RTM_NEWADDR not in self._seen):
            if time.monotonic() - started > _PATIENCE_S:
                raise SystemExit(f"{self._address} did not come back")
            ready = [fd for fd, _ in poll.poll(1000 * _PATIENCE_S)]
            if self._events.fileno() in ready:
                self._read()
            if pidfd in ready:
                ended = time.monotonic()
                poll.unregister(pidfd)
        result = os.waitid(os.P_PIDFD, pidfd, os.WEXITED)
        os.close(pidfd)
        if result is None or result.si_status:
            raise SystemExit("ip failed")
        gone_s = self._seen[_RTM_NEWADDR] - self._seen[_RTM_DELADDR] if repaired else 0.0
        return {"run_s": ended - started, "gone_s": gone_s}

    def _read(self) -> None:
        """Note when each kind of notice about the address came first."""
        with contextlib.suppress(BlockingIOError):
            while True:
                notice = self._events.recv(65536)
                if self._ip in notice:
                    kind = int.from_bytes(notice[4:6], sys.byteorder)
                    self._seen.setdefault(kind, time.monotonic())


def main(iface: str, address: str, count: str, mode: str) -> None:
    # A notice has to be read before the next one comes, so this goes before whoever repairs.
    with contextlib.suppress(PermissionError):
        policy = os.SCHED_RR | os.SCHED_RESET_ON_FORK  # but `ip` runs as it always does
        os.sched_setscheduler(0, policy, os.sched_param(1))
    deletions = Deletions(iface, address)
    results = []
    for _ in range(int(count)):
        if mode == "own":
            deletions.add()
        time.sleep(_BETWEEN_S)
        results.append(deletions.delete(repaired=mode == "repaired"))
    print(json.dumps(results))


main(*sys.argv[1:])
