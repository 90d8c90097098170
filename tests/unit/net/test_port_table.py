"""Without a thread for it, nftables cannot be reached: that is a failure as any other."""

import asyncio
import errno

import pytest

from extip.errors import NetlinkError
from extip.net.port_table import PortTable


@pytest.mark.parametrize("what", ["remove", "remove_leftover"])
def test_at_the_limit_of_processes_it_fails_as_netlink_does(monkeypatch, what):
    async def no_thread(*_args):
        raise BlockingIOError(errno.EAGAIN, "can't start new thread")

    monkeypatch.setattr(asyncio, "to_thread", no_thread)
    with pytest.raises(NetlinkError) as caught:
        asyncio.run(getattr(PortTable(), what)())
    assert caught.value.errno == errno.EAGAIN
