"""What people write in flags is taken as they mean it, or refused with a text that says why."""

from ipaddress import ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extip.settings.flags import parse_duration, parse_listen, parse_network, parse_selector


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("2s", 2), ("500ms", 0.5), ("1m30s", 90), ("1.5s", 1.5), ("1h", 3600), ("0s", 0)],
)
def test_durations_as_kubernetes_users_write_them(text, seconds):
    assert parse_duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "2", "s", "-1s", "1s ", "1d", "1s1", "1,5s", "one"])
def test_anything_else_is_no_duration(text):
    with pytest.raises(ValueError, match="write it like"):
        parse_duration(text)


@pytest.mark.parametrize("text", ["720h1s", "2000000h", "1193046h28m15s", "9" * 400 + "h"])
def test_no_duration_is_longer_than_a_month(text):
    assert parse_duration("720h") == 30 * 24 * 3600
    with pytest.raises(ValueError, match="longer than 30 days"):
        parse_duration(text)


@given(st.integers(0, 10**6))
def test_durations_round_trip(milliseconds):
    assert parse_duration(f"{milliseconds}ms") == pytest.approx(milliseconds / 1000)


def test_listen_addresses():
    assert parse_listen("127.0.0.1:9188") == ("127.0.0.1", 9188)
    assert parse_listen("[::1]:80") == ("::1", 80)
    assert parse_listen(":80") == ("", 80)
    assert parse_listen("") is None
    for text in ("9188", "host:", "host:x", "host:70000", "a..b:80", f"{'a' * 64}.lan:80"):
        with pytest.raises(ValueError, match="host:port"):
            parse_listen(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "edge",
        "!edge",
        "! edge",
        "edge=yes",
        "edge==yes",
        "edge != yes",
        "edge=",
        "edge=,tier!=test",
        "example.com/edge in (a, b),tier notin (c)",
        " x in ( , a ) , y",
        "size>5, size < -7",
        "In.a_b-c=9",
    ],
)
def test_label_selectors_as_the_api_server_takes_them(text):
    assert parse_selector(text) == text


@pytest.mark.parametrize(
    "text",
    [
        "a b",
        "x in",
        "x in a",
        "x in (a",
        "a=b=c",
        "a===b",
        "a,",
        ",a",
        "=b",
        "!",
        "!a=b",
        "a=b c",
        "-a",
        "a=-",
        "a/b/c",
        "Upper.com/a",
        "a=" + "b" * 64,
        "size>x",
        "a\n=b;",
    ],
)
def test_what_no_api_server_takes_is_no_label_selector(text):
    with pytest.raises(ValueError, match="is not a label selector"):
        parse_selector(text)


def test_networks():
    assert parse_network("10.0.0.0/24") == ip_network("10.0.0.0/24")
    assert parse_network("10.0.0.1") == ip_network("10.0.0.1/32")
    with pytest.raises(ValueError, match="host bits"):
        parse_network("10.0.0.1/24")
