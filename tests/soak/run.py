"""One soak from begin to end: furnish, chaos, rest, end; returns what is to be reported."""

import tarfile
import time
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

from tests.lab.api import GROUP
from tests.lab.api_proxy import ApiProxy
from tests.lab.cluster import Lab
from tests.lab.errors import LabError
from tests.lab.extip import MARK
from tests.lab.observe import Observer
from tests.lab.probe import Probe
from tests.lab.wait import wait_until
from tests.soak import history
from tests.soak.chaos import Chaos
from tests.soak.cluster import POOL, SERVICES, SoakCluster
from tests.soak.policy import bounds, logs, plan
from tests.soak.policy.outcome import Bar, Outcome
from tests.soak.policy.resources import usage
from tests.soak.policy.state import by_ip, unsettled
from tests.soak.policy.verdict import History, Judged, judge_doubled, judge_outage
from tests.soak.policy.windows import Holding, doubled, holdings, outages
from tests.soak.sampler import Sampler

PROBE_S = 0.25
PROBE_TIMEOUT_S = 0.5
OBSERVE_S = 0.1
_STANDSTILL_S = 5 * PROBE_S
_REST_S = 90.0
"""After the last fault everything has to be as it should within this time."""

_QUIET_S = 5.0
"""Time at the end in which every IP has to answer."""

Say = Callable[[str], None]


class Soak:
    """A run with a seed; `run` once. The logs of one that fails go to an archive."""

    def __init__(self, *, seed: int, chaos_s: float, say: Say, logs_to: Path) -> None:
        self._seed, self._chaos_s, self._say = seed, chaos_s, say
        self._logs_to = logs_to
        self._failures: list[str] = []

    def run(self) -> Outcome:
        """Start a lab, let things happen in it, take it down."""
        planned = plan.faults(self._seed, self._chaos_s)
        with Lab(nodes=len(plan.NODES)) as lab:
            lab.install_definitions()
            with ApiProxy(lab) as proxy:
                cluster = SoakCluster(lab, proxy)
                cluster.furnish()
                cluster.start_all()
                cluster.wait_answers(plan.LASTING)
                self._say(f"{len(plan.LASTING)} IPs answer; {len(planned)} faults to come")
                changes = plan.changes(self._seed, self._chaos_s)
                chaos = Chaos(cluster, planned, changes)
                with (
                    lab.observe(plan.ALL_IPS, interval_s=OBSERVE_S) as observer,
                    lab.probe(plan.ALL_IPS, interval_s=PROBE_S, timeout_s=PROBE_TIMEOUT_S) as probe,
                    Sampler(cluster) as sampler,
                ):
                    began_s = time.monotonic()
                    chaos.start()
                    chaos.join()
                    self._say("chaos is over; the cluster has to come to rest")
                    self._come_to_rest(cluster)
                    time.sleep(_QUIET_S)
                self._end(cluster)
            self._failures += [f"left behind: {what}" for what in lab.leftovers()]
            outcome = self._judge(began_s, cluster, chaos, (observer, probe, sampler))
            if not outcome.ok:
                with tarfile.open(self._logs_to, "w:gz") as archive:
                    archive.add(lab.anchor.directory / "logs", f"logs-{self._seed}")
                self._say(f"logs: {self._logs_to}")
            return outcome

    def _come_to_rest(self, cluster: SoakCluster) -> None:
        try:
            wait_until(lambda: not unsettled(cluster.state()), "rest", timeout=_REST_S, poll_s=0.5)
        except LabError:
            self._failures += unsettled(cluster.state())
            return
        try:
            cluster.wait_answers(tuple(by_ip(cluster.services())))
            wait_until(cluster.says_that_all_is_well, "`extip status` to find all IPs up")
            wait_until(cluster.is_left_alone, "writes to end", timeout=_REST_S)
            self._failures += unsettled(cluster.state())
        except LabError as error:
            self._failures.append(f"at rest: {error}")

    def _end(self, cluster: SoakCluster) -> None:
        """Delete all that people made, then stop the programs in order."""
        self._failures += cluster.ended_alone()
        cluster.lab.api.discard(f"{GROUP}/ipclaimpools/{POOL}")
        for item in cluster.lab.api.get(SERVICES)["items"]:
            cluster.lab.api.discard(f"{SERVICES}/{item['metadata']['name']}")
        self._expect(lambda: not cluster.placed(), "claims to go with their services")
        self._expect(lambda: not cluster.up(), "addresses to go with their claims")
        for name, one in cluster.running.items():
            try:
                status = one.process.terminate()
            except LabError as error:
                self._failures.append(str(error))
            else:
                if status != 0:
                    self._failures.append(f"{name} ended in order with status {status}")
        if not cluster.take_alien():
            self._failures.append(
                f"address {plan.ALIEN} of {plan.HOME} is another's, and was touched"
            )
        for name, node in cluster.lab.nodes.items():
            left = [a.ip for a in node.addresses("eth0") if a.proto == MARK]
            self._failures += [f"address {ip} leaked on {name}" for ip in left]

    def _expect(self, condition: Callable[[], bool], what: str) -> None:
        try:
            wait_until(condition, what, timeout=_REST_S, poll_s=0.2)
        except LabError as error:
            self._failures.append(str(error))

    def _judge(
        self,
        began_s: float,
        cluster: SoakCluster,
        chaos: Chaos,
        seen: tuple[Observer, Probe, Sampler],
    ) -> Outcome:
        observer, probe, sampler = seen
        answered = {ip: holdings(observer.owners(ip)) for ip in plan.ALL_IPS}
        placed, wanted = sampler.placed(), sampler.wanted()
        happened = History(
            causes=history.causes(chaos.faults, chaos.changed, wanted),
            blocks=history.blocks(chaos.faults),
            stalls=sampler.stalls,
            answered=answered,
            held={ip: [*answered[ip], *placed.get(ip, [])] for ip in plan.ALL_IPS},
        )
        judged = self._outages(probe, sampler, happened)
        judged += self._doubles(answered, happened, chaos)
        takes = [usage(name, samples) for name, samples in sorted(sampler.samples.items())]
        usages = [one for one in takes if one is not None]
        self._failures += [f"{one.process} {leak}" for one in usages for leak in one.leaks]
        self._failures += sorted(sampler.given_twice)
        self._failures += [f"the harness itself: {trouble}" for trouble in chaos.troubles]
        warnings = self._read_logs(cluster, chaos)
        return Outcome(
            seed=self._seed,
            chaos_s=self._chaos_s,
            began_s=began_s,
            ended_s=time.monotonic(),
            failures=tuple(self._failures),
            judged=tuple(sorted(judged, key=lambda one: one.begin_s)),
            usages=tuple(usages),
            warnings=warnings,
            faults=tuple(
                Bar(
                    row=fault.planned.target,
                    what=fault.planned.kind.name,
                    begin_s=fault.begin_s,
                    end_s=fault.end_s,
                )
                for fault in chaos.faults
            ),
            changes=tuple(
                Bar(row=change.subject, what=change.what, begin_s=begin_s, end_s=end_s)
                for begin_s, end_s, change in chaos.changed
            ),
            wanted=wanted,
            answered=answered,
            stalls=tuple(sampler.stalls),
            told={one: _told(cluster, one) for one in judged if not one.ok},
        )

    def _read_logs(self, cluster: SoakCluster, chaos: Chaos) -> Counter[str]:
        """Count the warnings in all logs; what nobody expects there is a failure."""
        expected = frozenset[str]().union(*(f.planned.kind.errors for f in chaos.faults))
        warnings: Counter[str] = Counter()
        for name, one in cluster.started:
            lines = one.process.lines().splitlines()
            warnings += logs.warnings(lines)
            found = logs.surprises(lines, expected=expected)
            self._failures += [f"log of {name}: {line}" for line in found]
        return warnings

    def _outages(self, probe: Probe, sampler: Sampler, happened: History) -> list[Judged]:
        wanted = sampler.wanted()
        found = [
            outage
            for ip in plan.ALL_IPS
            for outage in outages(
                ip, probe.answers_of(ip), wanted.get(ip, ()), standstill_s=_STANDSTILL_S
            )
            if outage.end_s - outage.begin_s - outage.blind_s > bounds.NOTICED_S
        ]
        return [judge_outage(outage, happened) for outage in found]

    def _doubles(
        self, answered: dict[str, list[Holding]], happened: History, chaos: Chaos
    ) -> list[Judged]:
        judge = partial(judge_doubled, strangers=history.strangers(chaos.faults))
        return [
            judge(one, happened)
            for ip in plan.ALL_IPS
            for one in doubled(ip, answered[ip])
            if one.end_s - one.begin_s > bounds.NOTICED_S
        ]


def _told(cluster: SoakCluster, judged: Judged) -> list[str]:
    """Return what all programs logged around an outage."""
    begin, end = (_wall(moment_s) for moment_s in (judged.begin_s - 5, judged.end_s + 2))
    found = [
        line
        for name, one in cluster.started
        for line in logs.around(
            name, one.process.lines().splitlines(), begin=begin, end=end, ip=judged.ip
        )
    ]
    return sorted(found)


def _wall(moment_s: float) -> datetime:
    """Return the time of day of a moment of `time.monotonic`."""
    return datetime.now(UTC) + timedelta(seconds=moment_s - time.monotonic())
