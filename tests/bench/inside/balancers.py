"""Creates services of type LoadBalancer: ``balancers KUBECONFIG COUNT POD_IP BY_HAND``.

With BY_HAND 1 each service is given its address, too: a claim is made, and its status is written.
That is all that a program must write which gives addresses and remembers them.

The slices with the endpoint of each service are made before. The program prints the monotonic time
at which it created the first service.
"""

import asyncio
import json
import ssl
import sys
import time
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from pathlib import Path
from typing import Any

import aiohttp

from tests.bench.balancers import address
from tests.lab.objects import BACKEND_PORT

_CONNECTIONS = 16
_SERVICES = "/api/v1/namespaces/default/services"
_CLAIMS = "/apis/ipcontroller.ext/v1/ipclaims"
_MERGE = {"Content-Type": "application/merge-patch+json"}

Send = Callable[..., Awaitable[int]]


def name(number: int) -> str:
    return f"balanced-{number:05}"


async def make_slice(send: Send, number: int, pod_ip: str) -> None:
    body = {
        "metadata": {
            "name": name(number),
            "labels": {
                "kubernetes.io/service-name": name(number),
                "endpointslice.kubernetes.io/managed-by": "bench",
            },
        },
        "addressType": "IPv4",
        "endpoints": [{"addresses": [pod_ip], "conditions": {"ready": True}}],
        "ports": [{"name": "http", "port": BACKEND_PORT, "protocol": "TCP"}],
    }
    for version in ("v1", "v1beta1"):
        path = f"/apis/discovery.k8s.io/{version}/namespaces/default/endpointslices"
        if await send("POST", path, body) != HTTPStatus.NOT_FOUND:
            return


async def make_service(send: Send, number: int, *, by_hand: bool) -> None:
    spec = {
        "type": "LoadBalancer",
        "ipFamilies": ["IPv4"],
        "ipFamilyPolicy": "SingleStack",
        "ports": [{"name": "http", "port": 80, "targetPort": BACKEND_PORT}],
    }
    await send("POST", _SERVICES, {"metadata": {"name": name(number)}, "spec": spec})
    if by_hand:
        ip = address(number)
        claim = {
            "apiVersion": "ipcontroller.ext/v1",
            "kind": "IpClaim",
            "metadata": {"name": f"by-hand-{number}"},
            "spec": {"cidr": f"{ip}/32", "nodeName": "n1"},
        }
        await send("POST", _CLAIMS, claim)
        status = {"status": {"loadBalancer": {"ingress": [{"ip": ip}]}}}
        await send("PATCH", f"{_SERVICES}/{name(number)}/status", status, _MERGE)


async def main(kubeconfig: dict[str, Any], count: int, pod_ip: str, *, by_hand: bool) -> float:
    cluster, user = kubeconfig["clusters"][0]["cluster"], kubeconfig["users"][0]["user"]
    tls = ssl.create_default_context(cafile=cluster["certificate-authority"])
    connector = aiohttp.TCPConnector(limit=_CONNECTIONS, ssl=tls)
    headers = {"Authorization": f"Bearer {user['token']}"}
    async with aiohttp.ClientSession(
        cluster["server"], headers=headers, connector=connector
    ) as session:

        async def send(
            method: str, path: str, body: Any, headers: dict[str, str] | None = None
        ) -> int:
            async with session.request(method, path, json=body, headers=headers) as response:
                text = await response.text()
                if response.status >= 300 and response.status != HTTPStatus.NOT_FOUND:
                    raise SystemExit(text)
                return response.status

        async def each(make: Callable[[int], Awaitable[None]]) -> None:
            numbers = iter(range(count))

            async def work() -> None:
                for number in numbers:
                    await make(number)

            async with asyncio.TaskGroup() as group:
                for _ in range(_CONNECTIONS):
                    group.create_task(work())

        await each(lambda number: make_slice(send, number, pod_ip))
        started = time.monotonic()
        await each(lambda number: make_service(send, number, by_hand=by_hand))
        return started


if __name__ == "__main__":
    path, wanted, pod, hand = sys.argv[1:]
    config = json.loads(Path(path).read_text())
    print(json.dumps(asyncio.run(main(config, int(wanted), pod, by_hand=hand == "1"))))
