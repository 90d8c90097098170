"""Watches ARP and NDP on the wire, and asks every few milliseconds who has some addresses.

Lines on stdout, times of CLOCK_MONOTONIC in seconds: ``q TIME`` for each round of questions,
``a TIME IP MAC`` for an answer, ``g TIME IP MAC KIND`` for an announcement (KIND: ``request`` or
``reply`` for a gratuitous ARP, ``advertisement`` for an unsolicited neighbour advertisement), ``r``
when it is ready. Ends on SIGTERM. Standard library only.
"""

import json
import os
import select
import signal
import socket
import struct
import sys
import time
from pathlib import Path
from typing import Any

ETH_P_ARP, ETH_P_IPV6 = 0x0806, 0x86DD
SO_RCVBUFFORCE, SO_TIMESTAMPNS = 33, 35
RECEIVE_BUFFER = 32 << 20
BROADCAST = b"\xff" * 6
ARP_IPV4 = bytes.fromhex("000108000604")
ALL_NODES = socket.inet_pton(socket.AF_INET6, "ff02::1")
SOLICITATION, ADVERTISEMENT = 135, 136
SOLICITED = 0x40
READ_AT_ONCE_S = 0.001


def mac_text(mac: bytes) -> str:
    return mac.hex(":")


def checksum(data: bytes) -> int:
    """Compute the Internet checksum (RFC 1071)."""
    data += b"\0" * (len(data) % 2)
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def arp_question(mac: bytes, ip: bytes, target: bytes) -> bytes:
    ethernet = BROADCAST + mac + struct.pack("!H", ETH_P_ARP)
    return ethernet + ARP_IPV4 + struct.pack("!H", 1) + mac + ip + b"\0" * 6 + target


def ndp_question(mac: bytes, ip: bytes, target: bytes) -> bytes:
    """Build a neighbour solicitation to the target's solicited-node group (RFC 4861, 4291)."""
    group = socket.inet_pton(socket.AF_INET6, "ff02::1:ff00:0")[:13] + target[13:]
    body = b"\0" * 4 + target + b"\x01\x01" + mac
    icmp = struct.pack("!BBH", SOLICITATION, 0, 0) + body
    pseudo = ip + group + struct.pack("!I3xB", len(icmp), 58)
    icmp = struct.pack("!BBH", SOLICITATION, 0, checksum(pseudo + icmp)) + body
    header = struct.pack("!IHBB", 6 << 28, len(icmp), 58, 255) + ip + group
    ethernet = b"\x33\x33" + group[12:] + mac + struct.pack("!H", ETH_P_IPV6)
    return ethernet + header + icmp


def monotonic_ahead() -> float:
    """Return how far CLOCK_MONOTONIC is ahead of CLOCK_REALTIME, read without a pause between."""
    while True:
        before, wall, after = time.monotonic(), time.time(), time.monotonic()
        if after - before < READ_AT_ONCE_S:
            return before - wall


class Observer:
    """The loop: one thread, two packet sockets."""

    def __init__(self, settings: dict[str, Any]) -> None:
        self._mac = bytes.fromhex(settings["mac"].replace(":", ""))
        own4 = socket.inet_pton(socket.AF_INET, settings["ip"])
        own6 = socket.inet_pton(socket.AF_INET6, settings["ip6"])
        self._names: dict[bytes, str] = {}
        self._questions: list[bytes] = []
        for ip in settings["ips"]:
            if ":" in ip:
                target = socket.inet_pton(socket.AF_INET6, ip)
                self._questions.append(ndp_question(self._mac, own6, target))
            else:
                target = socket.inet_pton(socket.AF_INET, ip)
                self._questions.append(arp_question(self._mac, own4, target))
            self._names[target] = ip
        self._interval: float = settings["interval_s"]
        self._sockets = [self._open(protocol) for protocol in (ETH_P_ARP, ETH_P_IPV6)]
        self._lines: list[str] = ["r"]
        self._stopping = False

    @staticmethod
    def _open(protocol: int) -> socket.socket:
        packet = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(protocol))
        try:
            packet.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, RECEIVE_BUFFER)
        except PermissionError:  # in a user namespace
            packet.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)
        packet.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
        packet.bind(("eth0", protocol))
        packet.settimeout(0)
        return packet

    def stop(self, *_: object) -> None:
        self._stopping = True

    def run(self) -> None:
        due = time.monotonic()
        while not self._stopping:
            now = time.monotonic()
            if self._interval and now >= due:
                self._ask(now)
                due += (1 + int((now - due) / self._interval)) * self._interval
            if self._lines:
                os.write(1, ("\n".join(self._lines) + "\n").encode())
                self._lines.clear()
            wait = max(0.0, due - time.monotonic()) if self._interval else 0.5
            for packet in select.select(self._sockets, [], [], wait)[0]:
                self._drain(packet)

    def _ask(self, now: float) -> None:
        for question in self._questions:
            self._sockets[0].send(question)
        self._lines.append(f"q {now:.6f}")

    def _drain(self, packet: socket.socket) -> None:
        shift = monotonic_ahead()
        while True:
            try:
                frame, ancillary, _, address = packet.recvmsg(2048, 64)
            except BlockingIOError:
                return
            if address[2] == socket.PACKET_OUTGOING:
                continue
            seconds, nanoseconds = struct.unpack("qq", ancillary[0][2][:16])
            moment = seconds + nanoseconds / 1e9 + shift
            if frame[12:14] == b"\x08\x06":
                self._on_arp(frame, moment)
            elif frame[12:14] == b"\x86\xdd":
                self._on_ipv6(frame, moment)

    def _on_arp(self, frame: bytes, moment: float) -> None:
        if len(frame) < 42 or frame[14:20] != ARP_IPV4:
            return
        operation = int.from_bytes(frame[20:22], "big")
        sender_mac, sender, target = frame[22:28], frame[28:32], frame[38:42]
        name = self._names.get(sender)
        if name is None:
            return
        if sender == target:
            kind = "request" if operation == 1 else "reply"
            self._lines.append(f"g {moment:.6f} {name} {mac_text(sender_mac)} {kind}")
        elif operation == 2 and frame[:6] == self._mac:
            self._lines.append(f"a {moment:.6f} {name} {mac_text(sender_mac)}")

    def _on_ipv6(self, frame: bytes, moment: float) -> None:
        if len(frame) < 78 or frame[20] != 58 or frame[54] != ADVERTISEMENT:
            return
        name = self._names.get(frame[62:78])
        if name is None:
            return
        mac = frame[6:12]
        if frame[78:80] == b"\x02\x01":  # the target's link-layer address, when it is given
            mac = frame[80:86]
        if frame[38:54] == ALL_NODES and not frame[58] & SOLICITED:
            self._lines.append(f"g {moment:.6f} {name} {mac_text(mac)} advertisement")
        elif frame[:6] == self._mac:
            self._lines.append(f"a {moment:.6f} {name} {mac_text(mac)}")


def main() -> None:
    observer = Observer(json.loads(Path(sys.argv[1]).read_text()))
    signal.signal(signal.SIGTERM, observer.stop)
    observer.run()


main()
