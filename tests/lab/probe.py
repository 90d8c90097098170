"""What a client sees of addresses: `with lab.probe(ip) as probe:`."""

import itertools
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from tests.lab.anchor import python
from tests.lab.errors import LabError
from tests.lab.host import Host
from tests.lab.stream import LineStream
from tests.lab.wait import PATIENCE_S

INTERVAL_S = 0.010
TIMEOUT_S = 0.180
"""Below the least retransmission time (200 ms): no lost packet is ever made good in a probe."""


STANDSTILL = 5
"""A prober that sends this many times its interval after the last probe stood still."""

HICCUP_S = 0.5
"""An outage that is shorter may be the machine's: a backend that is not scheduled answers late."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """The result of one probe; times as `time.monotonic`, `node` None when there was an error."""

    sent_s: float
    ended_s: float
    node: str | None
    error: str

    @property
    def latency_s(self) -> float:
        return self.ended_s - self.sent_s


@dataclass(frozen=True, slots=True, kw_only=True)
class Outage:
    """Probes in a row that failed, from the first one's send time to the next good one's.

    `ended` is False when no good one followed: the outage lasted at least `duration_s`. For
    `blind_s` of that the prober itself stood still, and nobody knows.
    """

    start_s: float
    duration_s: float
    errors: tuple[str, ...]
    ended: bool
    blind_s: float = 0.0

    @property
    def end_s(self) -> float:
        return self.start_s + self.duration_s


class Probe:
    """Probes addresses from a host until the `with` block ends; results stay readable after.

    With several addresses, every question needs to say which one it is about.
    """

    def __init__(
        self,
        host: Host,
        ips: Sequence[str],
        *,
        port: int = 80,
        interval_s: float = INTERVAL_S,
        timeout_s: float = TIMEOUT_S,
    ) -> None:
        self.ips = tuple(ips)
        self.worst_lateness_s = 0.0
        """How far the prober itself was behind its schedule, at worst: the machine's fault."""
        self._interval_s = interval_s
        self._answers: dict[str, list[Answer]] = {ip: [] for ip in ips}
        settings = {
            "ips": self.ips,
            "port": port,
            "interval_s": interval_s,
            "timeout_s": timeout_s,
        }
        argv = python("prober.py", json.dumps(settings))
        self._stream = LineStream(host, argv, "prober", self._on_line)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _on_line(self, line: str) -> None:
        kind, _, rest = line.partition(" ")
        if kind == "l":
            self.worst_lateness_s = float(rest)
            return
        index, sent, ended, result = rest.split(" ", 3)
        failed = result.startswith("!")
        answer = Answer(
            sent_s=float(sent),
            ended_s=float(ended),
            node=None if failed else result,
            error=result[1:] if failed else "",
        )
        self._answers[self.ips[int(index)]].append(answer)

    def stop(self) -> None:
        """Stop probing, after the probes under way have ended."""
        self._stream.stop()

    def _one(self, ip: str | None) -> str:
        if ip is None and len(self.ips) > 1:
            raise LabError("several addresses are probed: say which one is meant")
        return self.ips[0] if ip is None else ip

    def answers_of(self, ip: str | None = None) -> list[Answer]:
        """Return the finished probes of an address, good and bad, by send time."""
        answers = self._answers[self._one(ip)]
        return self._stream.read(lambda: sorted(answers, key=lambda answer: answer.sent_s))

    @property
    def answers(self) -> list[Answer]:
        """The finished probes of the only address, by send time."""
        return self.answers_of()

    @property
    def first_answer_s(self) -> float | None:
        """When the first good answer of the only address arrived, None when none has yet."""
        return self.first_answer_of()

    def first_answer_of(self, ip: str | None = None) -> float | None:
        """Tell when the first good answer of an address arrived, None when none has yet."""
        good = [answer.ended_s for answer in self.answers_of(ip) if answer.node is not None]
        return min(good, default=None)

    def wait_for_answer(
        self, timeout: float = PATIENCE_S, *, ip: str | None = None, sent_after_s: float = 0.0
    ) -> Answer:
        """Wait for a good answer to a probe sent after the given time (`time.monotonic`)."""
        answers = self._answers[self._one(ip)]
        return self._stream.wait_for(
            lambda: next((a for a in answers if a.node and a.sent_s >= sent_after_s), None),
            f"answer of {self._one(ip)}",
            timeout,
        )

    def wait_for_failure(
        self, timeout: float = PATIENCE_S, *, ip: str | None = None, sent_after_s: float = 0.0
    ) -> Answer:
        """Wait for a failed probe that was sent after the given time."""
        answers = self._answers[self._one(ip)]
        return self._stream.wait_for(
            lambda: next((a for a in answers if not a.node and a.sent_s >= sent_after_s), None),
            f"failed probe of {self._one(ip)}",
            timeout,
        )

    def outages(self, ip: str | None = None) -> list[Outage]:
        """Tell the windows in which an address did not answer, after it first did.

        An address that never answered was out from the first probe on. A window is as exact as the
        interval plus `worst_lateness_s`.
        """
        answers = self.answers_of(ip)
        first_good = next((n for n, answer in enumerate(answers) if answer.node), 0)
        outages: list[Outage] = []
        failed: list[Answer] = []
        for answer in answers[first_good:]:
            if answer.node is None:
                failed.append(answer)
            elif failed:
                outages.append(self._outage(failed, answer))
                failed = []
        if failed:
            outages.append(self._outage(failed, None))
        return outages

    def _outage(self, failed: list[Answer], good: Answer | None) -> Outage:
        start = failed[0].sent_s
        end = failed[-1].sent_s + self._interval_s if good is None else good.sent_s
        sent = [*(answer.sent_s for answer in failed), end]
        gaps = [later - earlier for earlier, later in itertools.pairwise(sent)]
        return Outage(
            start_s=start,
            duration_s=end - start,
            errors=tuple(sorted({answer.error for answer in failed})),
            ended=good is not None,
            blind_s=sum(gap for gap in gaps if gap > STANDSTILL * self._interval_s),
        )

    def longest_outage_s(self, ip: str | None = None) -> float:
        """Return the length of the longest of `outages` as far as it was seen, 0 for none."""
        return max((o.duration_s - o.blind_s for o in self.outages(ip)), default=0.0)
