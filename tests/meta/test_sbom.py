"""The list of components has what the image has, and nothing that only development needs."""

import json

from extip import __version__
from tests.meta.audit import shipped
from tests.meta.sbom import locked, render

BILL = json.loads(render())
COMPONENTS = {one["name"]: one for one in BILL["components"]}


def test_it_is_cyclonedx_of_this_version():
    assert (BILL["bomFormat"], BILL["specVersion"]) == ("CycloneDX", "1.6")
    about = BILL["metadata"]["component"]
    assert (about["name"], about["version"], about["type"]) == ("extip", __version__, "application")


def test_components_are_those_of_the_image_in_their_locked_versions():
    versions = locked()
    assert COMPONENTS.keys() == shipped().keys()
    assert {name: one["version"] for name, one in COMPONENTS.items()} == {
        name: versions[name] for name in COMPONENTS
    }
    assert {"aiohttp", "msgspec", "pyroute2", "yarl"} <= COMPONENTS.keys()
    assert not {"pytest", "hatchling", "lightkube"} & COMPONENTS.keys()


def test_each_component_has_a_package_url_and_almost_each_a_licence():
    for name, one in COMPONENTS.items():
        assert one["purl"] == f"pkg:pypi/{name}@{one['version']}"
    assert sum("licenses" in one for one in COMPONENTS.values()) >= 0.8 * len(COMPONENTS)


def test_everything_is_needed_by_something():
    needed = {one for entry in BILL["dependencies"] for one in entry.get("dependsOn", ())}
    assert needed == {one["purl"] for one in COMPONENTS.values()}


def test_the_same_lock_gives_the_same_text():
    assert render() == render()
