"""A node that cannot read its claims says so once, and again when it can."""

import asyncio
from typing import cast

from extip.clock import LoopClock
from extip.fencing.unread_claims import UnreadClaims
from extip.log import Logger
from tests.fakes.recorder import RecordingLogger
from tests.fakes.tasks import beside
from tests.fakes.virtual_time import virtually


@virtually
async def test_each_change_of_the_reason_is_logged_and_sent_at_once():
    said, logger, sent = [""], RecordingLogger(), []
    watch = UnreadClaims(
        lambda: said[-1], on_change=lambda: sent.append(said[-1]), clock=LoopClock()
    )
    watch._log = cast("Logger", logger)
    async with beside(watch.run()):
        await asyncio.sleep(10)
        assert sent == []
        for reason in ("forbidden", "no answer", ""):
            said.append(reason)
            await asyncio.sleep(10)
        assert sent == ["forbidden", "no answer", ""]
        assert logger.events() == ["claims_unread", "claims_unread", "claims_read_again"]
