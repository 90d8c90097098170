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


class Standby:
    """n2 has taken the claim of n1, whose fail-over is over; its own watch does not have it yet."""

    def __init__(self):
        self.settled = True
        records = {"n1": record({"c": 5})}
        self.to_take = {"c": claim(5)}
        self.failed_over = FailedOver(
            "n2",
            records,
            {},
            self.to_take,
            settled=lambda: self.settled,
            look=Mock(),
            read_anew=Mock(),
        )
        self.failed_over.on_record("n1")
        records["n1"] = record()
        self.failed_over.on_record("n1")

    def has_it(self):
        return self.failed_over.taken("c") is not None


def test_a_claim_that_does_not_come_is_let_go_of_soon():
    async def scenario():
        world = Standby()
        await asyncio.sleep(4)
        assert world.has_it()
        await asyncio.sleep(2)
        assert not world.has_it()

    run_virtually(scenario())


def test_a_claim_that_names_this_node_is_kept_however_late_its_own_watch_is():
    """The watch of claims to take shows it: that is another connection."""

    async def scenario():
        world = Standby()
        spec = msgspec.structs.replace(claim(6).spec, node_name="n2")
        world.to_take["c"] = msgspec.structs.replace(claim(6), spec=spec)
        await asyncio.sleep(60)
        assert world.has_it()
        del world.to_take["c"]
        assert not world.has_it()

    run_virtually(scenario())


def test_nothing_is_let_go_of_while_the_api_server_is_away():
    """Then no watch tells of anything, and nobody else takes the IP."""

    async def scenario():
        world = Standby()
        world.settled = False
        await asyncio.sleep(60)
        assert world.has_it()
        world.settled = True
        await asyncio.sleep(6)
        assert not world.has_it()

    run_virtually(scenario())
