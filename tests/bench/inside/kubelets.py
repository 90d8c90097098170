"""Nodes of usual size, kept as kubelets keep them: ``kubelets KUBECONFIG COUNT``, until SIGTERM.

A kubelet that has nothing to say writes its Node's status every five minutes.
"""

import asyncio
import json
import ssl
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp

from tests.bench.large_cluster import address, node_name

_EVERY_S = 300.0
_IMAGES = 50
_MERGE = {"Content-Type": "application/merge-patch+json"}


def _status(number: int) -> dict[str, Any]:
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    kinds = ("MemoryPressure", "DiskPressure", "PIDPressure", "Ready")
    conditions = [
        {
            "type": kind,
            "status": str(kind == "Ready"),
            "reason": f"KubeletHas{kind}",
            "message": f"kubelet says {kind}",
            "lastHeartbeatTime": now,
        }
        for kind in kinds
    ]
    images = [
        {
            "names": [
                f"images.example.org/team/service-{n}@sha256:{n:064x}",
                f"images.example.org/team/service-{n}:v1.{n}.0",
            ],
            "sizeBytes": 123456789 + n,
        }
        for n in range(_IMAGES)
    ]
    addresses = [
        {"type": "InternalIP", "address": address(number)},
        {"type": "Hostname", "address": node_name(number)},
    ]
    return {"conditions": conditions, "addresses": addresses, "images": images}


async def main(config: dict[str, Any], count: int) -> None:
    cluster, user = config["clusters"][0]["cluster"], config["users"][0]["user"]
    tls = ssl.create_default_context(cafile=cluster["certificate-authority"])
    headers = {"Authorization": f"Bearer {user['token']}"}
    async with aiohttp.ClientSession(cluster["server"], headers=headers) as session:

        async def write(number: int) -> None:
            path = f"/api/v1/nodes/{node_name(number)}/status"
            body = json.dumps({"status": _status(number)})
            async with session.patch(path, data=body, headers=_MERGE, ssl=tls) as response:
                response.raise_for_status()

        for number in range(1, count + 1):
            metadata = {"metadata": {"name": node_name(number)}}
            async with session.post("/api/v1/nodes", json=metadata, ssl=tls) as response:
                if response.status not in (201, 409):
                    raise SystemExit(await response.text())
            await write(number)
        print("ready", flush=True)
        while True:
            for number in range(1, count + 1):
                await asyncio.sleep(_EVERY_S / count)
                await write(number)


asyncio.run(main(json.loads(Path(sys.argv[1]).read_text()), int(sys.argv[2])))
