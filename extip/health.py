"""The HTTP endpoint: ``/livez``, ``/readyz`` and ``/metrics``.

Liveness answers whether this process still works; it never depends on the API server, since
restarting extip cannot mend that. Readiness names each condition that does not hold.
"""

import asyncio
from collections.abc import Callable, Mapping

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest

from extip.errors import ConfigurationError

Check = Callable[[], str]
"""Returns the empty string when all is well, otherwise what is in the way."""

_SHUTDOWN_S = 0.5


class HealthServer:
    """Serves health and metrics on one TCP port until cancelled."""

    def __init__(
        self,
        listen: tuple[str, int],
        *,
        live: Mapping[str, Check],
        ready: Mapping[str, Check],
        registry: CollectorRegistry,
    ) -> None:
        self._host, self._port = listen
        self._live = live
        self._ready = ready
        self._registry = registry

    async def run(self) -> None:
        """Serve; raises ConfigurationError when the address cannot be bound."""
        app = web.Application()
        app.router.add_get("/livez", self._livez)
        app.router.add_get("/healthz", self._livez)
        app.router.add_get("/readyz", self._readyz)
        app.router.add_get("/metrics", self._metrics)
        runner = web.AppRunner(
            app, access_log=None, handle_signals=False, shutdown_timeout=_SHUTDOWN_S
        )
        await runner.setup()
        try:
            await self._bind(runner)
            await asyncio.get_running_loop().create_future()  # until cancelled
        finally:
            await runner.cleanup()

    async def _bind(self, runner: web.AppRunner) -> None:
        try:
            await web.TCPSite(runner, self._host, self._port).start()
        except OSError as error:
            raise ConfigurationError(
                f"--http: cannot listen on {self._host}:{self._port} ({error.strerror}); "
                "choose another address, or an empty one for no endpoint"
            ) from error

    async def _livez(self, _: web.Request) -> web.Response:
        return _report(self._live)

    async def _readyz(self, _: web.Request) -> web.Response:
        return _report(self._ready)

    async def _metrics(self, _: web.Request) -> web.Response:
        return web.Response(
            body=generate_latest(self._registry), headers={"Content-Type": CONTENT_TYPE_LATEST}
        )


def _report(checks: Mapping[str, Check]) -> web.Response:
    """Answer 200 ``ok``, or 503 with a line for each check, failed ones with their reason."""
    failures = {name: reason for name, check in checks.items() if (reason := check())}
    if not failures:
        return web.Response(text="ok\n")
    lines = [
        f"[-] {name}: {failures[name]}" if name in failures else f"[+] {name}" for name in checks
    ]
    return web.Response(status=503, text="\n".join(lines) + "\n")
