"""A list for decisions never comes from the cache of an API server."""

from typing import Any

from extip.cache.fresh import FreshListerWatcher
from extip.cache.listwatch import FROM_CACHE, MOST_RECENT
from tests.fakes.virtual_time import run_virtually


class Inner:
    """Returns what it was asked."""

    async def list(self, *, resource_version):
        return resource_version

    def watch(self, *, resource_version, timeout_s):
        return resource_version, timeout_s


def test_a_list_is_the_most_recent_one_and_a_watch_goes_on_from_where_it_is_told():
    inner: Any = Inner()
    fresh: Any = FreshListerWatcher(inner)
    assert run_virtually(fresh.list(resource_version=FROM_CACHE)) == MOST_RECENT
    assert fresh.watch(resource_version="7", timeout_s=300) == ("7", 300)
