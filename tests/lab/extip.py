"""extip itself, as a process in a host of the lab."""

import json
import re
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.lab.host import Host
from tests.lab.process import Process
from tests.lab.wait import PATIENCE_S, wait_until

MARK = 225
"""IFA_PROTO of extip's addresses."""

HTTP_PORT = 9188
"""Of what runs on a node's network, by default."""

SCHEDULER_HTTP_PORT = 9190

_HTTP_TIMEOUT_S = 30.0
"""Of a page of its own: how fast it answers is not what tests are about."""


class Extip:
    """A running `extip MODE` whose log is JSON, so that tests can ask for its events."""

    def __init__(
        self,
        host: Host,
        mode: str,
        *flags: str,
        kubeconfig: Path | str,
        env: Mapping[str, str] | None = None,
    ) -> None:
        self.host = host
        self.port = SCHEDULER_HTTP_PORT if mode == "scheduler" else HTTP_PORT
        self.process: Process = host.start(
            [sys.executable, "-m", "extip", mode, f"--kubeconfig={kubeconfig}", *flags],
            env={f"EXTIP_{mode.upper()}_LOG_FORMAT": "json", **(env or {})},
            name=f"extip-{mode}",
        )
        self._logged: list[dict[str, Any]] = []
        self._read = 0
        """Bytes of its log that were read."""

    def events(self, name: str = "", **fields: Any) -> list[dict[str, Any]]:
        """Return the logged events of that name whose fields have these values."""
        self._read_log()
        return [
            event
            for event in self._logged
            if (not name or event["event"] == name)
            and all(event.get(key) == value for key, value in fields.items())
        ]

    def wait_for_event(
        self, name: str, *, count: int = 1, timeout: float = PATIENCE_S, **fields: Any
    ) -> dict[str, Any]:
        """Wait until such an event was logged `count` times; return the last one."""

        def logged() -> dict[str, Any] | None:
            found = self.events(name, **fields)
            if len(found) >= count:
                return found[-1]
            assert self.process.running, f"extip ended:\n{self.process.tail(50)}"
            return None

        try:
            return wait_until(logged, f"event {name} {fields}", timeout=timeout)
        except Exception as error:
            raise AssertionError(f"{error}\n{self.process.tail(50)}") from error

    def addresses(self, interface: str = "eth0") -> set[str]:
        """Return the addresses with prefix that extip put on the interface."""
        return {
            str(address.interface)
            for address in self.host.addresses(interface)
            if address.proto == MARK
        }

    def wait_for_addresses(
        self, *expected: str, interface: str = "eth0", timeout: float = PATIENCE_S
    ) -> None:
        """Wait until extip's addresses on the interface are exactly these."""

        def same() -> bool:
            return self.addresses(interface) == set(expected)

        try:
            wait_until(same, f"addresses {expected}", timeout=timeout)
        except Exception as error:
            raise AssertionError(
                f"{error}; there are {self.addresses(interface)}\n{self.process.tail(50)}"
            ) from error

    def wait_for_refresh(self, *addresses: str, ttl_s: float, after_s: float = 0.0) -> None:
        """Wait until the lifetimes of these addresses were started anew, after a time or from now.

        So the addresses were there, and would not have been without it. The kernel tells what is
        left of `ttl_s` in whole seconds, rounded up, so this takes a second longer. It must not
        tell of more: then they would be there anyway.
        """
        now_s = time.monotonic()
        since_s = max(after_s, now_s)

        def refreshed() -> bool:
            asked_s = time.monotonic()
            left = self.lifetimes_s()
            ends = [asked_s + (left.get(address) or 0) for address in addresses]
            return all(end_s > since_s + ttl_s + 1 for end_s in ends)

        try:
            timeout_s = PATIENCE_S + since_s - now_s
            wait_until(refreshed, f"a refresh of {addresses}", timeout=timeout_s)
        except Exception as error:
            raise AssertionError(f"{error}\n{self.process.tail(50)}") from error
        lifetimes = self.lifetimes_s()
        for address in addresses:
            left_s = lifetimes.get(address, 0)
            assert left_s is not None, f"{address} lives for ever"
            assert left_s <= ttl_s, f"{address} lives for {left_s} s"

    def lifetimes_s(self) -> dict[str, int | None]:
        """Return what the kernel says is left of each external address; None for ever."""
        return {str(a.interface): a.valid_s for a in self.host.addresses("eth0") if a.proto == MARK}

    def http(self, path: str) -> str:
        """GET a page of its HTTP endpoint, whatever the status."""
        return self.host.http_get("127.0.0.1", self.port, path=path, timeout=_HTTP_TIMEOUT_S)

    def metric(self, name: str, **labels: str) -> float:
        """Return the value of one metric; 0 when there is none with these labels."""
        for line in self.http("/metrics").splitlines():
            match = re.fullmatch(r"(\w+)(?:\{(.*)\})? (\S+)", line)
            if match and match[1] == name:
                found = dict(re.findall(r'(\w+)="([^"]*)"', match[2] or ""))
                if all(found.get(key) == value for key, value in labels.items()):
                    return float(match[3])
        return 0.0

    def _read_log(self) -> None:
        """Take the new whole lines: tests look a hundred times a second."""
        with self.process.log.open("rb") as log:
            log.seek(self._read)
            new = log.read()
        new = new[: new.rfind(b"\n") + 1]
        self._read += len(new)
        lines = new.decode(errors="replace").split("\n")
        self._logged += [json.loads(line) for line in lines if line.startswith("{")]
