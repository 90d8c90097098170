"""Makes claims as a plain client would: ``claims KUBECONFIG COUNT NODE LABEL``.

They are of the size of those that extip makes, and the API server books who owns their fields.
"""

import asyncio
import json
import ssl
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiohttp

_CONNECTIONS = 16
_PLURAL = "/apis/ipcontroller.ext/v1/ipclaims"


def claim(number: int, node: str, label: str) -> dict[str, Any]:
    """Describe one, up on a node."""
    name = f"{label}-{number:05}"
    condition = {"status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z", "message": "on n1"}
    conditions = [
        {"type": kind, "reason": reason, **condition}
        for kind, reason in (
            ("Accepted", "Accepted"),
            ("Up", "AddressUp"),
            ("Assigned", "Assigned"),
        )
    ]
    service = {"namespace": "default", "name": name, "uid": f"{number:036}"}
    return {
        "apiVersion": "ipcontroller.ext/v1",
        "kind": "IpClaim",
        "metadata": {"name": name, "labels": {label: "", "ipnode": node}},
        "spec": {
            "cidr": f"10.99.{number // 250}.{number % 250}/32",
            "nodeName": node,
            "services": [service],
        },
        "status": {"conditions": conditions, "holder": node, "link": "eth0"},
    }


async def fill(kubeconfig: dict[str, Any], count: int, node: str, label: str) -> None:
    cluster, user = kubeconfig["clusters"][0]["cluster"], kubeconfig["users"][0]["user"]
    tls = ssl.create_default_context(cafile=cluster["certificate-authority"])
    headers = {"Authorization": f"Bearer {user['token']}"}
    async with aiohttp.ClientSession(cluster["server"], headers=headers) as session:
        bodies = (claim(number, node, label) for number in range(count))

        async def work(bodies: Iterator[dict[str, Any]]) -> None:
            for body in bodies:
                async with session.post(_PLURAL, json=body, ssl=tls) as response:
                    if response.status != 201:
                        raise SystemExit(await response.text())
                url = f"{_PLURAL}/{body['metadata']['name']}/status"
                patch = json.dumps({"status": body["status"]}).encode()
                kind = {"Content-Type": "application/merge-patch+json"}
                async with session.patch(url, data=patch, headers=kind, ssl=tls) as response:
                    if response.status != 200:
                        raise SystemExit(await response.text())

        async with asyncio.TaskGroup() as group:
            for _ in range(_CONNECTIONS):
                group.create_task(work(bodies))


def main(kubeconfig: str, count: str, node: str, label: str) -> None:
    config = json.loads(Path(kubeconfig).read_text())
    asyncio.run(fill(config, int(count), node, label))
    print(json.dumps(int(count)))


if __name__ == "__main__":
    main(*sys.argv[1:])
