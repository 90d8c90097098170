"""The report stands alone, and shows what failed."""

import re
import xml.etree.ElementTree as ET

from tests.soak import report
from tests.soak.policy.outcome import Bar, Outcome
from tests.soak.policy.resources import Usage
from tests.soak.policy.verdict import Judged
from tests.soak.policy.windows import Holding, Span

IP = "10.88.3.1"
GOOD = Judged(
    ip=IP, begin_s=110, end_s=113, what="no answer (timeout)", because="node-died n1", allowed_s=6
)
BAD = Judged(ip=IP, begin_s=150, end_s=152, what="no answer (timeout)", because="")


def outcome(*judged, failures=()):
    return Outcome(
        seed=7,
        chaos_s=60,
        began_s=100,
        ended_s=190,
        failures=failures,
        judged=judged,
        usages=(Usage(process="n5 12", lived_s=90, memory_mib=(50, 51), files=(20, 20)),),
        warnings={"watch_failed": 3},
        faults=(Bar(row="n1", what="node-died", begin_s=110, end_s=120),),
        changes=(Bar(row="steady-0", what="replaced", begin_s=120, end_s=121),),
        wanted={IP: [Span(begin_s=100, end_s=190)]},
        answered={IP: [Holding(node="n1", begin_s=100, end_s=110)]},
        stalls=(),
        told={one: ["12:00:00 n1 address_deleted"] for one in judged if not one.ok},
    )


def test_a_run_whose_outages_are_explained_is_good():
    good = outcome(GOOD)
    assert good.ok
    assert "every outage is explained" in report.html(good)
    assert "<td>20.0 s<td>1.0 s<td>replaced<td>steady-0" in report.html(good).replace("   ", "")
    assert "UNEXPLAINED" not in report.summary(good)
    assert f"closest to its bound: {IP}: no answer (timeout) for 3.0 s of 6.0 s" in report.summary(
        good
    )


def test_an_outage_without_a_fault_fails_and_is_shown_with_its_time():
    bad = outcome(GOOD, BAD)
    assert not bad.ok
    assert f"UNEXPLAINED     50.0 s  {IP}: no answer (timeout) for 2.0 s" in report.summary(bad)
    assert "FAILED" in report.html(bad)
    assert "n1 address_deleted" in report.html(bad)


def test_anything_else_that_is_wrong_fails_too():
    leaking = outcome(failures=("address <leaked>",))
    assert not leaking.ok
    assert "FAILED  address <leaked>" in report.summary(leaking)
    assert "address &lt;leaked&gt;" in report.html(leaking)


def test_the_page_needs_no_other_and_its_picture_is_sound():
    page = report.html(outcome(GOOD, BAD))
    assert not re.search(r"(src|href)=", page)
    picture = ET.fromstring(report.timeline(outcome(GOOD, BAD)))  # noqa: S314 - made just now
    tips = {title.text for title in picture.iter("{http://www.w3.org/2000/svg}title")}
    assert "node-died, at 10.0 s for 10.0 s" in tips
    assert "no answer (timeout): unexplained, at 50.0 s for 2.0 s" in tips
