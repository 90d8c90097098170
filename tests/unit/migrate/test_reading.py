"""A person names services as `extip status` knows them, or means all."""

import pytest

from extip.errors import FatalError
from extip.migrate.reading import chosen_services
from tests.unit.migrate.migration_world import MigrationWorld


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
