"""Whether a process leaks: memory, open files."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

_YOUNG_S = 90.0
"""A process that is younger has not seen all of its code yet."""

_LEAST_S = 120.0
"""Time after that in which a leak can be told from noise."""

_MORE_FILES = 6
_MORE_MEMORY = 0.12
_MORE_MIB = 8.0
_EACH_HALF = 0.15
"""Share of a growth that goes on that each half of the time has at least."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """What a process had at a time."""

    at_s: float
    memory_mib: float
    files: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """A process over its life, in thirds: medians of the first and the last."""

    process: str
    lived_s: float
    memory_mib: tuple[float, float]
    files: tuple[float, float]
    leaks: tuple[str, ...] = ()


def usage(process: str, samples: Sequence[Sample]) -> Usage | None:
    """Compare the thirds of what a process took; None when it has not lived for long enough."""
    if not samples:
        return None
    born_s = samples[0].at_s
    grown = [sample for sample in samples if sample.at_s - born_s >= _YOUNG_S]
    if not grown or grown[-1].at_s - grown[0].at_s < _LEAST_S:
        return None
    third = len(grown) // 3
    parts = (grown[:third], grown[third : 2 * third], grown[2 * third :])
    memory = [median(sample.memory_mib for sample in part) for part in parts]
    files = [median(sample.files for sample in part) for part in parts]
    leaks = []
    if _rises(memory, max(_MORE_MIB, _MORE_MEMORY * memory[0])):
        leaks.append("memory grew: {:.1f}, {:.1f}, {:.1f} MiB in the median".format(*memory))
    if _rises(files, _MORE_FILES):
        leaks.append("open files grew: {:.0f}, {:.0f}, {:.0f} in the median".format(*files))
    return Usage(
        process=process,
        lived_s=samples[-1].at_s - born_s,
        memory_mib=(memory[0], memory[2]),
        files=(files[0], files[2]),
        leaks=tuple(leaks),
    )


def _rises(parts: Sequence[float], by: float) -> bool:
    """Tell growth that goes on from a step that happened once, and from noise.

    Both halves have a part in it. Noise after a step is a small one.
    """
    first, middle, last = parts
    grown = last - first
    return grown > by and min(middle - first, last - middle) >= _EACH_HALF * grown
