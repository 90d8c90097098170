"""Where the kernel refuses to promote secondaries, no primary is removed, and that is said once."""

import asyncio
import errno
from ipaddress import ip_interface
from typing import cast

from extip.addresses.secondaries import SecondariesGuard
from extip.clock import LoopClock
from extip.errors import NetlinkError
from extip.log import Logger
from extip.net.interfaces import Change, Link, Operation
from tests.fakes.link import FakeNode
from tests.fakes.recorder import RecordingLogger

REMOVAL, REFRESH = (
    Change(operation, 1, ip_interface("10.0.0.1/24"))
    for operation in (Operation.DELETE, Operation.REFRESH)
)


def test_what_the_kernel_refuses_is_said_once_until_it_is_mended() -> None:
    async def scenario() -> None:
        node = FakeNode(LoopClock())
        assert node.add_link("eth0").index == REMOVAL.link_index
        promote, logger = node.links.promote_secondaries, RecordingLogger()
        guard = SecondariesGuard(node.links, link="eth0")
        guard._log = cast("Logger", logger)

        async def refuse(link: Link) -> None:
            raise NetlinkError(errno.EPERM, "promote secondaries")

        for turn in (1, 2):
            node.links.promote_secondaries = refuse  # type: ignore[method-assign]
            for _ in range(10):
                assert await guard.protect([REMOVAL, REFRESH]) == [REFRESH]
            assert logger.events("warning") == ["secondaries_not_promoted"] * turn
            node.links.promote_secondaries = promote  # type: ignore[method-assign]
            assert await guard.protect([REMOVAL, REFRESH]) == [REMOVAL, REFRESH]
            for known in ([], [node.find("eth0")]):
                assert await guard.protect([REMOVAL], known=known) == [REMOVAL]
            node.change_link("eth0", promotes_secondaries=False)
        assert logger.events("info") == ["secondaries_promoted"] * 2

    asyncio.run(scenario())
