"""An API server that misbehaves: a proxy in front of the real one, for those who are told of it."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

from tests.lab.anchor import python
from tests.lab.api import PORT
from tests.lab.cluster import Lab
from tests.lab.control_plane import write_kubeconfig
from tests.lab.daemon import Daemon
from tests.lab.network import API_SERVER_IP

PROXY_PORT = 6444


class ApiProxy:
    """`with ApiProxy(lab) as proxy:` and programs that take `proxy.kubeconfig`."""

    def __init__(self, lab: Lab) -> None:
        self._lab = lab
        credentials = lab.control_plane.credentials
        self._orders = lab.anchor.directory / "api-proxy.json"
        self.kubeconfig: Path = write_kubeconfig(
            lab.kubeconfig.parent / "proxied",
            server=f"https://{API_SERVER_IP}:{PROXY_PORT}",
            certificate=credentials.certificate,
            token=credentials.admin_token,
        )
        settings = {
            "listen": [API_SERVER_IP, PROXY_PORT],
            "server": [API_SERVER_IP, PORT],
            "certificate": str(credentials.certificate),
            "key": str(credentials.key),
            "orders": str(self._orders),
        }
        argv = python("api_proxy.py", json.dumps(settings))
        self._daemon = Daemon(lab.switch, "api-proxy", argv, ready=self._accepts)

    def __enter__(self) -> Self:
        self._order({})
        self._daemon.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._daemon.stop()

    def _accepts(self) -> bool:
        self._lab.switch.connect(API_SERVER_IP, PROXY_PORT).close()
        return True

    @contextmanager
    def misbehaving(
        self,
        *,
        about: str = "",
        delay_s: float = 0.0,
        status: int = 0,
        retry_after_s: int | None = None,
        away: bool = False,
        watch_s: float | None = None,
    ) -> Iterator[None]:
        """Answer late, or with a failure, or hang up, or end watches after a time, for a while.

        Only requests whose path contains the text `about`.
        """
        now = {
            "about": about,
            "delay_s": delay_s,
            "status": status,
            "retry_after_s": retry_after_s,
            "away": away,
            "watch_s": watch_s,
        }
        with self._ordered(now):
            yield

    @contextmanager
    def losing_answers(self, *, about: str = "") -> Iterator[None]:
        """Let writes take effect, and hang up on who waits for the answer, for a while."""
        with self._ordered({"about": about, "lost": True}):
            yield

    @contextmanager
    def _ordered(self, now: dict[str, Any]) -> Iterator[None]:
        self._order(now)
        try:
            yield
        finally:
            self._order({})

    def _order(self, orders: dict[str, Any]) -> None:
        """Write them in one step: the proxy reads at any time."""
        draft = self._orders.with_suffix(".new")
        draft.write_text(json.dumps(orders))
        draft.replace(self._orders)

    def answered(self, status: int, *, containing: str = "") -> int:
        """Count the answers with a status (0: hung up) to requests whose path contains a text."""
        lines = self._daemon.process.output().splitlines()
        return sum(line.startswith(f"{status} ") and containing in line for line in lines)
