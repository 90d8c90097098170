"""Messages about routes and next hop objects: which gateways they name."""

import struct
from collections.abc import Callable
from ipaddress import ip_address
from socket import AF_INET, AF_INET6

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extip.net import iproute, nlmsg
from extip.net.interfaces import IPAddress

DESTINATION, OUT, GATEWAY, METRICS, MULTIPATH, VIA, NH_ID = 1, 4, 5, 8, 9, 18, 30


def attribute(kind: int, text: str) -> bytes:
    return nlmsg.attribute(kind, ip_address(text).packed)


def via(text: str) -> bytes:
    return nlmsg.attribute(VIA, struct.pack("=H", AF_INET6) + ip_address(text).packed)


def hops(*each: bytes) -> bytes:
    written = (struct.pack("=HBBi", 8 + len(inner), 0, 0, 3) + inner for inner in each)
    return nlmsg.attribute(MULTIPATH, b"".join(written))


def route(*attributes: bytes, kind: int = 1, family: int = AF_INET, bits: int = 24) -> bytes:
    body = struct.pack("=BBBBBBBBI", family, bits, 0, 0, 254, 3, 0, kind, 0)
    body += attribute(DESTINATION, "10.50.0.0") + nlmsg.attribute(OUT, bytes(4))
    return nlmsg.message(nlmsg.RTM_NEWROUTE, 0, 0, body + b"".join(attributes))


def nexthop(*attributes: bytes, family: int = AF_INET) -> bytes:
    body = struct.pack("=BBBBI", family, 0, 0, 0, 0) + b"".join(attributes)
    return nlmsg.message(nlmsg.RTM_NEWNEXTHOP, 0, 0, body)


def read(
    decode: Callable[[nlmsg.Buffer, int, int], frozenset[IPAddress] | None], message: bytes
) -> set[str] | None:
    """Decode the message where it stands behind another one."""
    found = decode(memoryview(bytes(16) + message), 16, 16 + len(message))
    return None if found is None else {str(ip) for ip in found}


V6 = "fd00::1"
FORMS = [
    (route(), None),
    (route(nlmsg.attribute(NH_ID, bytes(4))), None),
    (route(nlmsg.attribute(METRICS, attribute(GATEWAY, "10.0.0.9"))), None),
    (route(attribute(GATEWAY, "10.0.0.1")), {"10.0.0.1"}),
    (route(attribute(GATEWAY, V6), family=AF_INET6), {V6}),
    (route(via(V6)), {V6}),
    (route(hops(attribute(GATEWAY, "10.0.0.1"), via(V6), b"")), {"10.0.0.1", V6}),
    (route(hops(b"", b"")), None),
    (route(attribute(GATEWAY, "10.0.0.1"), kind=2), None),  # local, not unicast
]


@pytest.mark.parametrize(("message", "gateways"), FORMS)
def test_gateways_of_a_route(message: bytes, gateways: set[str] | None) -> None:
    assert read(iproute.gateways, message) == gateways


def test_the_gateways_of_a_default_route_are_told_apart() -> None:
    for bits in (0, 1, 24):
        message = route(attribute(GATEWAY, "10.0.0.1"), bits=bits)
        assert iproute.is_default(message, 0, len(message)) is (bits == 0)


def test_gateways_of_a_next_hop_object() -> None:
    assert read(iproute.nexthop_gateways, nexthop(attribute(6, "10.0.0.1"))) == {"10.0.0.1"}
    assert read(iproute.nexthop_gateways, nexthop(attribute(6, V6), family=AF_INET6)) == {V6}
    assert read(iproute.nexthop_gateways, nexthop(nlmsg.attribute(2, bytes(8)))) is None


def test_a_gateway_that_is_met_again_is_the_same() -> None:
    """Also where what lies around it differs; its family and the hops beside it tell it apart."""
    for _ in range(2):
        for message, gateways in FORMS:
            assert read(iproute.gateways, message) == gateways


@given(st.sampled_from([message for message, _ in FORMS]), st.data())
def test_odd_messages_are_no_reason_to_fail(message: bytes, data: st.DataObject) -> None:
    """Cut anywhere and damaged anywhere, a message is understood or left out, never an error."""
    odd = bytearray(message)
    for _ in range(data.draw(st.integers(1, 3))):
        odd[data.draw(st.integers(0, len(odd) - 1))] = data.draw(st.integers(0, 255))
    cut = bytes(odd[: data.draw(st.integers(0, len(odd)))])
    for decode in (iproute.gateways, iproute.is_default, iproute.nexthop_gateways):
        decode(cut, 0, len(cut))


def host_route(*attributes: bytes, bits: int = 32, flags: int = 0) -> bytes:
    body = struct.pack("=BBBBBBBBI", AF_INET, bits, 0, 0, 254, 3, 253, 1, flags)
    body += attribute(DESTINATION, "10.1.2.3") + nlmsg.attribute(OUT, struct.pack("=I", 7))
    return nlmsg.message(nlmsg.RTM_NEWROUTE, 0, 0, body + b"".join(attributes))


def test_a_single_station_is_one_behind_one_interface() -> None:
    for message, found in (
        (host_route(), (ip_address("10.1.2.3"), 7)),
        (host_route(bits=31), None),
        (host_route(flags=0x200), None),  # a copy, as kernels before 4.13 return it for any route
        (host_route(attribute(GATEWAY, "10.0.0.1")), None),
        (host_route(via(V6)), None),
        (host_route(hops(b"", b"")), None),
        (route(), None),
    ):
        assert iproute.station(message, 0, len(message)) == found


@given(st.data())
def test_an_odd_answer_to_a_look_up_is_no_reason_to_fail(data: st.DataObject) -> None:
    odd = bytearray(host_route())
    for _ in range(data.draw(st.integers(1, 3))):
        odd[data.draw(st.integers(0, len(odd) - 1))] = data.draw(st.integers(0, 255))
    iproute.station(bytes(odd), 0, data.draw(st.integers(0, len(odd))))


def test_an_attribute_within_an_attribute_without_end_is_no_reason_to_fail() -> None:
    inner = b""
    for _ in range(3000):
        inner = hops(inner)
    message = route(inner)
    assert read(iproute.gateways, message) is None


def test_a_dump_asks_for_unicast_routes_of_one_family() -> None:
    for family in (AF_INET, AF_INET6):
        request = iproute.table_request(7, family)
        ((kind, flags, sequence, _, start, end),) = nlmsg.messages(request)
        assert (kind, sequence, end) == (26, 7, 28)
        assert flags & nlmsg.NLM_F_DUMP == nlmsg.NLM_F_DUMP
        assert (request[start + 16], request[start + 23]) == (family, 1)
