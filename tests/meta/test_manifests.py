"""Manifests that are generated are what the program would generate now."""

from pathlib import Path

import yaml

from extip.api.crds import DEFINITIONS
from extip.modes.crds import render

MANIFEST = Path(__file__).parents[2] / "manifests" / "crds.yaml"


def test_the_definitions_in_manifests_are_those_of_the_source():
    """To renew the file: ``extip crds > manifests/crds.yaml``."""
    assert MANIFEST.read_text(encoding="utf-8") == render()


def test_the_manifest_says_what_the_source_says():
    assert list(yaml.safe_load_all(MANIFEST.read_text(encoding="utf-8"))) == list(DEFINITIONS)


def test_the_manifest_has_no_anchors():
    text = MANIFEST.read_text(encoding="utf-8")
    assert "&id" not in text
    assert "*id" not in text
