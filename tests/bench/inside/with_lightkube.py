"""A cache of lightkube's models: ``with_lightkube list|watch KUBECONFIG COUNT``."""

import asyncio
import sys

from lightkube import AsyncClient, KubeConfig
from lightkube.resources.core_v1 import Namespace, Service

from tests.bench.inside.stopwatch import Stopwatch, report


async def main(what: str, kubeconfig: str, count: int) -> None:
    client = AsyncClient(KubeConfig.from_file(kubeconfig), trust_env=False)
    cache: dict[tuple[str | None, str | None], Service] = {}

    def put(service: Service) -> None:
        assert service.metadata is not None
        cache[service.metadata.namespace, service.metadata.name] = service

    await client.get(Namespace, "default")
    stopwatch = Stopwatch()
    if what == "list":
        async for service in client.list(Service, namespace="*"):
            put(service)
    else:
        async for _, service in client.watch(Service, namespace="*", resource_version="1"):
            put(service)
            if len(cache) == count:
                break
    report(stopwatch.lap(len(cache)))
    await client.close()


asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3])))
