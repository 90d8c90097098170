"""Measures one piece of work of this process: wall clock, processor, and memory at the peak."""

import json
import resource
import time
from pathlib import Path

_CLEAR_PEAK = "5"  # proc_pid_clear_refs(5): the peak begins anew at what is resident now


class Stopwatch:
    """Made when the imports are done and the connection is warm; `lap` ends the measuring."""

    def __init__(self) -> None:
        self._resident = _status_mb("VmRSS")
        Path("/proc/self/clear_refs").write_text(_CLEAR_PEAK)
        self._cpu_s = _cpu_s()
        self._started = time.perf_counter()

    def lap(self, count: int) -> dict[str, float]:
        """Return what `count` objects took since the start."""
        took_s, cpu_s = time.perf_counter() - self._started, _cpu_s() - self._cpu_s
        return {
            "count": count,
            "wall_s": took_s,
            "cpu_s": cpu_s,
            "peak_mb": _status_mb("VmHWM") - self._resident,
        }


def report(result: dict[str, float]) -> None:
    """Hand the result to the program that started this one."""
    print(json.dumps(result), flush=True)


def _cpu_s() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def _status_mb(field: str) -> float:
    for line in Path("/proc/self/status").read_text().splitlines():
        name, _, value = line.partition(":")
        if name == field:
            return int(value.split()[0]) / 1024
    raise LookupError(field)
