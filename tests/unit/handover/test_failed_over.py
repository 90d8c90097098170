"""Claims that others took: a node believes its own watch again, also after a reading."""

import asyncio
from unittest.mock import Mock

import msgspec

from extip.api.ipcontroller_v1 import IpNode
from extip.handover.failed_over import FailedOver
from tests.fakes.virtual_time import run_virtually


def record(claims=None):
    """Return the IpNode of n1, which names these claims."""
    return msgspec.convert(
        {"metadata": {"name": "n1"}, "status": {"failedOver": claims}}, type=IpNode
    )


def test_what_a_reading_alone_told_is_forgotten_when_the_watch_shows_the_end():
    """The watch was away while the IpNode named claims, and shows none of that."""

    async def scenario():
        records: dict[str, IpNode] = {}
        failed_over = FailedOver(
            "n1", records, {}, {}, settled=lambda: True, look=Mock(), read_anew=Mock()
        )
        failed_over.note_own(record({"c": 5}))
        assert failed_over.is_lost("c")
        records["n1"] = record()
        failed_over.on_record("n1")
        assert failed_over.is_lost("c"), "the watch of claims may be later"
        await asyncio.sleep(6)
        assert not failed_over.is_lost("c")

    run_virtually(scenario())
