"""Registers nodes as their controllers do: ``registered KUBECONFIG FIRST LAST``."""

import asyncio
import json
import ssl
import sys
from pathlib import Path
from typing import Any

import aiohttp

from tests.bench.large_cluster import address, node_name

_PLURAL = "/apis/ipcontroller.ext/v1/ipnodes"
_MERGE = {"Content-Type": "application/merge-patch+json"}


def _status(number: int) -> dict[str, Any]:
    mac = f"02:00:00:00:{number >> 8:02x}:{number & 0xFF:02x}"
    link = {"name": "eth0", "mac": mac, "addresses": [f"{address(number)}/16"], "up": True}
    since = {"status": "True", "lastTransitionTime": "2026-11-01T00:00:00Z", "message": "on eth0"}
    return {
        "links": [link],
        "version": "0.1.0",
        "claims": 25,
        "conditions": [
            {"type": "LinkReady", "reason": "LinkUp", **since},
            {"type": "Ready", "reason": "Eligible", **since},
        ],
    }


async def main(config: dict[str, Any], first: int, last: int) -> None:
    cluster, user = config["clusters"][0]["cluster"], config["users"][0]["user"]
    tls = ssl.create_default_context(cafile=cluster["certificate-authority"])
    headers = {"Authorization": f"Bearer {user['token']}"}
    kind = {"apiVersion": "ipcontroller.ext/v1", "kind": "IpNode"}
    async with aiohttp.ClientSession(cluster["server"], headers=headers) as session:
        for number in range(first, last + 1):
            name = node_name(number)
            body = {**kind, "metadata": {"name": name}}
            async with session.post(_PLURAL, json=body, ssl=tls) as response:
                response.raise_for_status()
            told = {"metadata": {"managedFields": [{}]}, "status": _status(number)}
            async with session.patch(
                f"{_PLURAL}/{name}/status", data=json.dumps(told), headers=_MERGE, ssl=tls
            ) as response:
                response.raise_for_status()
    print(json.dumps(last))


asyncio.run(main(json.loads(Path(sys.argv[1]).read_text()), int(sys.argv[2]), int(sys.argv[3])))
