"""A wall clock that can be set, for one Python program: with this folder in PYTHONPATH.

It is ahead of the real one by the seconds that stand in the file EXTIP_LAB_CLOCK, read each time.
The machine's clock is everybody's, a time namespace shifts all clocks but this one, and faketime
need not be installed. What C code reads for itself (OpenSSL, the kernel) stays as it is.
"""

# ruff: noqa: INP001 - found by its name in PYTHONPATH

import datetime as dt
import os
import time

_real_time, _real_time_ns = time.time, time.time_ns


def _ahead_s() -> float:
    with open(os.environ["EXTIP_LAB_CLOCK"]) as file:  # noqa: PTH123 - every program starts here
        return float(file.read())


class _Datetime(dt.datetime):
    @classmethod
    def now(cls, tz: dt.tzinfo | None = None) -> "_Datetime":
        return cls.fromtimestamp(time.time(), tz)

    @classmethod
    def utcnow(cls) -> "_Datetime":
        return cls.fromtimestamp(time.time(), dt.UTC).replace(tzinfo=None)


time.time = lambda: _real_time() + _ahead_s()
time.time_ns = lambda: _real_time_ns() + int(_ahead_s() * 1e9)
dt.datetime = _Datetime  # type: ignore[misc]  # that is the point
