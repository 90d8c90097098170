"""The page is served to whoever asks directly, and its stream lasts."""

import asyncio
import json
from contextlib import asynccontextmanager, suppress
from itertools import pairwise

import aiohttp
import pytest

from extip import http_server
from extip.clock import LoopClock
from extip.errors import ConfigurationError
from extip.page.policy.view import Update
from extip.page.server import PageServer
from tests.fakes.tasks import beside
from tests.unit.page.rows import Cluster, claim, node
from tests.unit.test_health import free_address, listening


@asynccontextmanager
async def serving():
    """Serve the page of a cluster; yield the cluster and a client's session."""
    host, port = address = free_address()
    cluster = Cluster(LoopClock())
    cluster.put(node("n1"))
    server = PageServer(address, cluster.feed)
    session = aiohttp.ClientSession(f"http://{host}:{port}")
    async with beside(cluster.feed.run()), listening(server, address), session:
        yield cluster, session


async def events(answer):
    """Yield what a stream tells."""
    async for line in answer.content:
        if line.startswith(b"data: "):
            yield json.loads(line.removeprefix(b"data: "))


@pytest.mark.parametrize(
    ("path", "kind"), [("/", "html"), ("/page.css", "css"), ("/page.js", "javascript")]
)
async def test_each_file_is_there_and_may_load_nothing_from_elsewhere(path, kind):
    async with serving() as (_, session), session.get(path) as answer:
        assert answer.status == 200
        assert kind in answer.content_type
        assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
        text = await answer.text()
        assert "https://" not in text  # it works offline
        assert "http://" not in text


async def test_what_is_no_part_of_it_is_not_there():
    async with serving() as (_, session):
        for path in ("/metrics", "/../view.py", "/static/page.js", "/page.js/"):
            async with session.get(path) as answer:
                assert answer.status == 404
        async with session.post("/stream") as answer:
            assert answer.status == 405


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost:9189", 200),
        ("LOCALHOST", 200),
        ("127.0.0.1:9189", 200),
        ("[::1]:9189", 200),
        ("10.0.0.1", 200),
        ("evil.example:9189", 421),
        ("localhost.evil.example", 421),
        ("evil.example", 421),
    ],
)
async def test_a_page_of_another_site_cannot_read_it(host, status):
    async with serving() as (_, session), session.get("/", headers={"Host": host}) as answer:
        assert answer.status == status


async def test_the_stream_lasts_longer_than_other_requests(monkeypatch):
    monkeypatch.setattr(http_server, "CONNECTION_S", 1.0)
    async with serving() as (cluster, session), session.get("/stream") as answer:
        assert answer.content_type == "text/event-stream"
        told = events(answer)
        assert (await anext(told))["fresh"] is True
        await asyncio.sleep(1.5)
        cluster.put(claim("10.0.0.1", "n1"))
        assert (await anext(told))["ips"]["10.0.0.1"]["node"] == "n1"


class LongFeed:
    """Always has another part; notes before each how many turns other tasks have had."""

    def __init__(self):
        self.turns = 0
        self.seen = []
        self.ended = asyncio.Event()

    async def updates(self):
        try:
            while True:
                self.seen.append(self.turns)
                yield Update(leader="n1_a" * 1000)
        finally:
            self.ended.set()

    async def count_turns(self):
        while True:
            self.turns += 1
            await asyncio.sleep(0)

    async def held_up(self):
        """Wait until nobody asks for another part."""
        asked = -1
        while asked != len(self.seen):
            asked = len(self.seen)
            await asyncio.sleep(0.1)


@asynccontextmanager
async def streaming(feed):
    """Serve a stream; yield what it tells, and wait for its end when nobody reads it any more."""
    host, port = address = free_address()
    async with (
        beside(feed.count_turns(), PageServer(address, feed).run()),
        aiohttp.ClientSession(f"http://{host}:{port}") as session,
    ):
        while not feed.seen:
            with suppress(aiohttp.ClientConnectorError):
                async with session.get("/stream") as answer:
                    yield events(answer)
        await feed.ended.wait()


async def test_other_tasks_have_a_turn_before_each_part():
    feed = LongFeed()
    async with streaming(feed) as told:
        for _ in range(10):
            await anext(told)
    assert all(before < after for before, after in pairwise(feed.seen[:10]))


async def test_a_browser_that_goes_without_having_read_all_is_no_error(caplog):
    feed = LongFeed()
    async with streaming(feed):
        await feed.held_up()
    assert not [one.getMessage() for one in caplog.records if one.name.startswith("aiohttp")]


async def test_a_browser_that_goes_is_forgotten():
    async with serving() as (cluster, session):
        async with session.get("/stream") as answer:
            await anext(events(answer))
        number = 0
        async with asyncio.timeout(40):
            while cluster.feed._viewers:
                cluster.put(claim("10.0.0.1", f"n{number}"))
                number += 1
                await asyncio.sleep(0.1)


async def test_a_port_in_use_is_one_clear_line():
    host, port = free_address()
    taken = await asyncio.start_server(lambda *_: None, host, port)
    async with taken:
        server = PageServer((host, port), Cluster(LoopClock()).feed)
        with pytest.raises(ConfigurationError, match=r"--ui: cannot listen on .*for no page"):
            await server.run()
