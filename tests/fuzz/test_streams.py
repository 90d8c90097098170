"""Whatever a server says, the cache stays calm, and is right once the server is sane."""

import asyncio
import json
from collections import deque
from contextlib import asynccontextmanager
from random import Random
from typing import cast

from hypothesis import given, settings
from hypothesis import strategies as st

from extip.api.core_v1 import Service
from extip.api.resources import SERVICES
from extip.cache.informer import Informer
from extip.clock import LoopClock
from extip.errors import ApiError
from extip.kube.codec import ResourceCodec
from extip.log import Logger
from extip.metrics import Metrics
from tests.fakes.api_server import End, FakeApiServer
from tests.fakes.recorder import RecordingLogger
from tests.fakes.tasks import beside
from tests.fakes.virtual_time import run_virtually
from tests.fuzz import objects
from tests.fuzz.objects import junk, listed, mangled

CALM_S = 3600.0
"""More than a stream lasts, and the longest backoff after it."""


class FuzzedServer(FakeApiServer):
    """A server whose answers are now and then any bytes, read by the real decoder."""

    def __init__(self) -> None:
        super().__init__()
        self.codec = ResourceCodec(SERVICES)
        self.bodies: deque[bytes] = deque()

    async def list(self, *, resource_version: str):
        page = await super().list(resource_version=resource_version)
        return self.codec.decode_list(self.bodies.popleft()) if self.bodies else page

    def say(self, line: bytes) -> None:
        """Put a line on every open stream."""
        try:
            event = self.codec.decode_event(line)
        except ApiError as error:
            self.break_streams(error)
        else:
            self.send(event)


def _line(kind: str, body: str) -> bytes:
    return f'{{"type":{json.dumps(kind)},"object":{body}}}'.encode()


kinds = st.sampled_from(["ADDED", "MODIFIED", "DELETED", "BOOKMARK", "ERROR", "NEWS", ""])
bodies = st.one_of(
    mangled(objects.SERVICE), st.sampled_from(["{}", "null", "[]"]), junk().map(json.dumps)
)
lines = st.one_of(st.builds(_line, kinds, bodies), st.binary(max_size=30))
pages = st.one_of(
    st.lists(bodies, max_size=3).map(lambda items: listed("Service", items)),
    st.binary(max_size=30),
    junk().map(lambda value: json.dumps(value).encode()),
)
deeds = st.sampled_from(["create", "update", "delete", "compact", "end", "wait"])
steps = st.lists(st.one_of(deeds, lines, st.tuples(pages)), max_size=12)


class Rig:
    def __init__(self) -> None:
        self.server = FuzzedServer()
        self.logger = RecordingLogger()
        self.informer: Informer[Service] = Informer(
            "services",
            self.server,
            clock=LoopClock(),
            rng=Random(1),  # noqa: S311 - repeatable
            metrics=Metrics("test"),
            logger=cast("Logger", self.logger),
        )

    @asynccontextmanager
    async def running(self):
        async with beside(self.informer.run()):
            yield

    async def take(self, step: object, number: int) -> None:
        server = self.server
        match step:
            case bytes():
                server.say(step)
            case (bytes() as page,):
                server.bodies.append(page)
            case "create":
                server.create(f"s{number}", ips=("10.0.0.1",))
            case "update" if server.objects:
                server.update(next(iter(server.objects)), ips=(f"10.0.1.{number}",))
            case "delete" if server.objects:
                server.delete(next(iter(server.objects)))
            case "compact":
                server.compact()
            case "end":
                server.break_streams(End())
            case _:
                pass
        await asyncio.sleep(3.0 if step == "wait" else 0.1)


@settings(max_examples=60)
@given(steps)
def test_a_cache_is_right_again_once_the_server_is_sane(script):
    rig = Rig()

    async def main():
        rig.server.create("first", ips=("10.0.0.1",))
        async with rig.running():
            await asyncio.sleep(1)
            for number, step in enumerate(script):
                await rig.take(step, number)
            while rig.server.bodies:  # a list that is right is the end of it
                rig.server.bodies.popleft()
            began = asyncio.get_running_loop().time()
            rig.server.compact()  # what a mangled version says is not believed for ever
            rig.server.create("last")
            await asyncio.sleep(CALM_S)
            _calm(rig.server, since=began)
            return dict(rig.informer.store), rig.server.objects

    store, truth = run_virtually(main())
    assert {key: s.spec for key, s in store.items() if key in truth} == {
        key: s.spec for key, s in truth.items()
    }
    assert _ghosts(script) >= set(store) - set(truth)


def _ghosts(script: list[object]) -> set[str]:
    """Return the keys of objects that the server itself said it had, on a stream."""
    codec, found = ResourceCodec(SERVICES), set[str]()
    for step in script:
        if isinstance(step, bytes):
            try:
                event = codec.decode_event(step)
            except ApiError:
                continue
            if not hasattr(event, "reason"):
                found.add(event.object.metadata.key)
    return found


def _calm(server: FakeApiServer, *, since: float) -> None:
    """No more than about one request a second, whatever was said."""
    times = [request.at_s for request in server.requests]
    for at in times:
        assert sum(at <= other < at + 10.0 for other in times) <= 25
    assert sum(at > since + 60 for at in times) <= CALM_S / 20


@settings(max_examples=40)
@given(st.lists(lines, max_size=20))
def test_no_line_takes_away_or_changes_what_it_does_not_name(script):
    rig = Rig()

    async def main():
        rig.server.create("mine", namespace="untouched", ips=("10.0.0.1",))
        async with rig.running():
            await asyncio.sleep(1)
            for line in script:
                rig.server.say(line)
                await asyncio.sleep(0.5)
                assert rig.informer.store["untouched/mine"].spec.external_ips == ("10.0.0.1",)
                assert "" not in rig.informer.store

    run_virtually(main())
