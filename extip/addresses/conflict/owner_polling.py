"""Asks the segment again and again, at a bounded pace, who else has the IPs that are up here.

It guarantees at most `ASKS_PER_S` questions a second. It does not guarantee a question per IP every
`ASK_S`: with many IPs each waits longer. It owns no task: `ConflictWatch.run` calls it.
"""

from collections import deque
from collections.abc import Callable, Collection, Iterable
from math import inf
from random import Random

from extip.addresses.conflict.policy.defence import ANSWER_S, ASK_S
from extip.clock import Clock
from extip.net.interfaces import IPAddress
from extip.token_bucket import TokenBucket

ASKS_PER_S = 1000.0
"""Questions a second. With more IPs than that, each is asked for less often than every `ASK_S`."""

_BURST = 50.0

_JITTER = 0.1
"""Share of `ASK_S` by which intervals vary: two nodes must not ask in step."""


class OwnerPolling:
    """Knows the next question, and the answers that are due."""

    def __init__(self, ask: Callable[[IPAddress], bool], *, clock: Clock, rng: Random) -> None:
        """`ask` sends a question and returns whether it went out."""
        self._ask = ask
        self._clock = clock
        self._rng = rng
        self._bucket = TokenBucket(rate=ASKS_PER_S, burst=_BURST, tokens=_BURST)
        self._due: deque[tuple[float, IPAddress]] = deque()
        self._due_at: dict[IPAddress, float] = {}
        self._answers: deque[tuple[float, IPAddress]] = deque()

    def begin(self, ips: Iterable[IPAddress], *, after_s: float = 0.0) -> None:
        """Ask for these IPs before all others.

        With `after_s`, ask that many seconds later, and after the IPs that are due.
        """
        due = self._clock.monotonic() + after_s
        for ip in ips:
            self._due_at[ip] = due
            if after_s:
                self._due.append((due, ip))
            else:
                self._due.appendleft((due, ip))

    def end(self) -> None:
        """Stop asking."""
        self._due.clear()
        self._due_at.clear()
        self._answers.clear()

    def send(self, held: Collection[IPAddress], asked: Callable[[IPAddress, float], None]) -> float:
        """Send the questions that are due for IPs in `held`; return the seconds until the next one.

        `asked` gets the IP and the time of each question that went out.
        """
        while self._due:
            now = self._clock.monotonic()
            due, ip = self._due[0]
            if ip not in held or self._due_at.get(ip) != due:
                self._due.popleft()
                continue
            if due > now:
                return due - now
            if not self._bucket.take(now):
                return self._bucket.wait_s()
            self._due.popleft()
            if self._ask(ip):
                asked(ip, now)
            self._answers.append((now + ANSWER_S, ip))
            vary = 1 + _JITTER * (2 * self._rng.random() - 1)
            self._due_at[ip] = now + ASK_S * vary
            self._due.append((now + ASK_S * vary, ip))
        return inf

    def answered(self) -> list[IPAddress]:
        """Return the IPs whose time for answers is over."""
        now = self._clock.monotonic()
        found = []
        while self._answers and self._answers[0][0] <= now:
            found.append(self._answers.popleft()[1])
        return found

    def answers_in_s(self) -> float:
        """Return the seconds until `answered` returns an IP."""
        return self._answers[0][0] - self._clock.monotonic() if self._answers else inf
