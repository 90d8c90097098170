"""Missing definitions are made, waited for, or asked for in words that can be typed."""

from random import Random
from typing import Any

import msgspec
import pytest

from extip.cache.listwatch import Page
from extip.clock import LoopClock
from extip.definitions.documents import definitions
from extip.definitions.install import LAST_APPLIED, Definitions
from extip.errors import (
    ApiAccessError,
    ApiUnavailableError,
    ConflictError,
    FatalError,
    NotFoundError,
)
from tests.fakes.virtual_time import run_virtually

WRITTEN = msgspec.json.decode(msgspec.json.encode(definitions()))
NAMES = [definition["metadata"]["name"] for definition in WRITTEN]


class FakeClient:
    """Serves kinds some time after they were defined."""

    def __init__(self, *, defined=(), delay_s=0.5, faults=()):
        self.defined = dict.fromkeys(defined, -1000.0)
        self.delay_s = delay_s
        self.faults = list(faults)
        self.created: list[tuple[str, object]] = []
        self.written: dict[str, Any] = {}
        self.on_create: Exception | None = None
        self.conflicts = 0
        """Writes that come after somebody else's."""

    async def list(self, kind, _scope, *, limit):
        assert limit == 1
        if self.faults:
            raise self.faults.pop(0)
        since = self.defined.get(f"{kind.plural}.{kind.group}")
        if since is None or LoopClock().monotonic() < since + self.delay_s:
            raise NotFoundError("the server could not find the requested resource")
        return Page(items=(), resource_version="1")

    async def create(self, _kind, body):
        name = body.metadata.name
        if self.on_create is not None:
            raise self.on_create
        if name in self.defined:
            raise ConflictError("exists")
        self.defined[name] = LoopClock().monotonic()
        self.created.append((name, msgspec.json.decode(body.spec)))
        self.written[name] = body
        return body

    async def get(self, _kind, *, name):
        if name not in self.written:
            raise NotFoundError("there is none")
        return self.written[name]

    async def replace(self, _kind, body):
        if self.conflicts:
            self.conflicts -= 1
            raise ConflictError("changed")
        self.written[body.metadata.name] = body
        return body


def ensure(client: Any):
    run_virtually(Definitions(client, clock=LoopClock(), rng=Random(1)).ensure())  # noqa: S311


def test_what_is_missing_is_created_as_written_and_waited_for():
    client = FakeClient(defined=NAMES[:1])
    ensure(client)
    assert client.created == [(d["metadata"]["name"], d["spec"]) for d in WRITTEN[1:]]


def test_what_is_there_is_left_alone():
    client = FakeClient(defined=NAMES)
    ensure(client)
    assert client.created == []


def test_somebody_who_was_quicker_is_no_trouble():
    client = FakeClient()
    client.on_create = ConflictError("exists")
    client.defined = dict.fromkeys(NAMES, 1.0)
    ensure(client)


def test_without_the_permission_it_says_what_to_run():
    client = FakeClient()
    client.on_create = ApiAccessError("forbidden")
    with pytest.raises(FatalError, match=r"extip crds --apply.*manifests/claims/crds.yaml"):
        ensure(client)


def test_without_the_permission_to_list_it_says_so():
    with pytest.raises(FatalError, match=r"RBAC.*rbac-"):
        ensure(FakeClient(faults=[ApiAccessError("RBAC does not allow it")]))


def test_an_api_server_that_does_not_answer_is_waited_for():
    client = FakeClient(faults=[ApiUnavailableError("down")] * 7)
    ensure(client)
    assert len(client.created) == 3


def test_a_definition_that_is_never_served_is_given_up():
    with pytest.raises(FatalError, match="30 s"):
        ensure(FakeClient(delay_s=1e9))


def apply(client: Any):
    return run_virtually(Definitions(client, clock=LoopClock(), rng=Random(1)).apply())  # noqa: S311


def test_kubectl_finds_what_it_would_have_noted_itself_and_annotations_of_others_stay():
    client = FakeClient()
    apply(client)
    for name, written in client.written.items():
        metadata = msgspec.structs.replace(written.metadata, annotations={"team": "edge"})
        client.written[name] = msgspec.structs.replace(written, metadata=metadata)
    assert apply(client) == [(name, "unchanged") for name in NAMES]
    for definition in WRITTEN:
        annotations = client.written[definition["metadata"]["name"]].metadata.annotations
        assert msgspec.json.decode(annotations[LAST_APPLIED]) == definition
        assert annotations["team"] == "edge"


def test_a_definition_that_changes_meanwhile_is_written_over_its_new_version():
    """The API server itself writes the conditions of one that has just been made."""
    client = FakeClient()
    apply(client)
    client.conflicts = 2
    assert apply(client) == [(name, "unchanged") for name in NAMES]
    client.conflicts = 100
    with pytest.raises(ConflictError):
        apply(client)
