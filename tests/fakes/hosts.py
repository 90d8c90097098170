"""An event loop for many hosts in one process: each has its own clock; processes can freeze.

Everything runs on one virtual time line, the world's. A process of the simulation is a `Life`: all
tasks that it starts inherit it by their context. While it is frozen none of its callbacks runs, and
the world goes on, as with SIGSTOP. Once it is killed none ever runs again, as with SIGKILL: no
`finally` gives anything back. No sockets: a simulation that touches the network is wrong here.
"""

import asyncio
import heapq
import time
from asyncio import Handle, TimerHandle
from collections import deque
from collections.abc import Callable
from contextvars import Context, ContextVar
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from weakref import ref

from extip.clock import LoopClock
from tests.fakes.virtual_time import EPOCH

STEP_BOUND_S = 0.05
"""Processor time that one step may take."""

MEASURED_S = 0.1
"""Between two looks at the processor time that was used."""

ROUNDING_S = 1e-9
"""More than the conversion of a time rounds off."""

LIVELOCK = 300_000
"""So many steps at one instant are a loop that will never wait."""


@dataclass(slots=True)
class HostClock:
    """How a host counts the world's seconds; its wall clock may be wrong, too."""

    rate: float = 1.0
    wall_offset_s: float = 0.0
    stopped_at: float | None = None
    """The world's time since which it stands still, as that of a paused virtual machine."""
    stood_still_s: float = 0.0

    def local(self, world_s: float) -> float:
        until_s = world_s if self.stopped_at is None else self.stopped_at
        return (until_s - self.stood_still_s) * self.rate

    def world(self, local_s: float) -> float:
        """Return the world's time then, or a moment later: no timer fires before its time."""
        return local_s / self.rate + self.stood_still_s + ROUNDING_S


@dataclass(slots=True, eq=False)
class Life:
    """A process, as its operating system schedules it."""

    name: str
    clock: HostClock = field(default_factory=HostClock)
    frozen: bool = False
    dead: bool = False
    waiting: list[Handle] = field(default_factory=list)
    """Callbacks that became due while it was frozen or dead; those of the dead let its tasks end
    when the simulation is over."""
    timers: list[Any] = field(default_factory=list)
    """Those of a paused process: they stand still, too."""
    tasks: list["ref[asyncio.Task[Any]]"] = field(default_factory=list)
    """All that it ever started."""

    def unfinished(self) -> int:
        """Return how many of its tasks have not ended."""
        return sum(1 for one in self.tasks if (task := one()) is not None and not task.done())

    @property
    def runs(self) -> bool:
        return not (self.frozen or self.dead)


LIFE: ContextVar[Life | None] = ContextVar("life", default=None)


@dataclass(frozen=True, slots=True)
class Step:
    """A callback that took long."""

    whose: str
    what: str
    process_s: float


class HostsLoop(asyncio.BaseEventLoop):
    """Starts at 0 s and never sleeps; `now` is the world's time, `time()` that of who asks."""

    _ready: deque[Handle]
    _scheduled: list[Any]
    _timer_cancelled_count: int

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.steps = 0
        self.step_bound_s = STEP_BOUND_S
        self.long_steps: list[Step] = []
        self.errors: list[tuple[str, str]] = []
        """What callbacks raised, and whose they were."""
        self._at_this_instant = 0
        self._numbered = 0
        self._measured_at, self._used_s = 0.0, 0.0
        self.set_exception_handler(self._note_error)

    def time(self) -> float:
        life = LIFE.get()
        return self.now if life is None else life.clock.local(self.now)

    def call_at(  # type: ignore[override]
        self, when: float, callback: Callable[..., Any], *args: Any, context: Context | None = None
    ) -> TimerHandle:
        life = LIFE.get()
        if life is not None:
            when = life.clock.world(when)
        timer: Any = TimerHandle(when, callback, args, self, context)
        self._numbered += 1  # timers of one instant fire in the order of their making
        heapq.heappush(self._scheduled, (when, self._numbered, timer))
        timer._scheduled = True
        scheduled: TimerHandle = timer
        return scheduled

    def create_task(self, coro: Any, *, name: Any = None, context: Any = None) -> Any:
        task = super().create_task(coro, name=name, context=context)
        life = LIFE.get() if context is None else context.get(LIFE)
        if life is not None:
            life.tasks.append(ref(task))
        return task

    def pause(self, life: Life) -> None:
        """Have a process stand still together with its clock, and with its timers."""
        life.frozen, life.clock.stopped_at = True, self.now
        life.timers = [one for one in self._scheduled if one[2]._context.get(LIFE) is life]
        self._scheduled = [one for one in self._scheduled if one not in life.timers]
        heapq.heapify(self._scheduled)

    def resume(self, life: Life) -> None:
        """Let a paused process go on; its timers have as much time left as before."""
        clock = life.clock
        assert clock.stopped_at is not None
        paused_s = self.now - clock.stopped_at
        clock.stopped_at, clock.stood_still_s = None, clock.stood_still_s + paused_s
        for when, number, timer in life.timers:
            timer._when = when + paused_s
            heapq.heappush(self._scheduled, (timer._when, number, timer))
        life.timers = []
        self.thaw(life)

    def thaw(self, life: Life) -> None:
        """Let a frozen process go on; first with what waits for it."""
        life.frozen = False
        self._ready.extend(life.waiting)
        life.waiting.clear()

    def _run_once(self) -> None:
        ready = self._ready
        self._collect_due()
        for _ in range(len(ready)):
            handle: Any = ready.popleft()
            if handle._cancelled:
                continue
            life = handle._context.get(LIFE)
            if life is not None and not life.runs:
                life.waiting.append(handle)
                continue
            before = time.perf_counter()
            if before - self._measured_at > MEASURED_S:
                self._measured_at, self._used_s = before, time.process_time()
            handle._run()
            if time.perf_counter() - before > self.step_bound_s:
                self._measure(handle, life, before)
            self.steps += 1

    def _collect_due(self) -> None:
        """Move due timers to what is ready; when nothing is, time jumps to the next timer."""
        scheduled, ready = self._scheduled, self._ready
        self._drop_cancelled()
        if not ready:
            if not scheduled:
                waiting = [task for task in asyncio.all_tasks(self) if not task.done()]
                raise RuntimeError(f"deadlock: no timer is pending, and these wait: {waiting}")
            if scheduled[0][0] > self.now:
                self.now, self._at_this_instant = scheduled[0][0], 0
        self._at_this_instant += len(ready) + 1
        if self._at_this_instant > LIVELOCK:
            self._end_livelock(ready[0] if ready else scheduled[0][2])
        while scheduled and scheduled[0][0] <= self.now:
            timer = heapq.heappop(scheduled)[2]
            timer._scheduled = False
            if timer._cancelled:
                self._timer_cancelled_count -= 1
            else:
                ready.append(timer)

    def _end_livelock(self, handle: Any) -> None:
        """Let nothing run any more of a process that does not let time go on."""
        life, self._at_this_instant = handle._context.get(LIFE), 0
        if life is None:
            raise RuntimeError(f"livelock of the world: {handle!r}")
        life.dead = True
        self.errors.append((life.name, f"livelock: {handle!r}"))

    def _drop_cancelled(self) -> None:
        scheduled = self._scheduled
        while scheduled and scheduled[0][2]._cancelled:
            self._timer_cancelled_count -= 1
            heapq.heappop(scheduled)[2]._scheduled = False
        if self._timer_cancelled_count < 100 or self._timer_cancelled_count * 2 < len(scheduled):
            return
        kept = []
        for entry in self._scheduled:
            if entry[2]._cancelled:
                entry[2]._scheduled = False
            else:
                kept.append(entry)
        self._scheduled[:] = kept
        heapq.heapify(self._scheduled)
        self._timer_cancelled_count = 0

    def _measure(self, handle: Any, life: Life | None, began: float) -> None:
        """Note a step that took long, unless something else had the processor.

        To ask the system for the processor time before each step would cost more than the step. It
        was asked a moment before this one, and the steps between used no more than passed.
        """
        used_s, between_s = time.process_time(), began - self._measured_at
        process_s = used_s - self._used_s - between_s
        self._measured_at, self._used_s = time.perf_counter(), used_s
        if process_s > self.step_bound_s:
            whose = life.name if life else ""
            self.long_steps.append(Step(whose, repr(handle._callback), process_s))

    def _note_error(self, _loop: object, context: dict[str, Any]) -> None:
        life = LIFE.get()
        error = context.get("exception")
        text = f"{context.get('message')}: {error!r}"
        self.errors.append((life.name if life else "", text))

    def _process_events(self, event_list: list[Any]) -> None:
        """There are none: nothing here waits for a file."""

    def _write_to_self(self) -> None:
        """No other thread wakes this loop."""


def hosts_loop() -> HostsLoop:
    """Return the running loop; the test has to run on one of these."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, HostsLoop)
    return loop


class ProcessClock(LoopClock):
    """The time of one host, to the processes on it."""

    def __init__(self, clock: HostClock) -> None:
        self._clock = clock
        self._loop = hosts_loop()

    def monotonic(self) -> float:
        return self._clock.local(self._loop.now)

    def utcnow(self) -> datetime:
        return EPOCH + timedelta(seconds=self.monotonic() + self._clock.wall_offset_s)


def run_hosts(main: Any) -> Any:
    """Run a coroutine to its end on a fresh loop of hosts."""
    with asyncio.Runner(loop_factory=HostsLoop) as runner:
        return runner.run(main)
