"""Matches the label selectors of pools with labels, by the rules of meta/v1."""

from collections.abc import Mapping

from extip.api.meta_v1 import LabelSelector, LabelSelectorRequirement


def selects(selector: LabelSelector | None, labels: Mapping[str, str]) -> bool:
    """Whether every part of the selector holds; None and the empty selector match everything.

    An expression with an operator that is not known matches nothing: to leave it out would select
    what somebody wanted to exclude.
    """
    if selector is None:
        return True
    wanted = (selector.match_labels or {}).items()
    return all(labels.get(key) == value for key, value in wanted) and all(
        _holds(requirement, labels) for requirement in selector.match_expressions or ()
    )


def _holds(requirement: LabelSelectorRequirement, labels: Mapping[str, str]) -> bool:
    value = labels.get(requirement.key)
    match requirement.operator:
        case "In":
            return value is not None and value in (requirement.values or ())
        case "NotIn":
            return value is None or value not in (requirement.values or ())
        case "Exists":
            return value is not None
        case "DoesNotExist":
            return value is None
        case _:
            return False
