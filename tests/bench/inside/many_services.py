"""Services as a large cluster has them, with pods: ``many_services KUBECONFIG COUNT VERB``.

``fill`` makes the services and ends; ``restart`` lets pods restart until SIGTERM. Half of the
services ask for an address of a pool, the others have an external IP. Every tenth has local traffic
policy. Each has two pods on nodes of `heartbeats`, which exist in its EndpointSlice alone.
"""

import asyncio
import json
import ssl
import sys
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from pathlib import Path
from typing import Any

import aiohttp

from tests.bench.inside.fill import service

_CONNECTIONS = 16
_EVERY_S = 0.5
"""Seconds from one restart of a pod to the next."""
_READY_AFTER_S = 0.2
"""Seconds that a pod takes to be ready again."""
_LOCAL_EVERY = 10
_NODES = ("simulated-000", "simulated-001")
_SERVICES = "/api/v1/namespaces/default/services"
_SLICES = "/apis/discovery.k8s.io/{}/namespaces/default/endpointslices"
_VERSIONS = ("v1", "v1beta1")
_MERGE = {"Content-Type": "application/merge-patch+json"}

Send = Callable[..., Awaitable[int]]


def body(number: int) -> dict[str, Any]:
    """Describe a service. kube-proxy is spared, and node ports are scarce."""
    balanced, local = number % 2 == 1, number // 2 % _LOCAL_EVERY == 0
    found = service(number, external=not balanced)
    if balanced or local:
        found["spec"]["type"] = "LoadBalancer" if balanced else "NodePort"
        found["spec"]["ports"] = found["spec"]["ports"][:1]
    if local:
        found["spec"]["externalTrafficPolicy"] = "Local"
    return found


def endpoints(number: int, restarts: int, *, ready: bool) -> list[dict[str, Any]]:
    """Describe the pods of a service. The first one has restarted so often: it has other IPs."""
    return [
        {
            "addresses": [f"10.{200 + restarts % 50}.{number >> 7}.{2 * number % 256 + one}"],
            "conditions": {"ready": ready or bool(one)},
            "hostname": f"pod-{one}",
            "nodeName": node,
            "topology": {"kubernetes.io/hostname": node},  # v1beta1 has it there
            "targetRef": {"kind": "Pod", "namespace": "default", "name": f"pod-{number}-{one}"},
        }
        for one, node in enumerate(_NODES)
    ]


def piece(number: int) -> dict[str, Any]:
    """Describe the EndpointSlice of a service."""
    name = body(number)["metadata"]["name"]
    labels = {
        "kubernetes.io/service-name": name,
        "endpointslice.kubernetes.io/managed-by": "bench",
        "service.kubernetes.io/service-proxy-name": "none",
    }
    return {
        "metadata": {"name": name, "labels": labels},
        "addressType": "IPv4",
        "endpoints": endpoints(number, 0, ready=True),
        "ports": [{"name": "http", "port": 8080, "protocol": "TCP"}],
    }


async def fill(send: Send, slices: str, count: int) -> None:
    numbers = iter(range(count))

    async def work() -> None:
        for number in numbers:
            await send("POST", slices, piece(number))
            await send("POST", _SERVICES, body(number))

    async with asyncio.TaskGroup() as group:
        for _ in range(_CONNECTIONS):
            group.create_task(work())


async def restart(send: Send, slices: str, count: int) -> None:
    """Let one pod after the other restart: two writes of an EndpointSlice each."""
    loop = asyncio.get_running_loop()
    due = loop.time()
    for restarts in range(1, sys.maxsize):
        for number in range(count):
            path = f"{slices}/{body(number)['metadata']['name']}"
            for ready, after_s in ((False, _READY_AFTER_S), (True, _EVERY_S - _READY_AFTER_S)):
                said = {"endpoints": endpoints(number, restarts, ready=ready)}
                await send("PATCH", path, said, _MERGE)
                due += after_s
                await asyncio.sleep(due - loop.time())


async def main(config: dict[str, Any], count: int, verb: str) -> None:
    cluster, user = config["clusters"][0]["cluster"], config["users"][0]["user"]
    tls = ssl.create_default_context(cafile=cluster["certificate-authority"])
    connector = aiohttp.TCPConnector(limit=_CONNECTIONS, ssl=tls)
    headers = {"Authorization": f"Bearer {user['token']}"}
    async with aiohttp.ClientSession(
        cluster["server"], headers=headers, connector=connector
    ) as session:

        async def send(
            method: str, path: str, body: Any = None, headers: dict[str, str] | None = None
        ) -> int:
            async with session.request(method, path, json=body, headers=headers) as response:
                text = await response.text()
                if response.status >= 300 and response.status != HTTPStatus.NOT_FOUND:
                    raise SystemExit(text)
                return response.status

        served = [await send("GET", _SLICES.format(version)) for version in _VERSIONS]
        slices = _SLICES.format(_VERSIONS[served.index(HTTPStatus.OK)])
        await {"fill": fill, "restart": restart}[verb](send, slices, count)
    print(json.dumps(count))


if __name__ == "__main__":
    asyncio.run(main(json.loads(Path(sys.argv[1]).read_text()), int(sys.argv[2]), sys.argv[3]))
