"""Observations → the conditions of an object, as the Kubernetes API conventions want them."""

from collections.abc import Sequence

from extip.api.meta_v1 import Condition


def with_condition(
    conditions: Sequence[Condition] | None, new: Condition, *, now: str
) -> tuple[Condition, ...]:
    """Return the conditions with `new` in the place of the one of its type.

    Its `last_transition_time` becomes `now` (RFC 3339) only when the status differs from before;
    whatever `new` carries there is ignored. Equal input gives an equal result, so that a caller
    can leave out the write.
    """
    known = tuple(conditions or ())
    old = find_condition(known, new.type)
    flipped = old is None or old.status != new.status
    since = now if flipped or old is None else old.last_transition_time
    fresh = Condition(
        type=new.type,
        status=new.status,
        reason=new.reason,
        message=new.message,
        last_transition_time=since,
        observed_generation=new.observed_generation,
    )
    if old is None:
        return (*known, fresh)
    return tuple(fresh if condition.type == new.type else condition for condition in known)


def find_condition(conditions: Sequence[Condition] | None, kind: str) -> Condition | None:
    """Return the condition of that type, or None when nothing was observed yet."""
    for condition in conditions or ():  # a generator takes twice as long
        if condition.type == kind:
            return condition
    return None


def is_true(conditions: Sequence[Condition] | None, kind: str) -> bool:
    """Whether the condition of that type is there and True."""
    found = find_condition(conditions, kind)
    return found is not None and found.status == "True"
