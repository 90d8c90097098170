"""Claims that others took: a node believes its own watch again, also after a reading."""

import asyncio
from unittest.mock import Mock

import msgspec

from extip.api.ipcontroller_v1 import IpClaim, IpNode
from extip.api.names import MANAGED_BY, MANAGED_BY_LABEL
from extip.handover.failed_over import FailedOver
from tests.fakes.virtual_time import run_virtually


def record(claims=None):
    """Return the IpNode of n1, which names these claims."""
    return msgspec.convert(
        {"metadata": {"name": "n1"}, "status": {"failedOver": claims}}, type=IpNode
    )


def claim(generation, uid="first"):
    """Return a claim of n1 whose standby is n2."""
    labels = {MANAGED_BY_LABEL: MANAGED_BY}
    metadata = {"name": "c", "uid": uid, "generation": generation, "labels": labels}
    spec = {"cidr": "10.0.0.1/32", "nodeName": "n1", "standby": "n2"}
    return msgspec.convert({"metadata": metadata, "spec": spec}, type=IpClaim)


def lost(own):
    """Return what n1 knows when its IpNode names its claim, which is one of `own`."""
    failed_over = FailedOver("n1", {}, own, {}, settled=lambda: True, look=Mock(), read_anew=Mock())
    failed_over.note_own(record({"c": 5}))
    return failed_over


def test_a_claim_that_a_fail_over_took_is_lost_until_it_changes():
    own = {"c": claim(5)}
    failed_over = lost(own)
    assert failed_over.is_lost("c")
    assert not failed_over.is_ours(own["c"])
    own["c"] = claim(6)
    assert not failed_over.is_lost("c")
    assert failed_over.is_ours(own["c"])
    del own["c"]
    assert not failed_over.is_lost("c"), "it left in order, and is kept for the next holder"


def test_a_later_claim_of_that_name_is_not_lost():
    own = {"c": claim(5)}
    failed_over = lost(own)
    failed_over.note_own(record({"c": 5}))
    own["c"] = claim(5, uid="second")
    failed_over.note_own(record({"c": 5}))
    assert failed_over.is_ours(own["c"])


def test_a_claim_of_which_the_watch_tells_late_is_lost():
    own: dict[str, IpClaim] = {}
    failed_over = lost(own)
    own["c"] = claim(5)
    assert failed_over.is_lost("c")
    assert not failed_over.is_ours(own["c"])


def test_what_a_reading_alone_told_is_forgotten_when_the_watch_shows_the_end():
    """The watch was away while the IpNode named claims, and shows none of that."""

    async def scenario():
        records: dict[str, IpNode] = {}
        own = {"c": claim(5)}
        failed_over = FailedOver(
            "n1", records, own, {}, settled=lambda: True, look=Mock(), read_anew=Mock()
        )
        failed_over.note_own(record({"c": 5}))
        assert failed_over.is_lost("c")
        records["n1"] = record()
        failed_over.on_record("n1")
        assert failed_over.is_lost("c"), "the watch of claims may be later"
        own.clear()
        await asyncio.sleep(6)
        own["c"] = claim(5)
        assert not failed_over.is_lost("c")

    run_virtually(scenario())
