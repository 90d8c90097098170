"""Manifests as API servers of older versions take them. Pure.

kubectl compares a manifest with what the server knows, and refuses what it does not know.
"""

import yaml

OLDEST_MINOR = 20
"""The oldest server is 1.20."""

NEWEST_CHANGE = 25
"""From this minor version on servers take the manifests as they are."""

_RULES, _RULES_SINCE = "x-kubernetes-validations", 25
_BUDGETS, _OLD_BUDGETS, _BUDGETS_SINCE = "policy/v1\n", "policy/v1beta1\n", 21


def parse_minor(text: str) -> int:
    """Return the minor version of ``1.20`` or ``v1.20.2``; raises ValueError."""
    major, _, rest = text.removeprefix("v").partition(".")
    minor = rest.partition(".")[0].removesuffix("+")
    if major != "1" or not minor.isdecimal() or int(minor) < OLDEST_MINOR:
        raise ValueError(f"{text!r} is not a version from 1.{OLDEST_MINOR} on")
    return int(minor)


def as_taken(manifest: str, minor: int) -> str:
    """Return the text of a manifest as a server of that minor version takes it.

    Rules in definitions are left out before 1.25. Schemas still check what can be checked without
    them, and extip itself checks all of it.
    """
    if minor < _BUDGETS_SINCE:
        manifest = manifest.replace(f"apiVersion: {_BUDGETS}", f"apiVersion: {_OLD_BUDGETS}")
    if minor < _RULES_SINCE and _RULES in manifest:
        documents = [_without_rules(one) for one in yaml.safe_load_all(manifest)]
        manifest = yaml.safe_dump_all(documents, sort_keys=False, width=100, explicit_start=True)
    return manifest


def _without_rules(value: object) -> object:
    if isinstance(value, dict):
        return {key: _without_rules(inner) for key, inner in value.items() if key != _RULES}
    if isinstance(value, list):
        return [_without_rules(inner) for inner in value]
    return value
