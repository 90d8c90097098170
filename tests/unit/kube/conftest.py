"""A client on a server that may misbehave, both on one virtual-time loop."""

from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from random import Random
from typing import cast

import pytest

from extip.api.core_v1 import Service
from extip.api.resources import SERVICES
from extip.cache.informer import Informer
from extip.clock import LoopClock
from extip.kube.client import ApiClient, connect
from extip.log import Logger
from extip.metrics import Metrics
from tests.fakes.http_api import HttpApiServer
from tests.fakes.recorder import RecordingLogger
from tests.fakes.tasks import beside
from tests.fakes.virtual_time import run_virtually


def kubeconfig(directory: Path, server: str, user: str = "{token: secret}", **cluster: str) -> str:
    """Write a kubeconfig; `user` and what is about the cluster are YAML in flow style."""
    more = "".join(f", {key.replace('_', '-')}: {value}" for key, value in cluster.items())
    path = directory / "kubeconfig"
    path.write_text(
        f"""\
apiVersion: v1
kind: Config
current-context: here
contexts: [{{name: here, context: {{cluster: c, user: u}}}}]
clusters: [{{name: c, cluster: {{server: "{server}"{more}}}}}]
users: [{{name: u, user: {user}}}]
"""
    )
    return str(path)


class Rig:
    """What a test needs: the server, a client, an informer of its Services."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.server = HttpApiServer()
        self.metrics = Metrics("test")
        self.logger = RecordingLogger()
        self.user = "{token: secret}"
        self.client: ApiClient
        self.informer: Informer[Service]

    @asynccontextmanager
    async def connected(self):
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(self.server.listening())
            path = kubeconfig(self.directory, self.server.url, self.user)
            self.client = await stack.enter_async_context(connect(path, metrics=self.metrics))
            self.informer = Informer(
                "services",
                self.client.lister_watcher(SERVICES),
                clock=LoopClock(),
                rng=Random(1),  # noqa: S311
                metrics=self.metrics,
                logger=cast("Logger", self.logger),
            )
            yield self

    @asynccontextmanager
    async def informing(self):
        async with self.connected(), beside(self.informer.run()):
            yield self

    def in_sync(self):
        return dict(self.informer.store) == self.server.api.objects

    def sample(self, name, **labels):
        return self.metrics.registry.get_sample_value(name, labels)


@pytest.fixture
def rig(tmp_path):
    return Rig(tmp_path)


@pytest.fixture
def run():
    return run_virtually
