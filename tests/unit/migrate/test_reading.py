"""A person names services as `extip status` knows them, or means all."""

from typing import cast

import pytest

from extip.api.coordination_v1 import Lease, LeaseSpec
from extip.errors import FatalError, UnansweredError
from extip.kube.client import ApiClient
from extip.migrate.reading import chosen_services, read_cluster
from tests.unit.migrate.migration_world import MigrationWorld
from tests.unit.status.test_cluster import Server


@pytest.fixture
def services():
    world = MigrationWorld()
    world.add("web", externalIPs=["10.0.0.1"])
    world.add("db", externalIPs=["10.0.0.2"], namespace="shop")
    world.add("done", annotations={"ipcontroller.ext/migrated-from": "{}"})
    world.add("other")
    found = [world.whole(name) for name in world.services]
    world.add("web", externalIPs=["10.0.0.3"], namespace="shop")
    return [*found, world.whole("web")]


def chosen(services, *words, namespace="", undo=False):
    found = chosen_services(services, words, namespace, undo=undo)
    return [one.metadata.key for one in found]


def test_all_are_those_that_a_migration_concerns(services):
    assert chosen(services) == ["default/done", "default/web", "shop/db", "shop/web"]
    assert chosen(services, namespace="shop") == ["shop/db", "shop/web"]
    assert chosen(services, undo=True) == ["default/done"]


def test_a_name_is_enough_where_one_service_has_it(services):
    assert chosen(services, "db", "default/web", "shop/db") == ["shop/db", "default/web"]
    assert chosen(services, "web", namespace="shop") == ["shop/web"]
    assert chosen(services, "other") == ["default/other"]


@pytest.mark.parametrize(
    ("word", "why"),
    [
        ("nobody", "there is no service 'nobody'"),
        ("web", "'web' is the name of several services: default/web, shop/web"),
    ],
)
def test_any_other_word_is_told(services, word, why):
    with pytest.raises(FatalError) as told:
        chosen(services, word)
    assert str(told.value) == why


class Versioned(Server):
    """Tells its version, too."""

    async def server_version(self):
        return (1, 30)


HELD = Lease(spec=LeaseSpec(holder_identity="n1_1"))


async def read(*unknown, leases=(HELD,)):
    known = {"ipclaims": (), "ipclaimpools": (), "namespaces": (), "services": ()}
    server = Versioned(*unknown, **known, leases=leases)
    return await read_cluster(cast("ApiClient", server), instance="")


async def test_simple_mode_needs_the_definition_of_pools_alone():
    """The account needs no permission for kinds that are not there."""
    found = await read("ipclaims")
    assert (found.claims, found.nobody_gives) == ((), "")
    found = await read("ipclaims", leases=())
    assert "no scheduler has made claims" in found.nobody_gives


@pytest.mark.parametrize(
    ("unknown", "text"),
    [
        (("ipclaimpools",), "somebody deleted the definition ipclaimpools.ipcontroller.ext"),
        (("ipclaims", "ipclaimpools"), "this cluster does not know extip's kinds"),
    ],
)
async def test_without_the_definition_of_pools_nothing_is_planned(unknown, text):
    with pytest.raises(UnansweredError) as told:
        await read(*unknown)
    assert str(told.value).startswith(text)
