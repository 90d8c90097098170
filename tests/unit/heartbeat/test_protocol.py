"""What a Lease says is read without trust: people and other programs can write one."""

import pytest

from extip.api.coordination_v1 import Lease, LeaseSpec
from extip.api.meta_v1 import FullObjectMeta
from extip.api.names import HEARTBEAT_ANNOTATION
from extip.heartbeat.protocol import DEFAULT_HEARTBEAT_S, beat_of, leaving_reason


@pytest.mark.parametrize("text", [None, "", "x", "nan", "inf", "-1", "0", "2s"])
def test_a_heartbeat_that_makes_no_sense_is_the_default(text):
    annotations = None if text is None else {HEARTBEAT_ANNOTATION: text}
    lease = Lease(metadata=FullObjectMeta(annotations=annotations))
    assert beat_of(lease).heartbeat_s == DEFAULT_HEARTBEAT_S
    assert leaving_reason(lease) == ""


def test_any_change_of_holder_or_time_is_a_sign_of_life_and_no_holder_is_none():
    def token(holder, time):
        return beat_of(Lease(spec=LeaseSpec(holder_identity=holder, renew_time=time))).token

    assert len({token("a", "1"), token("a", "2"), token("b", "1"), token("a", None)}) == 4
    assert token("", "1") == token(None, None) == ""
