"""A lease is taken only after a silence that was seen here; times in the record mean nothing."""

from datetime import UTC, datetime

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from extip.api.coordination_v1 import Lease, LeaseSpec
from extip.api.meta_v1 import FullObjectMeta
from extip.election.policy import Step, held_by, next_step, observe, released

NOW = datetime(2026, 11, 22, 12, 0, 0, 5, tzinfo=UTC)


def lease(holder="other", version="1", **spec):
    return Lease(
        metadata=FullObjectMeta(name="l", resource_version=version, labels={"a": "b"}),
        spec=LeaseSpec(
            holder_identity=holder,
            **{"lease_duration_seconds": 15, "renew_time": "long ago", **spec},
        ),
    )


def test_a_new_candidate_waits_a_whole_duration_however_old_the_record_looks():
    seen = observe(None, lease(renew_time="1970-01-01T00:00:00.000000Z"), 100.0)
    assert next_step(seen, "me", 115.0) is Step.WAIT
    assert next_step(seen, "me", 115.01) is Step.TAKE


def test_the_duration_is_the_one_that_the_record_names():
    seen = observe(None, lease(lease_duration_seconds=60), 0.0)
    assert next_step(seen, "me", 59.0) is Step.WAIT


@given(st.lists(st.tuples(st.floats(0, 20), st.integers(0, 2)), min_size=1))
def test_silence_counts_from_the_last_change_that_was_seen(reads):
    seen, now, changed_at, last = None, 0.0, 0.0, None
    for number, (wait_s, content) in enumerate(reads):
        now += wait_s
        if content != last:
            changed_at, last = now, content
        seen = observe(seen, lease(version=str(number), renew_time=str(content)), now)
        assert seen.expires_at == changed_at + 15
        assert seen.lease.metadata.resource_version == str(number)


def test_nobodys_lease_is_free_and_ones_own_is_renewed():
    assert next_step(observe(None, lease(holder=""), 0.0), "me", 0.0) is Step.TAKE
    assert next_step(observe(None, lease(holder=None), 0.0), "me", 0.0) is Step.TAKE
    assert next_step(observe(None, lease(holder="me"), 0.0), "me", 99.0) is Step.RENEW


def test_taking_counts_a_transition_and_renewing_does_not():
    taken = held_by(lease(lease_transitions=4), "me", 14.2, now=NOW)
    assert taken.spec == LeaseSpec(
        holder_identity="me",
        lease_duration_seconds=15,
        acquire_time="2026-11-22T12:00:00.000005Z",
        renew_time="2026-11-22T12:00:00.000005Z",
        lease_transitions=5,
    )
    assert taken.metadata == lease().metadata
    renewed = held_by(taken, "me", 15, now=NOW.replace(second=9))
    assert renewed.spec.lease_transitions == 5
    assert renewed.spec.acquire_time == taken.spec.acquire_time
    assert renewed.spec.renew_time == "2026-11-22T12:00:09.000005Z"


def test_a_lease_given_back_is_free_at_once_and_keeps_its_history():
    back = released(held_by(lease(), "me", 15, now=NOW), now=NOW)
    assert next_step(observe(None, back, 0.0), "next", 0.0) is Step.TAKE
    assert back.spec.lease_transitions == 1
    assert msgspec.json.decode(msgspec.json.encode(back), type=Lease) == back
