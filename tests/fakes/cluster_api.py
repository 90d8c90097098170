"""A whole API server in memory: any kind, with versions, selectors, watches and subresources.

The real `ApiClient` talks to it, with its codecs, over a `ClusterTransport` in place of HTTP. Time
is the running loop's. As at the real server a write that changes nothing is no event, a write with
an old version is a conflict, and a watch from before the last compaction is refused.
"""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from functools import cache
from http import HTTPStatus
from typing import Any

import msgspec

from extip.api.meta_v1 import KubernetesObject
from extip.api.resources import (
    CUSTOM_RESOURCE_DEFINITIONS,
    ENDPOINT_SLICES,
    ENDPOINTS,
    EVENTS,
    IP_CLAIM_POOLS,
    IP_CLAIMS,
    IP_NODES,
    LEASES,
    NAMESPACES,
    NODES,
    SERVICES,
    Resource,
)
from extip.definitions.documents import definitions
from tests.fakes.api_faults import ApiFaults
from tests.fakes.cluster_objects import (
    Change,
    Json,
    RefusedError,
    Target,
    check_preconditions,
    matcher,
    no_status,
    only_status,
)
from tests.fakes.cluster_watch import OpenWatches, Watch
from tests.fakes.http_api import merged
from tests.fakes.virtual_time import EPOCH
from tests.fakes.world import later, now_s

AnyResource = Resource[Any]

_TERMINATES_S, _BEGINS_S = 0.02, 0.05
"""Seconds until a deleted kind is gone, and until a new one is served."""

_SERVED = (
    CUSTOM_RESOURCE_DEFINITIONS,
    ENDPOINT_SLICES,
    ENDPOINTS,
    EVENTS,
    IP_CLAIM_POOLS,
    IP_CLAIMS,
    IP_NODES,
    LEASES,
    NAMESPACES,
    NODES,
    SERVICES,
)
_WITH_STATUS = frozenset(
    resource.path() for resource in (IP_CLAIM_POOLS, IP_CLAIMS, IP_NODES, NODES, SERVICES)
)
"""Collections whose objects have the status subresource."""


class ClusterApi:
    """The server, seen from its users; its clients come over a `ClusterTransport`."""

    server = "https://192.0.2.250:6443"

    def __init__(self, faults: ApiFaults | None = None) -> None:
        self.faults = faults or ApiFaults()
        self.revision = 100
        self.compacted = 0
        """Versions up to this are gone: watching from before it gives 410."""
        self.latency_s = 0.001
        """Of each way, there and back."""
        self.requests: list[tuple[float, str, str]] = []
        """When, by whom, and which: ``get leases x/y``."""
        self.collections: dict[str, dict[tuple[str, str], Json]] = {
            resource.path(): {} for resource in _SERVED
        }
        self._history: list[Change] = []
        self._watches = OpenWatches()
        self.on_change: list[Callable[[Change], None]] = []
        """Who looks at each change as etcd has it."""
        self.on_restore: list[Callable[[], None]] = []
        for document in _documents():
            self.define(document["metadata"]["name"])

    # What users do, and see.

    def create(self, resource: AnyResource, name: str, *, namespace: str = "", **body: Any) -> Json:
        """Create an object; `body` has its fields beside the metadata."""
        metadata = {"name": name} | body.pop("metadata", {})
        sent = body | {"metadata": metadata}
        return self.carry_out("POST", Target(resource.path(), namespace), sent, subresources=False)

    def patch(self, resource: AnyResource, name: str, patch: Json, *, namespace: str = "") -> Json:
        """Merge into an object, its status included."""
        target = Target(resource.path(), namespace, name)
        return self.carry_out("PATCH", target, patch, subresources=False)

    def delete(self, resource: AnyResource, name: str, *, namespace: str = "") -> None:
        self.carry_out("DELETE", Target(resource.path(), namespace, name), {})

    def all(self, resource: Resource[KubernetesObject] | AnyResource) -> list[Json]:
        """Return all objects of a kind, in the order of their making."""
        return list(self.collections[resource.path()].values())

    def compact(self) -> None:
        """Forget the history, as etcd does every few minutes."""
        self.compacted = self.revision
        self._history.clear()

    def touch(self, target: Target) -> None:
        """Somebody changes an annotation of an object, if it is there."""
        if target.key in self.collections.get(target.collection, {}):
            patch = {"metadata": {"annotations": {"touched": str(self.revision)}}}
            self.carry_out("PATCH", replace(target, subresource=""), patch, subresources=False)

    def has(self, resource: AnyResource, name: str, *, namespace: str = "") -> bool:
        return (namespace, name) in self.collections.get(resource.path(), {})

    def define(self, name: str) -> None:
        """Create the definition of that name anew."""
        (document,) = (d for d in _documents() if d["metadata"]["name"] == name)
        self.create(CUSTOM_RESOURCE_DEFINITIONS, name, **document)

    def break_watches(self, who: str = "") -> None:
        """Break the connections that watches are on, of everybody or of one client."""
        for watch in self._watches.all():
            if who in ("", watch.who):
                watch.break_off()

    def end_watches(self) -> None:
        """End all watches in order, as a server does that cannot write to them fast enough."""
        for watch in self._watches.all():
            watch.end()

    def forget_client(self, who: str) -> None:
        """Close the watches of a process that is gone."""
        for watch in self._watches.all():
            if watch.who == who:
                self.close_watch(watch)

    def state_at(self, collection: str, revision: int) -> dict[tuple[str, str], Json]:
        """Return the objects of a kind as they were."""
        found = dict(self.collections.get(collection, {}))
        for change in reversed(self._history):
            if change.revision <= revision:
                break
            item = change.before or change.after or {}
            key = (item["metadata"].get("namespace", ""), item["metadata"]["name"])
            if change.collection == collection:
                if change.before is None:
                    found.pop(key, None)
                else:
                    found[key] = change.before
        return found

    def revision_at(self, at_s: float) -> int:
        """Return the last version that there was at that time, as far as it is remembered."""
        for change in reversed(self._history):
            if change.at_s <= at_s:
                return change.revision
        return max(self.compacted, 1)

    def restore(self, to_s: float) -> None:
        """Have etcd restored to what it was then (``--bump-revision``); definitions stay."""
        revision = self.revision_at(to_s)
        kinds = CUSTOM_RESOURCE_DEFINITIONS.path()
        states = {n: self.state_at(n, revision) for n in self.collections if n != kinds}
        self.break_watches()
        self.revision += 1000
        self.compact()
        self.collections.update(states)
        for watcher in self.on_restore:
            watcher()

    # What clients do.

    def page(self, target: Target, query: dict[str, str]) -> Json:
        """List. A limit cuts the list short, with no way to go on."""
        matches = matcher(target.namespace, query.get("labelSelector", ""))
        objects, revision = self._collection(target), self.revision
        if query.get("resourceVersion") and self.faults.watch_lag_s:
            lagging = self.revision_at(now_s() - self.faults.watch_lag_s)
            revision = max(lagging, int(query["resourceVersion"]))
            objects = self.state_at(target.collection, revision)
        found = [item for item in objects.values() if matches(item)]
        limit = int(query.get("limit", "0")) or None
        return {
            "kind": "List",
            "metadata": {"resourceVersion": str(revision)},
            "items": found[:limit],
        }

    def open_watch(self, target: Target, query: dict[str, str], *, who: str) -> Watch:
        since = int(query["resourceVersion"])
        self._collection(target)
        if since < self.compacted:
            raise RefusedError(HTTPStatus.GONE, "Expired", f"too old resource version: {since}")
        selector = query.get("labelSelector", "")
        matches = matcher(target.namespace, selector)
        watch = Watch(self, target.collection, matches, who=who, selector=selector)
        watch.start(ends_in_s=float(query["timeoutSeconds"]))
        for change in self._history:
            if change.revision > since:
                watch.tell(change)
        self._watches.add(watch)
        return watch

    def close_watch(self, watch: Watch) -> None:
        self._watches.discard(watch)
        watch.close()

    def carry_out(
        self, method: str, target: Target, sent: Json, *, subresources: bool = True
    ) -> Json:
        """Read or change one object; without `subresources` the status is a field like others."""
        objects = self._collection(target)
        if method == "POST":
            name = sent["metadata"]["name"]
            target = Target(target.collection, target.namespace, name)
            if target.key in objects:
                raise RefusedError(HTTPStatus.CONFLICT, "AlreadyExists", f"{name} exists")
        elif target.key not in objects:
            message = f"{target.name} not found"
            raise RefusedError(HTTPStatus.NOT_FOUND, "NotFound", message, name=target.name)
        known = objects.get(target.key)
        if method == "GET" and known is not None:
            return known
        check_preconditions(sent, known)
        if method == "DELETE" and known is not None:
            return self._delete(target, known)
        if method == "POST" and target.collection == CUSTOM_RESOURCE_DEFINITIONS.path():
            later(_BEGINS_S, self._begin_kind, sent)
        after = merged(known or {}, sent) if method == "PATCH" else sent
        if subresources and target.collection in _WITH_STATUS:
            after = only_status(known, after) if target.subresource else no_status(known, after)
        return self._store(target, known, after)

    def _delete(self, target: Target, known: Json) -> Json:
        """Delete an object; a definition goes after the objects of its kind, as at the real one."""
        if target.collection != CUSTOM_RESOURCE_DEFINITIONS.path():
            self._store(target, known, None)
            return known
        self._store(target, known, merged(known, {"metadata": {"deletionTimestamp": _stamp()}}))
        later(_TERMINATES_S, self._end_kind, target, _kind_of(known))
        return known

    def _end_kind(self, target: Target, kind: str) -> None:
        """Delete the objects of a kind, then the kind."""
        for (namespace, name), item in tuple(self.collections.get(kind, {}).items()):
            self._store(Target(kind, namespace, name), item, None)
        known = self.collections[target.collection].get(target.key)
        if known is not None:
            self._store(target, known, None)
        self.collections.pop(kind, None)
        for watch in self._watches.all():
            if watch.collection == kind:
                watch.end()

    def _begin_kind(self, definition: Json) -> None:
        """Serve a kind, and say that it is."""
        self.collections.setdefault(_kind_of(definition), {})
        name = definition["metadata"]["name"]
        if self.has(CUSTOM_RESOURCE_DEFINITIONS, name):
            established = {"conditions": [{"type": "Established", "status": "True"}]}
            self.patch(CUSTOM_RESOURCE_DEFINITIONS, name, {"status": established})

    def _store(self, target: Target, known: Json | None, after: Json | None) -> Json:
        objects = self.collections[target.collection]
        if after is not None:
            after = after | {"metadata": self._metadata(target, known, after)}
            if after == known:
                return known
        self.revision += 1
        if after is None:
            del objects[target.key]
        else:
            after["metadata"]["resourceVersion"] = str(self.revision)
            objects[target.key] = after
        change = Change(self.revision, target.collection, known, after, now_s())
        self._history.append(change)
        for watch in self._watches.concerned(change):
            watch.tell(change)
        for look in self.on_change:
            look(change)
        return after or {}

    def _metadata(self, target: Target, known: Json | None, after: Json) -> Json:
        """Return the metadata with what is for the server to write."""
        if known is not None:
            own = known["metadata"]
            fixed = {key: own[key] for key in ("uid", "creationTimestamp", "resourceVersion")}
            fixed["generation"] = own["generation"] + (_wish(after) != _wish(known))
        else:
            stamp = _stamp()
            fixed = {"uid": f"uid-{self.revision + 1}", "creationTimestamp": stamp, "generation": 1}
        place = {"namespace": target.namespace} if target.namespace else {}
        metadata: Json = after["metadata"] | place | fixed
        return metadata

    def _collection(self, target: Target) -> dict[tuple[str, str], Json]:
        if target.collection not in self.collections:
            message = "the server could not find the requested resource"
            raise RefusedError(HTTPStatus.NOT_FOUND, "NotFound", message)
        return self.collections[target.collection]


@cache
def _documents() -> list[Json]:
    documents: list[Json] = msgspec.json.decode(msgspec.json.encode(definitions()))
    return documents


def _wish(item: Json) -> Json:
    """Return the parts whose change makes another generation of an object."""
    return {key: part for key, part in item.items() if key not in ("metadata", "status")}


def _stamp() -> str:
    return (EPOCH + timedelta(seconds=now_s())).strftime("%Y-%m-%dT%H:%M:%SZ")


def _kind_of(definition: Json) -> str:
    """Return the collection that a definition is about."""
    spec = definition["spec"]
    return f"/apis/{spec['group']}/{spec['versions'][0]['name']}/{spec['names']['plural']}"
