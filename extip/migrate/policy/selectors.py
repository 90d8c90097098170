"""Selectors of other programs, of which one is enough → the one selector of a pool. Pure."""

from collections.abc import Iterable, Sequence

from extip.api.meta_v1 import LabelSelector, LabelSelectorRequirement
from extip.api.names import label_value
from extip.migrate.policy.result import Result

NAMESPACE_NAME = "kubernetes.io/metadata.name"
"""The label of a namespace that has its name (Kubernetes 1.21 and later)."""
_MARK = "pool.ipcontroller.ext/"
"""A label for objects that no one selector selects."""
_ONE_OF = {"In", "NotIn"}
_PRESENCE = {"Exists": "", "DoesNotExist": "!"}


def named(names: Iterable[str], *, operator: str = "In") -> LabelSelector:
    """Return the selector of namespaces with these names."""
    return LabelSelector(
        match_expressions=(
            LabelSelectorRequirement(
                key=NAMESPACE_NAME, operator=operator, values=tuple(sorted(set(names)))
            ),
        )
    )


def requirements(selector: LabelSelector) -> tuple[LabelSelectorRequirement, ...]:
    """Return all parts of a selector as expressions."""
    labels = (selector.match_labels or {}).items()
    return (
        *(LabelSelectorRequirement(key=k, operator="In", values=(v,)) for k, v in labels),
        *(selector.match_expressions or ()),
    )


def any_of(selectors: Sequence[LabelSelector]) -> LabelSelector | None:
    """Return a selector of all that one of these selects; None where there is no such selector."""
    unique = list(dict.fromkeys(map(text_of, selectors), 0))
    if len(unique) == 1:
        return selectors[0]
    if "" in unique:
        return LabelSelector()
    parts = [requirements(selector) for selector in selectors]
    keys = {part.key for every in parts for part in every}
    alternatives = all(len(every) == 1 and every[0].operator == "In" for every in parts)
    if len(keys) != 1 or not alternatives:
        return None
    values = dict.fromkeys((v for every in parts for v in every[0].values or ()), 0)
    joined = LabelSelectorRequirement(key=keys.pop(), operator="In", values=tuple(values))
    return LabelSelector(match_expressions=(joined,))


def one_selector(
    selectors: Sequence[LabelSelector], resource: str, pool: str, where: str, result: Result
) -> LabelSelector | None:
    """Return the selector of a pool; None where everything is selected.

    Where one selector cannot say it, a label of its own stands for all; a remark has the commands
    that set it.
    """
    if not selectors:
        return None
    joined = any_of(selectors)
    if joined is not None:
        return joined if text_of(joined) else None
    key = _MARK + label_value(pool)
    everywhere = " -A" if resource == "services" else ""
    commands = "; ".join(
        f"kubectl label {resource}{everywhere} -l '{text_of(selector)}' {key}=true"
        for selector in selectors
    )
    result.lose(
        where,
        f"a pool of extip has one selector of {resource}, and these are {len(selectors)}; "
        f"the pool selects the label {key} in their place",
        f"set it now, and on {resource} that come later: {commands}",
    )
    return LabelSelector(match_labels={key: "true"})


def text_of(selector: LabelSelector) -> str:
    """Return a selector as `kubectl -l` writes it; empty for one that selects everything."""
    return ",".join(map(_text, requirements(selector)))


def _text(part: LabelSelectorRequirement) -> str:
    values = part.values or ()
    if part.operator in _PRESENCE:
        return _PRESENCE[part.operator] + part.key
    if part.operator == "In" and len(values) == 1:
        return f"{part.key}={values[0]}"
    word = part.operator.lower() if part.operator in _ONE_OF else part.operator
    return f"{part.key} {word} ({','.join(values)})"
