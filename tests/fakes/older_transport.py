"""The way to the API server of an older version of extip: what that one does not know is hidden.

The program is the same. An older version differs from it, as far as others can see, by the fields
that it does not know: it reads none of them and writes none of them, so they stay as they are.
`NEWER` has those that came since the version which `tests/system/test_upgrade.py` unpacks.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace

import msgspec

from extip import __version__
from extip.api.names import STANDBY_LABEL
from extip.api.resources import IP_CLAIMS, IP_NODES
from extip.kube.transport import Request
from tests.fakes.cluster_objects import Json, Target
from tests.fakes.cluster_transport import ClusterTransport

VERSION = "0.0.0"
"""What it says in its IpNode."""

Paths = tuple[tuple[str, ...], ...]

NEWER: Mapping[str, Paths] = {
    IP_CLAIMS.path(): (
        ("metadata", "labels", STANDBY_LABEL),
        ("spec", "standby"),
        ("spec", "withdrawn"),
    ),
    IP_NODES.path(): (
        ("status", "silent"),
        ("status", "refused"),
        ("status", "failedOver"),
    ),
}
"""The fields that an older version does not know, by the collection of their objects."""

_NOBODY = "nobody.has.this.label"


class OlderTransport(ClusterTransport):
    """Hides what an older version does not know, in both directions."""

    async def read(self, request: Request) -> bytes:
        return _as_seen(request, await super().read(_as_sent(request)))

    @asynccontextmanager
    async def open(self, request: Request) -> AsyncIterator[Callable[[], Awaitable[bytes]]]:
        async with super().open(_as_sent(request)) as readline:

            async def read_known() -> bytes:
                return _as_seen(request, await readline())

            yield read_known


def _as_sent(request: Request) -> Request:
    """Return the request without what it does not know; it watches nothing by such a label."""
    hidden = NEWER.get(Target.of(request.path).collection, ())
    if not hidden:
        return request
    selector = request.query.get("labelSelector", "")
    if any(path[-1] in selector for path in hidden if "labels" in path):
        request = replace(request, query={**request.query, "labelSelector": _NOBODY})
    if not request.body:
        return request
    sent = _without(msgspec.json.decode(request.body), hidden)
    if "version" in sent.get("status", {}):
        sent["status"]["version"] = VERSION
    return replace(request, body=msgspec.json.encode(sent))


def _as_seen(request: Request, answer: bytes) -> bytes:
    """Return an answer, or a line of one, without what it does not know."""
    hidden = NEWER.get(Target.of(request.path).collection, ())
    if not hidden or not answer:
        return answer
    found = msgspec.json.decode(answer)
    if request.verb == "list":
        for item in found["items"]:
            _known(item, hidden)
    else:
        _known(found["object"] if request.verb == "watch" else found, hidden)
    return msgspec.json.encode(found)


def _known(item: Json, hidden: Paths) -> None:
    _without(item, hidden)
    if item.get("status", {}).get("version") == VERSION:
        item["status"]["version"] = __version__  # what it wrote is its own


def _without(item: Json, hidden: Paths) -> Json:
    """Remove fields from an object or a patch, and return it."""
    for *path, last in hidden:
        part: Json | None = item
        for key in path:
            part = (part or {}).get(key)
        if part:
            part.pop(last, None)
    return item
