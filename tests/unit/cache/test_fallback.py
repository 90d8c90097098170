"""The version that the server has is the one that is listed and watched."""

from contextlib import asynccontextmanager

import pytest

from extip.cache.fallback import FallbackListerWatcher
from extip.cache.listwatch import FROM_CACHE, Page
from extip.errors import ApiUnavailableError, NotFoundError


class Version:
    """One version of a resource."""

    def __init__(self, name, *, error=None):
        self.name = name
        self.error = error

    async def list(self, *, resource_version):
        assert resource_version == FROM_CACHE
        if self.error is not None:
            raise self.error
        return Page(items=(), resource_version=self.name)

    @asynccontextmanager
    async def watch(self, *, resource_version, timeout_s):
        assert (resource_version, timeout_s) == ("7", 60)
        yield self.name


async def used(watcher):
    page = await watcher.list(resource_version=FROM_CACHE)
    async with watcher.watch(resource_version="7", timeout_s=60) as stream:
        assert stream == page.resource_version
    return stream


async def test_the_first_where_there_is_one():
    assert await used(FallbackListerWatcher(Version("v1"), Version("v1beta1"))) == "v1"


async def test_the_second_where_there_is_no_first_and_the_first_after_an_upgrade():
    new, old = Version("v1", error=NotFoundError("no such kind", status=404)), Version("v1beta1")
    watcher = FallbackListerWatcher(new, old)
    assert await used(watcher) == "v1beta1"
    new.error, old.error = None, new.error
    assert await used(watcher) == "v1"


async def test_other_errors_change_nothing():
    new = Version("v1", error=ApiUnavailableError("away"))
    watcher = FallbackListerWatcher(new, Version("v1beta1"))
    with pytest.raises(ApiUnavailableError):
        await watcher.list(resource_version=FROM_CACHE)
    new.error = None
    assert await used(watcher) == "v1"
