"""Classic BPF: programs that the kernel runs before it queues anything for a socket.

A load beyond the end of the packet ends a program as `DROP` does.
"""

import socket
import struct
from array import array
from collections.abc import Sequence

LOAD_WORD, LOAD_HALF, LOAD_BYTE = 0x20, 0x28, 0x30
JUMP, JUMP_EQUAL, JUMP_GREATER, JUMP_NOT_LESS = 0x05, 0x15, 0x25, 0x35
RETURN = 0x06
ACCEPT, DROP = 0xFFFFFFFF, 0

PACKET_TYPE_AT = 0xFFFFF004
"""Where the kernel shows the packet type of ``sockaddr_ll`` (SKF_AD_OFF + SKF_AD_PKTTYPE)."""

Instruction = tuple[int, int, int, int]
"""Code, instructions to skip when true and when false (at most 255), operand."""

_SO_ATTACH_FILTER = 26
_INSTRUCTION = struct.Struct("=HBBI")  # struct sock_filter
_PROGRAM = struct.Struct("@HP")  # struct sock_fprog


def pack(instructions: Sequence[Instruction]) -> bytes:
    """Return a program as the kernel takes it."""
    return b"".join(_INSTRUCTION.pack(*instruction) for instruction in instructions)


def attach(opened: socket.socket, program: bytes) -> None:
    """Put a program on a socket, in the place of the one that is there.

    What is queued already stays. Raises OSError when the kernel does not take it.
    """
    kept = array("B", program)  # until it is copied
    address, _ = kept.buffer_info()
    count = len(program) // _INSTRUCTION.size
    opened.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, _PROGRAM.pack(count, address))
