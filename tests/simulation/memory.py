"""What processes remember does not grow with what has happened."""

import gc
from collections import deque
from collections.abc import Iterable
from types import BuiltinFunctionType, FunctionType, ModuleType

from tests.simulation.invariants import Invariant

MOST_REMEMBERED = 5_000
"""Entries of all containers of one process, for the objects of a small cluster."""

_CONTAINERS = (dict, list, tuple, set, frozenset, deque)
_OUTSIDE = (ModuleType, type, BuiltinFunctionType)


class CachesAreBounded(Invariant):
    """At the end a process knows what there is, and not all that ever was."""

    def end(self) -> Iterable[str]:
        for name, running in self.world.processes.items():
            if self.world.runs(name):
                count = remembered(running.process)
                if count > MOST_REMEMBERED:
                    yield f"{name} remembers {count} things"


def remembered(root: object) -> int:
    """Return how many entries all containers have that an object of extip leads to."""
    count, waiting, seen = 0, [root], {id(root)}
    while waiting:
        one = waiting.pop()
        if isinstance(one, _CONTAINERS):
            count += len(one)
        for other in _parts(one):
            if id(other) not in seen:
                seen.add(id(other))
                waiting.append(other)
    return count


def _parts(one: object) -> Iterable[object]:
    """Return what an object consists of; nothing of the interpreter, and of the world around."""
    if isinstance(one, FunctionType):
        return one.__closure__ or ()
    inside = type(one).__module__.startswith(("extip", "builtins", "collections", "functools"))
    if isinstance(one, _OUTSIDE) or not inside:
        return ()
    return gc.get_referents(one)
