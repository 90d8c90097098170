"""What in a program's log nobody expects: errors, tracebacks, and whatever is no event at all."""

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet
from datetime import datetime
from typing import Any

_TELLING = {
    "node_liveness_changed",
    "leadership_acquired",
    "leadership_lost",
    "node_isolated",
    "link_isolated",
    "heartbeat_failed",
}
"""Events that tell much about any IP."""

_MOST = 20
"""Lines of a log that are shown."""


def surprises(lines: Iterable[str], *, expected: AbstractSet[str] = frozenset()) -> list[str]:
    """Return the lines that call for a person: level error, a traceback, or no JSON.

    A person is called for where one has done harm: those events are `expected`.
    """
    stripped = (line.strip() for line in lines)
    return [line for line in stripped if line and _surprises(line, expected)][:_MOST]


def _surprises(line: str, expected: AbstractSet[str]) -> bool:
    event = _event(line)
    if event is None:
        return True
    if event["event"] in expected:
        return False
    return event.get("level") in ("error", "critical") or "exception" in event


def warnings(lines: Iterable[str]) -> Counter[str]:
    """Count the warnings by their events."""
    events = (_event(line.strip()) for line in lines)
    return Counter(str(e["event"]) for e in events if e and e.get("level") == "warning")


def around(
    name: str, lines: Iterable[str], *, begin: datetime, end: datetime, ip: str
) -> list[str]:
    """Return what a program said of an IP, of nodes and of itself in a time, oldest first."""
    found = []
    for line in lines:
        event = _event(line)
        if event is None or not begin <= _moment(event) <= end:
            continue
        if f"{ip}/" in line or f'"{ip}"' in line or event["event"] in _TELLING:
            rest = {key: event[key] for key in event if key not in ("timestamp", "level", "event")}
            text = ", ".join(f"{key}={value}" for key, value in rest.items())
            found.append(f"{_moment(event):%H:%M:%S.%f} {name} {event['event']} {text}")
    return found


def _moment(event: Mapping[str, Any]) -> datetime:
    return datetime.fromisoformat(str(event["timestamp"]))


def _event(line: str) -> dict[str, Any] | None:
    try:
        event = json.loads(line)
    except ValueError:
        return None
    return event if isinstance(event, dict) and "event" in event else None
