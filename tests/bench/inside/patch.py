"""Gives claims to a node, with aiohttp and nothing else.

``patch KUBECONFIG NODE CONNECTIONS SELECTOR [STANDBY...]``; the selector is one of labels. The
standbys take turns; without any each claim keeps its own.

Prints the seconds from the first patch to the last answer; reading the claims is not part of it.
"""

import asyncio
import json
import ssl
import sys
import time
from collections.abc import Iterator, Sequence
from itertools import cycle
from pathlib import Path
from typing import Any

import aiohttp

_PLURAL = "/apis/ipcontroller.ext/v1/ipclaims"
_HEADERS = {"Content-Type": "application/merge-patch+json"}


def patch(claim: dict[str, Any], node: str, standby: str) -> bytes:
    """Return what a move consists of, and the standby if there is one to write.

    A standby is written before anything is measured, while extip writes to the same claims.
    """
    labels = {"ipnode": node, "ip-previous-node": claim["spec"]["nodeName"]}
    spec, metadata = {"nodeName": node}, {"labels": labels}
    if standby:
        labels["ip-standby-node"] = spec["standby"] = standby
    else:
        metadata["resourceVersion"] = claim["metadata"]["resourceVersion"]
    return json.dumps({"metadata": metadata, "spec": spec}).encode()


async def main(
    kubeconfig: dict[str, Any], node: str, connections: int, selector: str, standbys: Sequence[str]
) -> float:
    cluster, user = kubeconfig["clusters"][0]["cluster"], kubeconfig["users"][0]["user"]
    tls = ssl.create_default_context(cafile=cluster["certificate-authority"])
    connector = aiohttp.TCPConnector(limit=connections, ssl=tls)
    headers = {"Authorization": f"Bearer {user['token']}"}
    async with aiohttp.ClientSession(
        cluster["server"], headers=headers, connector=connector
    ) as session:
        async with session.get(_PLURAL, params={"labelSelector": selector}) as response:
            claims = (await response.json())["items"]
        in_turn = cycle(standbys or ("",))
        bodies = [(one["metadata"]["name"], patch(one, node, next(in_turn))) for one in claims]

        async def work(todo: Iterator[tuple[str, bytes]]) -> None:
            for name, body in todo:
                url = f"{_PLURAL}/{name}"
                async with session.patch(url, data=body, headers=_HEADERS) as response:
                    await response.read()
                    if response.status != 200:
                        raise SystemExit(await response.text())

        started = time.perf_counter()
        todo = iter(bodies)
        async with asyncio.TaskGroup() as group:
            for _ in range(connections):
                group.create_task(work(todo))
        return time.perf_counter() - started


kubeconfig, node, connections, selector, *standbys = sys.argv[1:]
config = json.loads(Path(kubeconfig).read_text())
print(json.dumps(asyncio.run(main(config, node, int(connections), selector, standbys))))
