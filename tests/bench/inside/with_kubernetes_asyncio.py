"""A typed cache by kubernetes_asyncio: ``with_kubernetes_asyncio list|watch KUBECONFIG COUNT``."""

import asyncio
import sys
from typing import Any

from kubernetes_asyncio.client import ApiClient, CoreV1Api
from kubernetes_asyncio.config import load_kube_config
from kubernetes_asyncio.watch import Watch

from tests.bench.inside.stopwatch import Stopwatch, report


async def main(what: str, kubeconfig: str, count: int) -> None:
    await load_kube_config(config_file=kubeconfig)
    cache: dict[tuple[str, str], Any] = {}
    async with ApiClient() as client:
        api = CoreV1Api(client)
        await api.read_namespace("default")
        if what == "list":
            stopwatch = Stopwatch()
            page = await api.list_service_for_all_namespaces(resource_version="0")
            for item in page.items:
                cache[item.metadata.namespace, item.metadata.name] = item
        else:
            watch = Watch()
            stopwatch = Stopwatch()
            async with watch.stream(
                api.list_service_for_all_namespaces, resource_version="1"
            ) as events:
                async for event in events:
                    item = event["object"]
                    cache[item.metadata.namespace, item.metadata.name] = item
                    if len(cache) == count:
                        break
        report(stopwatch.lap(len(cache)))


asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3])))
