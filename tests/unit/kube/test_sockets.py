"""A connection whose other end is gone is found out, and no watch begins on an old one."""

import asyncio
import socket

import pytest

from extip.api.coordination_v1 import Lease
from extip.api.meta_v1 import FullObjectMeta
from extip.api.resources import LEASES, SERVICES
from extip.clock import LoopClock
from extip.kube.config import open_endpoint
from extip.kube.sockets import UNANSWERED_S, open_socket, resolve
from tests.fakes.http_api import SERVICES_PATH
from tests.unit.kube.conftest import kubeconfig


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6])
def test_probes_come_within_the_time_after_which_the_kernel_gives_up(family):
    with open_socket((family, socket.SOCK_STREAM, 0, "", None)) as opened:
        assert opened.family is family
        assert opened.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        idle_s = opened.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE)
        probe_s = opened.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL)
        assert idle_s + 2 * probe_s <= UNANSWERED_S
        timeout_ms = opened.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT)
        assert timeout_ms == 1000 * UNANSWERED_S


@pytest.mark.parametrize("sessions", ["session", "streams", "leases"])
def test_every_connection_to_the_api_server_has_them(rig, run, sessions):
    async def main():
        async with rig.server.listening():
            path = kubeconfig(rig.directory, rig.server.url)
            query = {"watch": "1", "resourceVersion": "100", "timeoutSeconds": "300"}
            async with (
                open_endpoint(path, clock=LoopClock()) as endpoint,
                getattr(endpoint, sessions).get(
                    endpoint.server + SERVICES_PATH, params=query
                ) as response,
            ):
                used = response.connection.transport.get_extra_info("socket")
                assert used.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 5000

    run(main())


def test_a_watch_begins_on_a_connection_of_its_own(rig, run):
    """One that is ready since an earlier request may be dead, and would hang for 30 s."""
    seen: dict[str, list[tuple[str, int]]] = {}

    async def note(exchange):
        verb = "watch" if exchange.request.is_watch else "list"
        seen.setdefault(verb, []).append(exchange.writer.get_extra_info("peername"))
        await exchange.server.serve(exchange)

    async def main():
        async with rig.connected():
            rig.server.always = note
            for _ in range(2):
                await rig.client.list(SERVICES)
            for _ in range(2):
                opening = rig.client.watch(SERVICES, resource_version="100", timeout_s=1)
                async with opening as events:
                    assert [event async for event in events] == []
                await asyncio.sleep(0)

    run(main())
    assert len(set(seen["list"])) == 1
    assert len(set(seen["list"] + seen["watch"])) == 3


def test_a_heartbeat_never_takes_a_connection_that_something_else_left(rig, run):
    """Many may be dead; each would cost a heartbeat, or some of the time to renew the lead."""
    seen: dict[str, list[tuple[str, int]]] = {}

    async def note(exchange):
        seen.setdefault(exchange.request.path, []).append(
            exchange.writer.get_extra_info("peername")
        )
        await exchange.server.serve(exchange)

    async def main():
        async with rig.connected():
            rig.server.always = note
            await asyncio.gather(*(rig.client.list(SERVICES) for _ in range(3)))
            lease = Lease(metadata=FullObjectMeta(name="a", namespace="x"))
            await rig.client.create(LEASES, lease)
            await rig.client.get(LEASES, name="a", namespace="x")

    run(main())
    others, beats = set(seen.pop(SERVICES_PATH)), [one for many in seen.values() for one in many]
    assert len(beats) == 2
    assert len(set(beats)) == 1
    assert others.isdisjoint(beats)


def test_an_ip_is_its_own_address():
    assert asyncio.run(resolve("192.0.2.1")) == {"192.0.2.1"}
    assert asyncio.run(resolve("2001:db8::1")) == {"2001:db8::1"}
    assert asyncio.run(resolve("localhost")) & {"127.0.0.1", "::1"}


@pytest.mark.parametrize("host", ["nowhere.invalid", "", "x" * 300])
def test_a_name_that_does_not_resolve_has_no_address(host):
    assert asyncio.run(resolve(host)) == frozenset()
