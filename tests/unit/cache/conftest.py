"""A whole informer on a server in memory."""

from contextlib import asynccontextmanager
from random import Random
from typing import cast

import pytest

from extip.api.core_v1 import Service
from extip.cache.informer import Informer
from extip.clock import LoopClock
from extip.log import Logger
from extip.metrics import Metrics
from tests.fakes.api_server import FakeApiServer
from tests.fakes.recorder import RecordingLogger
from tests.fakes.tasks import beside


class Rig:
    """An informer, the server it caches, and what it said."""

    def __init__(self, seed=1):
        self.server = FakeApiServer()
        self.logger = RecordingLogger()
        self.metrics = Metrics("test")
        self.keys: list[str] = []
        self.informer: Informer[Service] = Informer(
            "services",
            self.server,
            clock=LoopClock(),
            rng=Random(seed),  # noqa: S311
            metrics=self.metrics,
            logger=cast("Logger", self.logger),
        )
        self.informer.add_handler(self.keys.append)

    @asynccontextmanager
    async def running(self):
        async with beside(self.informer.run()) as [task]:
            yield self
        assert task.cancelled()

    def in_sync(self):
        return dict(self.informer.store) == self.server.objects

    def count(self, name, **labels):
        return self.metrics.registry.get_sample_value(name, {"resource": "services"} | labels)


@pytest.fixture
def rig():
    return Rig()
