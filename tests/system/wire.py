"""What clients and neighbours saw of IPs while a test did something to them."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from tests.lab.cluster import Lab
from tests.lab.observe import Observer
from tests.lab.probe import Probe


@dataclass(frozen=True, slots=True, kw_only=True)
class Wire:
    """A probe and an observer of the same IPs; times are those of `time.monotonic`."""

    ips: tuple[str, ...]
    probe: Probe
    observer: Observer

    def outages_s(self) -> dict[str, float]:
        """Return the longest time in which each IP did not answer the client."""
        return {ip: self.probe.longest_outage_s(ip) for ip in self.ips}

    def double_s(self) -> float:
        """Return the longest time in which more than one node answered for the same IP."""
        return max(self.observer.double_ownership_s(ip) for ip in self.ips)

    def owners(self, ip: str, *, after_s: float = 0.0) -> set[str | None]:
        """Return the nodes that answered for an IP from a time on."""
        return {o.node for o in self.observer.owners(ip) if o.last_s >= after_s}

    def last_answer_s(self, ip: str, node: str) -> float:
        """Return when a node last answered for an IP."""
        return max(o.last_s for o in self.observer.owners(ip) if o.node == node)

    def wait_answers(self, *ips: str) -> None:
        """Wait until these IPs (default: all) answer what the client sends from now on."""
        now_s = time.monotonic()
        for ip in ips or self.ips:
            self.probe.wait_for_answer(ip=ip, sent_after_s=now_s)


@contextmanager
def watched(lab: Lab, ips: Sequence[str]) -> Iterator[Wire]:
    """Probe and observe IPs that answer already."""
    for ip in ips:
        lab.wait_for_http(ip)
    with lab.observe(ips) as observer, lab.probe(ips) as probe:
        wire = Wire(ips=tuple(ips), probe=probe, observer=observer)
        wire.wait_answers()
        yield wire
