"""The scheduler's caches after an outage."""

import asyncio
from random import Random
from typing import cast

from extip.clock import LoopClock
from extip.errors import ApiUnavailableError
from extip.kube.client import ApiClient
from extip.metrics import Metrics
from extip.modes.scheduler_inputs import SchedulingInputs
from extip.plan.permissions import Permissions
from extip.plan.requests import Masks
from extip.supervisor import supervise
from tests.fakes.virtual_time import run_virtually


class Away:
    """An API server that is away, and who asked for it when."""

    def __init__(self):
        self.asked = {}

    def lister_watcher(self, resource, **_scope):
        return _Lister(self, resource.plural)

    def fail(self, what):
        self.asked.setdefault(what, []).append(asyncio.get_running_loop().time())
        raise ApiUnavailableError("away", request=what)


class _Lister:
    def __init__(self, server, plural):
        self._server = server
        self._plural = plural

    async def list(self, *, resource_version):
        self._server.fail(self._plural)


def test_no_cache_waits_its_backoff_out_when_the_api_server_is_back(monkeypatch):
    monkeypatch.setattr(Random, "random", lambda _self: 0.0)  # the longest waits

    async def main():
        server = Away()
        inputs = SchedulingInputs(
            cast("ApiClient", server),
            masks=Masks(v4=32, v6=128),
            lb_class="",
            permissions=Permissions(),
            namespace="x",
            monitor_s=4.0,
            rebalance_after_s=60.0,
            ignored=frozenset(),
            clock=LoopClock(),
            metrics=Metrics("test"),
        )
        caches = [c for c in inputs.components() if c.name.startswith("informer-")]
        running = asyncio.ensure_future(supervise(caches))
        await asyncio.sleep(120)
        now = asyncio.get_running_loop().time()
        assert {"services", "ipclaims", "ipnodes", "nodes", "leases"} <= set(server.asked)
        assert all(times[-1] < now for times in server.asked.values())
        inputs.wake()
        await asyncio.sleep(0.01)
        assert all(times[-1] >= now for times in server.asked.values())
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)

    run_virtually(main())
