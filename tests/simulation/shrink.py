"""The shortest history that still fails: faults are left out while a promise stays broken."""

from dataclasses import replace

from tests.simulation.faults import Fault
from tests.simulation.history import History, play

MOST_TRIES = 60


def shrink(history: History, invariant: str) -> History:
    """Return a history with fewer faults that breaks the same promise, or the same history."""
    size, tries = max(1, len(history.faults) // 2), MOST_TRIES
    while size and tries:
        for start in range(0, len(history.faults), size):
            fewer = _without(history.faults, start, size)
            tries -= 1
            if _breaks(replace(history, faults=fewer), invariant):
                history = replace(history, faults=fewer)
                break
            if not tries:
                break
        else:
            size //= 2
            continue
        size = min(size, max(1, len(history.faults) // 2)) if history.faults else 0
    return history


def _without(faults: tuple[Fault, ...], start: int, count: int) -> tuple[Fault, ...]:
    return faults[:start] + faults[start + count :]


def _breaks(history: History, invariant: str) -> bool:
    return any(one.invariant == invariant for one in play(history).violations)
