"""Objects of the API server in memory: what paths stand for, versions, selectors, refusals."""

from collections.abc import Callable
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

import msgspec

from tests.fakes.http_api import status_body

Json = dict[str, Any]


class RefusedError(Exception):
    """An answer that is none of success."""

    def __init__(self, status: int, reason: str, message: str, *, name: str = "") -> None:
        super().__init__(message)
        self.status = status
        self.body = msgspec.json.encode(status_body(status, reason, message, name=name))


@dataclass(frozen=True)
class Target:
    """What a path stands for."""

    collection: str
    namespace: str = ""
    name: str = ""
    subresource: str = ""

    @classmethod
    def of(cls, path: str) -> "Target":
        _, *parts = path.split("/")
        group, rest = (parts[:2], parts[2:]) if parts[0] == "api" else (parts[:3], parts[3:])
        namespace = ""
        if rest[0] == "namespaces" and len(rest) > 2:
            namespace, rest = rest[1], rest[2:]
        plural, name, subresource = (*rest, "", "")[:3]
        return cls("/".join(["", *group, plural]), namespace, name, subresource)

    @property
    def key(self) -> tuple[str, str]:
        return self.namespace, self.name

    @property
    def plural(self) -> str:
        return self.collection.rpartition("/")[2]


@dataclass(eq=False)
class Change:
    """One version of one object, and the one before it."""

    revision: int
    collection: str
    before: Json | None
    after: Json | None
    at_s: float = 0.0
    _lines: dict[str, bytes] = field(default_factory=dict)

    def line(self, kind: str) -> bytes:
        """Return what watchers are sent; the work is done once for all of them."""
        line = self._lines.get(kind)
        if line is None:
            told = (self.after or self.before or {}) | {}
            told["metadata"] = told["metadata"] | {"resourceVersion": str(self.revision)}
            line = msgspec.json.encode({"type": kind, "object": told}) + b"\n"
            self._lines[kind] = line
        return line


def check_preconditions(sent: Json, known: Json | None) -> None:
    """Refuse a change of what is not any more as the client saw it."""
    own = {} if known is None else known["metadata"]
    seen = sent.get("preconditions") or sent.get("metadata", {})
    for key in ("uid", "resourceVersion"):
        if known is not None and seen.get(key) not in (None, "", own[key]):
            raise RefusedError(HTTPStatus.CONFLICT, "Conflict", f"{own['name']} has changed")


def only_status(known: Json | None, after: Json) -> Json:
    return (known or {}) | {"status": after.get("status", {})}


def no_status(known: Json | None, after: Json) -> Json:
    status = {"status": known["status"]} if known and "status" in known else {}
    return {key: value for key, value in after.items() if key != "status"} | status


def matcher(namespace: str, selector: str) -> Callable[[Json], bool]:
    """Return whether an object is in a namespace and has labels: ``a=b``, ``a!=b``, ``a``."""
    wanted = [part.strip() for part in selector.split(",") if part.strip()]

    def matches(item: Json) -> bool:
        if namespace and item["metadata"].get("namespace") != namespace:
            return False
        labels = item["metadata"].get("labels") or {}
        return all(_has(labels, part) for part in wanted)

    return matches


def _has(labels: dict[str, str], wanted: str) -> bool:
    if "!=" in wanted:
        name, _, value = wanted.partition("!=")
        return labels.get(name) != value
    if "=" in wanted:
        name, _, value = wanted.replace("==", "=").partition("=")
        return labels.get(name) == value
    return wanted in labels
