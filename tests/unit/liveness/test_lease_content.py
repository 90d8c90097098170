"""What a Lease says is read without trust: people and other programs can write one."""

from datetime import UTC, datetime

import msgspec
import pytest

from extip.api.coordination_v1 import Lease, LeaseSpec
from extip.api.meta_v1 import FullObjectMeta
from extip.api.names import HEARTBEAT_ANNOTATION, LEASE_ANNOTATION, UNREAD_ANNOTATION
from extip.liveness.lease_content import (
    DEFAULT_HEARTBEAT_S,
    LeaseContent,
    beat_of,
    is_unread,
    leaving_reason,
    new_lease,
    renewed,
)


@pytest.mark.parametrize("text", [None, "", "x", "nan", "inf", "-1", "0", "2s"])
def test_a_heartbeat_that_makes_no_sense_is_the_default(text):
    annotations = None if text is None else {HEARTBEAT_ANNOTATION: text}
    lease = Lease(metadata=FullObjectMeta(annotations=annotations))
    assert beat_of(lease).heartbeat_s == DEFAULT_HEARTBEAT_S
    assert leaving_reason(lease) == ""


@pytest.mark.parametrize("text", ["", "x", "nan", "inf", "-1", "0"])
def test_a_lease_time_that_makes_no_sense_is_none(text):
    lease = Lease(metadata=FullObjectMeta(annotations={LEASE_ANNOTATION: text}))
    assert beat_of(lease).lease_s == 0


def test_terms_that_are_not_said_any_more_do_not_stay():
    def say(lease, **terms):
        return renewed(
            lease,
            node="n",
            identity="i",
            terms=LeaseContent(heartbeat_s=2.0, **terms),
            now=datetime(2026, 1, 1, tzinfo=UTC),
        )

    long = say(new_lease("n", "x"), lease_s=7.5, leaving="stopped", unread=True)
    assert is_unread(long)
    assert beat_of(long).lease_s == 7.5
    assert leaving_reason(long) == "stopped"
    assert long.spec.lease_duration_seconds == 8
    short = say(long)
    assert not is_unread(short)
    assert beat_of(short).lease_s == 0
    assert leaving_reason(short) == ""
    assert short.spec.lease_duration_seconds == 4


def test_a_renewal_has_no_owners_of_fields_booked():
    """Heartbeats are most of what a cluster at rest writes, and nobody applies to them."""
    lease = renewed(
        new_lease("n", "x"),
        node="n",
        identity="i",
        terms=LeaseContent(heartbeat_s=2.0),
        now=datetime(2026, 1, 1, tzinfo=UTC),
    )
    assert msgspec.to_builtins(lease)["metadata"]["managedFields"] == ({},)


def test_any_change_of_holder_or_time_is_a_sign_of_life_and_no_holder_is_none():
    def token(holder, time):
        return beat_of(Lease(spec=LeaseSpec(holder_identity=holder, renew_time=time))).token

    assert len({token("a", "1"), token("a", "2"), token("b", "1"), token("a", None)}) == 4
    assert token("", "1") == token(None, None) == ""


def test_that_claims_are_not_read_counts_only_with_the_last_heartbeat():
    """A controller that does not know of the annotation keeps it."""
    lease = Lease(
        metadata=FullObjectMeta(annotations={UNREAD_ANNOTATION: "then"}),
        spec=LeaseSpec(renew_time="now"),
    )
    assert not is_unread(lease)
    assert not is_unread(Lease(metadata=FullObjectMeta(annotations={UNREAD_ANNOTATION: ""})))
