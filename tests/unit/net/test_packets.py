"""Where the kernel has no sockets, it is said once, and goes on."""

import errno
import socket
from typing import cast

import pytest

from extip.log import Logger
from extip.net.packets import FrameSockets
from tests.fakes.interfaces import ethernet
from tests.fakes.recorder import RecordingLogger

LINK = ethernet(index=1, name="lo", mac=bytes(6))


class Unbound(socket.socket):
    """Its interface is gone."""

    def bind(self, address: object) -> None:
        raise OSError(errno.ENODEV, "no such device")


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENOMEM, errno.EAFNOSUPPORT])
def test_no_socket_is_no_reason_to_end_and_is_said_once_until_there_are_some_again(
    number: int,
) -> None:
    short = True

    def open_packets() -> socket.socket:
        if short:
            raise OSError(number, "not now")
        return Unbound(socket.AF_UNIX, socket.SOCK_DGRAM)

    logger = RecordingLogger()
    sockets = FrameSockets("test", open_packets)
    sockets._log = cast("Logger", logger)
    for _ in range(10):
        assert sockets.open(LINK) is None
    assert logger.events() == ["socket_not_opened"]
    short = False
    assert sockets.open(LINK) is None
    short = True
    for _ in range(10):
        assert sockets.open(LINK) is None
    assert logger.events() == ["socket_not_opened"] * 2
