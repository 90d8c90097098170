"""Logs hold events; all that is none, and all that calls for a person, is a surprise."""

import json
from datetime import datetime

import pytest

from tests.soak.policy.logs import around, surprises, warnings


def line(event, level="info", **more):
    return json.dumps({"event": event, "level": level, **more})


def test_events_are_no_surprise():
    assert surprises([line("address_added"), line("watch_failed", "warning"), ""]) == []


@pytest.mark.parametrize(
    "told",
    [
        line("definition_missing", "error"),
        line("component_failed", "warning", exception=[{"exc_type": "KeyError"}]),
        "Traceback (most recent call last):",
        "Task was destroyed but it is pending!",
        '"a string"',
    ],
)
def test_errors_tracebacks_and_bare_text_are(told):
    assert surprises([line("address_added"), told]) == [told]


def test_an_error_that_a_fault_calls_for_is_not():
    told = line("definition_missing", "error")
    assert surprises([told], expected={"definition_missing"}) == []
    assert surprises([told], expected={"another"}) == [told]


def test_warnings_are_counted():
    lines = [line("watch_failed", "warning"), line("watch_failed", "warning"), line("x"), "text"]
    assert warnings(lines) == {"watch_failed": 2}


def test_what_was_said_around_an_outage():
    lines = [
        line("address_added", address="10.88.3.1/32", timestamp="2026-01-01T12:00:10.5Z"),
        line("address_added", address="10.88.3.11/32", timestamp="2026-01-01T12:00:10Z"),
        line("leadership_lost", "warning", timestamp="2026-01-01T12:00:11Z"),
        line("address_deleted", address="10.88.3.1/32", timestamp="2026-01-01T12:00:30Z"),
        "no event",
    ]
    begin, end = (datetime.fromisoformat(f"2026-01-01T12:00:{s}Z") for s in ("09", "20"))
    assert around("n1", lines, begin=begin, end=end, ip="10.88.3.1") == [
        "12:00:10.500000 n1 address_added address=10.88.3.1/32",
        "12:00:11.000000 n1 leadership_lost ",
    ]
