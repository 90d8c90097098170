"""Creates many services: ``fill KUBECONFIG COUNT EXTERNAL_IPS``, the last one 0 or 1 for each."""

import asyncio
import json
import ssl
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiohttp

from tests.lab.network import external_v4

_CONNECTIONS = 16
_PLURAL = "/api/v1/namespaces/default/services"


def service(number: int, *, external: bool) -> dict[str, Any]:
    """Describe a service of usual size: 2.2 KB as the server returns it.

    It is headless: the server has no address to allocate, and kube-proxy leaves it alone.
    """
    name = f"storefront-checkout-{number:05}"
    labels = {
        "app.kubernetes.io/component": "frontend",
        "app.kubernetes.io/instance": name,
        "app.kubernetes.io/managed-by": "Helm",
        "app.kubernetes.io/name": "storefront-checkout",
        "app.kubernetes.io/part-of": "storefront",
        "app.kubernetes.io/version": "2.17.3",
        "helm.sh/chart": "storefront-checkout-4.2.1",
        "service.kubernetes.io/service-proxy-name": "none",  # spares kube-proxy
    }
    ports = [
        {"name": port, "port": 8000 + n, "targetPort": port}
        for n, port in enumerate(("http", "metrics", "grpc"))
    ]
    annotations = {
        "meta.helm.sh/release-name": name,
        "meta.helm.sh/release-namespace": "default",
        "prometheus.io/scrape": "true",
        "prometheus.io/path": "/metrics",
        "storefront.example.com/description": "Takes the basket through payment and shipping.",
    }
    return {
        "metadata": {"name": name, "labels": labels, "annotations": annotations},
        "spec": {
            "ports": ports,
            "externalIPs": [external_v4(number)] if external else [],
        },
    }


async def fill(kubeconfig: dict[str, Any], count: int, *, external: bool) -> None:
    cluster, user = kubeconfig["clusters"][0]["cluster"], kubeconfig["users"][0]["user"]
    tls = ssl.create_default_context(cafile=cluster["certificate-authority"])
    headers = {"Authorization": f"Bearer {user['token']}"}
    async with aiohttp.ClientSession(cluster["server"], headers=headers) as session:
        bodies = (service(number, external=external) for number in range(count))

        async def work(bodies: Iterator[dict[str, Any]]) -> None:
            for body in bodies:
                async with session.post(_PLURAL, json=body, ssl=tls) as response:
                    if response.status != 201:
                        raise SystemExit(await response.text())

        async with asyncio.TaskGroup() as group:
            for _ in range(_CONNECTIONS):
                group.create_task(work(bodies))


def main(kubeconfig: str, count: str, external: str) -> None:
    config = json.loads(Path(kubeconfig).read_text())
    asyncio.run(fill(config, int(count), external=external == "1"))
    print(json.dumps(int(count)))


if __name__ == "__main__":
    main(*sys.argv[1:])
