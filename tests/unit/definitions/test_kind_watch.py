"""A definition is asked for only when there is reason to, and believed over what is listed."""

import asyncio
from random import Random
from typing import Any

import pytest

from extip.api.apiextensions_v1 import CustomResourceDefinition, CustomResourceDefinitionStatus
from extip.api.meta_v1 import Condition, FullObjectMeta
from extip.api.resources import IP_CLAIMS
from extip.cache.listwatch import Page
from extip.clock import LoopClock
from extip.definitions.kind_watch import KindWatch
from extip.errors import ApiAccessError, ApiUnavailableError, NotFoundError
from tests.fakes.virtual_time import run_virtually

ESTABLISHED = CustomResourceDefinitionStatus(
    conditions=(Condition(type="Established", status="True"),)
)


def definition(uid, *, ending=False, status=ESTABLISHED):
    meta = FullObjectMeta(name="x", uid=uid, deletion_timestamp="now" if ending else None)
    return CustomResourceDefinition(metadata=meta, status=status)


class Client:
    """Answers with what it is told."""

    def __init__(self):
        self.answer: CustomResourceDefinition | Exception = definition("one")
        self.served = True

    async def get(self, _kind, *, name):
        assert name == "ipclaims.ipcontroller.ext"
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer

    async def list(self, _kind, _scope, *, limit):
        assert limit == 1
        if not self.served:
            raise NotFoundError("no such kind", status=404)
        return Page(items=(), resource_version="1")


def play(scenario):
    async def main():
        client: Any = Client()
        told: list[str] = []
        kind: Any = IP_CLAIMS
        watch = KindWatch(
            client,
            kind,
            on_change=lambda one: told.append(one.missing),
            clock=LoopClock(),
            rng=Random(1),  # noqa: S311
        )
        await scenario(client, watch, told)

    run_virtually(main())


def test_one_that_is_being_deleted_is_missing_while_its_kind_is_still_served():
    async def scenario(client, watch, told):
        assert await watch.uid() == "one"
        client.answer = definition("one", ending=True)
        assert await watch.uid() == ""
        assert "being deleted" in watch.missing
        client.answer = NotFoundError("gone", status=404)
        assert await watch.uid() == ""
        assert "extip crds --apply" in watch.missing
        assert len(told) == 2

    play(scenario)


def test_one_is_back_when_its_kind_is_served():
    async def scenario(client, watch, told):
        client.answer = NotFoundError("gone", status=404)
        waiting = asyncio.ensure_future(watch.wait_back())
        await asyncio.sleep(60)
        client.answer = definition("two", status=CustomResourceDefinitionStatus())
        await asyncio.sleep(10)
        client.answer, client.served = definition("two"), False
        await asyncio.sleep(10)
        assert not waiting.done()
        client.served = True
        await asyncio.sleep(3)
        assert await waiting == "two"
        assert told[-1] == watch.missing == ""

    play(scenario)


def test_who_does_not_answer_is_asked_again_and_says_nothing():
    async def scenario(client, watch, told):
        client.answer = ApiUnavailableError("away")
        asking = asyncio.ensure_future(watch.uid())
        await asyncio.sleep(60)
        assert not asking.done()
        client.answer = definition("one")
        await asyncio.sleep(3)
        assert (await asking, told) == ("one", [])

    play(scenario)


def test_without_the_right_to_read_it_only_a_kind_that_is_not_served_is_missing():
    async def scenario(client, watch, told):
        client.answer = ApiAccessError("RBAC does not allow it", status=403)
        known = await watch.uid()
        assert known
        assert await watch.uid() == known
        client.served = False
        assert await watch.uid() == ""
        assert "does not serve" in watch.missing
        client.served = True
        assert (await watch.wait_back(), told[-1]) == (known, "")

    play(scenario)


REFUSED = ApiAccessError("RBAC does not allow it", status=403)


@pytest.mark.parametrize(
    ("first", "then"), [(definition("one"), REFUSED), (REFUSED, definition("one"))]
)
def test_a_right_to_read_it_that_comes_or_goes_is_no_end_of_the_kind(first, then):
    async def scenario(client, watch, told):
        client.answer = first
        known = await watch.uid()
        client.answer = then
        assert await watch.uid() == known
        client.answer = definition("two")
        assert await watch.uid() == "two"
        assert told == []

    play(scenario)
