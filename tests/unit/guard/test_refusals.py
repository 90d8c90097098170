"""A refusal is told once: in the log, as an Event on who asked, and as a metric."""

from dataclasses import dataclass, field
from typing import cast

import pytest
from structlog.testing import capture_logs

from extip.guard.policy.admission import Admission
from extip.guard.refusals import RefusalLedger
from extip.kube.events import EventRecorder, ObjectReference
from extip.metrics import Metrics
from extip.services.policy.refusal import Reason, Refusal
from extip.services.policy.requests import Owner, Rejection

WEB = Owner(kind="Service", namespace="shop", name="web", uid="w")
DB = Owner(kind="Service", namespace="shop", name="db", uid="d")
GATEWAY = Refusal(Reason.GATEWAY, "10.0.0.1 is a gateway")
NODE = Refusal(Reason.NODE, "10.0.0.1 is the address of a node")


@dataclass
class Recorder:
    """Stands in for `EventRecorder`."""

    recorded: list[tuple[str, str, str, str]] = field(default_factory=list)

    def record(self, about: ObjectReference, *, type: str, reason: str, message: str) -> None:  # noqa: A002
        self.recorded.append((about.name, type, reason, message))


class World:
    def __init__(self):
        self.events = Recorder()
        self.metrics = Metrics("simple")
        self.ledger = RefusalLedger(cast("EventRecorder", self.events), self.metrics)

    def record(self, *rejections):
        """Have a pass end with these; return the events of the log."""
        with capture_logs() as logs:
            self.ledger.record(Admission(wanted=frozenset(), rejected=frozenset(rejections)))
        return [(entry["event"], entry["service"]) for entry in logs]

    def count(self, reason):
        return self.metrics.registry.get_sample_value(
            "extip_addresses_refused", {"reason": reason.value}
        )


@pytest.fixture
def world():
    return World()


def test_a_refusal_is_a_line_an_event_and_a_metric(world):
    logged = world.record(Rejection("10.0.0.1", WEB, GATEWAY))
    assert logged == [("address_refused", "shop/web")]
    assert world.events.recorded == [("web", "Warning", Reason.GATEWAY.value, GATEWAY.message)]
    assert world.count(Reason.GATEWAY) == 1
    assert world.count(Reason.NODE) == 0


def test_it_is_told_once_however_many_passes_there_are(world):
    world.record(Rejection("10.0.0.1", WEB, GATEWAY))
    assert world.record(Rejection("10.0.0.1", WEB, GATEWAY)) == []
    assert len(world.events.recorded) == 1


def test_a_new_one_does_not_repeat_those_that_stand(world):
    world.record(Rejection("10.0.0.1", WEB, GATEWAY))
    both = Rejection("10.0.0.1", WEB, GATEWAY), Rejection("10.0.0.1", DB, GATEWAY)
    assert world.record(*both) == [("address_refused", "shop/db")]
    assert [name for name, *_ in world.events.recorded] == ["web", "db"]


def test_each_who_asks_is_told(world):
    world.record(Rejection("10.0.0.1", WEB, GATEWAY), Rejection("10.0.0.1", DB, GATEWAY))
    assert sorted(name for name, *_ in world.events.recorded) == ["db", "web"]
    assert world.count(Reason.GATEWAY) == 1, "IPs are counted, not who asks"


def test_another_reason_is_news(world):
    world.record(Rejection("10.0.0.1", WEB, GATEWAY))
    assert world.record(Rejection("10.0.0.1", WEB, NODE)) == [("address_refused", "shop/web")]
    assert [reason for *_, reason, _ in world.events.recorded] == [
        Reason.GATEWAY.value,
        Reason.NODE.value,
    ]
    assert (world.count(Reason.GATEWAY), world.count(Reason.NODE)) == (0, 1)


def test_its_end_is_told_and_when_it_comes_again_it_is_news(world):
    world.record(Rejection("10.0.0.1", WEB, GATEWAY))
    assert world.record() == [("address_refusal_ended", "shop/web")]
    assert world.count(Reason.GATEWAY) == 0
    world.record(Rejection("10.0.0.1", WEB, GATEWAY))
    assert len(world.events.recorded) == 2


def test_a_warning_about_an_ip_that_stays_up_is_no_refusal(world):
    doubt = Rejection("10.0.0.1", WEB, Refusal(Reason.LISTED, "a Node object lists 10.0.0.1"))
    with capture_logs() as logs:
        world.ledger.record(
            Admission(wanted=frozenset(), rejected=frozenset(), doubtful=frozenset({doubt}))
        )
    assert [entry["event"] for entry in logs] == ["address_kept_in_doubt"]
    assert [reason for *_, reason, _ in world.events.recorded] == [Reason.LISTED.value]
    assert world.metrics.registry.get_sample_value("extip_addresses_listed_by_nodes") == 1
