"""The endpoint tells what is wrong, and a port in use is a person's mistake, not a crash."""

import asyncio
import os
import socket
from contextlib import asynccontextmanager
from ipaddress import ip_address

import aiohttp
import pytest
from prometheus_client import CollectorRegistry

from extip.errors import ConfigurationError
from extip.health import HttpServer, MetricsPage, Page, health_pages, shown_to
from extip.metrics import Metrics
from tests.fakes.tasks import beside


def free_address():
    """Return host and port of loopback that nobody else takes: the host is this process's own."""
    host = str(ip_address("127.64.0.0") + os.getpid() % 2**22)
    with socket.socket() as probe:
        probe.bind((host, 0))
        return probe.getsockname()


def server_of(
    address,
    live=None,
    ready=None,
    registry=None,
    may_read=lambda _client: True,
    certificate=None,
):
    metrics = MetricsPage(registry or CollectorRegistry())
    page = shown_to(metrics, may_read, otherwise="not in --metrics-allow-cidr")
    pages: dict[str, Page] = {**health_pages(live or {}, ready or {}), "/metrics": page}
    return HttpServer(address, pages, flag="--http", certificate=certificate)


@asynccontextmanager
async def listening(server, address):
    """Run a server until the block ends; it takes connections, or has failed, when it begins."""
    async with beside(server.run()) as [task]:
        while not task.done():
            try:
                _, writer = await asyncio.open_connection(*address)
            except ConnectionRefusedError:
                await asyncio.sleep(0.01)
            else:
                writer.close()
                break
        yield


@asynccontextmanager
async def serving(live=None, ready=None, registry=None, **more):
    host, port = address = free_address()
    server = server_of(address, live, ready, registry, **more)
    session = aiohttp.ClientSession(f"http://{host}:{port}")
    async with listening(server, address), session:
        yield session


async def test_reports_each_condition_by_name():
    problems = {"caches": "", "addresses": "interface eth0 does not exist"}
    async with serving(
        {"loop": lambda: ""},
        {name: lambda name=name: problems[name] for name in problems},
        CollectorRegistry(),
    ) as session:
        async with session.get("/livez") as answer:
            assert (answer.status, await answer.text()) == (200, "ok\n")
        async with session.get("/readyz") as answer:
            assert answer.status == 503
            assert await answer.text() == (
                "[+] caches\n[-] addresses: interface eth0 does not exist\n"
            )
        problems["addresses"] = ""
        async with session.get("/readyz") as answer:
            assert answer.status == 200


async def test_serves_metrics():
    metrics = Metrics("simple")
    metrics.addresses_up.set(3)
    async with serving({}, {}, metrics.registry) as session, session.get("/metrics") as answer:
        text = await answer.text()
    assert "extip_addresses_up 3.0" in text
    assert 'extip_build_info{mode="simple",version=' in text


async def test_who_may_not_read_metrics_is_told_his_address_and_still_sees_health():
    async with serving(may_read=lambda client: client == "10.0.0.1") as session:
        async with session.get("/metrics") as answer:
            assert (answer.status, await answer.text()) == (
                403,
                "127.0.0.1: not in --metrics-allow-cidr\n",
            )
        async with session.get("/livez") as answer:
            assert answer.status == 200


async def test_a_port_in_use_is_named_with_the_flag():
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        server = server_of(other.getsockname())
        with pytest.raises(ConfigurationError, match="--http"):
            await server.run()
