"""How values of flags are written: text → value, or a ValueError that tells a person why not."""

import re
from ipaddress import ip_network

from extip.api.names import is_namespace, is_object_name
from extip.plan.networks import IPNetwork

MAX_DURATION_S = 30 * 24 * 3600
"""Beyond any use of a flag, and far below what the kernel takes for the lifetime of an address
(32 bits, all of them set for ever), also when a default is several times another duration."""

_LABEL = r"[A-Za-z0-9](?:[-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?"
_KEY = rf"(?:[a-z0-9](?:[-a-z0-9.]{{0,251}}[a-z0-9])?/)?{_LABEL}"
_VALUE = rf"(?:{_LABEL})?"
_REQUIREMENT = (
    rf"\s*(?:!\s*{_KEY}|{_KEY}(?:"
    rf"\s*(?:={{1,2}}|!=)\s*{_VALUE}"
    rf"|\s+(?:in|notin)\s*\(\s*{_VALUE}(?:\s*,\s*{_VALUE})*\s*\)"
    r"|\s*[<>]\s*-?\d+)?)\s*"
)
_SELECTOR = re.compile(rf"\s*|{_REQUIREMENT}(?:,{_REQUIREMENT})*")

_UNITS_S = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h)")


def parse_duration(text: str) -> float:
    """Return the seconds that `text` writes as Go does: ``2s``, ``500ms``, ``1m30s``.

    Raises ValueError for anything else, a bare number included: its unit would be a guess; and for
    more than `MAX_DURATION_S`.
    """
    position, seconds = 0, 0.0
    while match := _DURATION.match(text, position):
        seconds += float(match[1]) * _UNITS_S[match[2]]
        position = match.end()
    if position == 0 or position != len(text):
        raise ValueError(f"{text!r} is not a duration; write it like 2s, 500ms or 1m30s")
    if seconds > MAX_DURATION_S:
        raise ValueError(f"{text!r} is longer than 30 days ({MAX_DURATION_S // 3600}h)")
    return seconds


def parse_network(text: str) -> IPNetwork:
    """Return the network that `text` writes in CIDR form; a bare address is a network of one.

    Raises ValueError, also when bits are set to the right of the prefix.
    """
    return ip_network(text, strict=True)


def parse_grant(text: str) -> tuple[str, IPNetwork]:
    """Return namespace and network of ``ns/NAMESPACE=NETWORK``; raises ValueError."""
    subject, _, network = text.partition("=")
    kind, _, namespace = subject.partition("/")
    if kind != "ns" or not is_namespace(namespace) or not network:
        raise ValueError(f"{text!r} is not ns/NAMESPACE=NETWORK, such as ns/web=10.1.0.0/24")
    return namespace, parse_network(network)


def parse_listen(text: str) -> tuple[str, int] | None:
    """Return host and port of ``host:port`` or ``[v6]:port``; None for the empty string."""
    if not text:
        return None
    host, separator, port = text.rpartition(":")
    host = host.strip("[]")
    try:
        host.encode("idna")  # as resolving it does
    except UnicodeError:
        separator = ""
    if not separator or not port.isdecimal() or int(port) > 65535:  # noqa: PLR2004
        raise ValueError(f"{text!r} is not host:port, for example 127.0.0.1:9188")
    return host, int(port)


def parse_selector(text: str) -> str:
    """Return a label selector as it is, when an API server can parse it (labels.Parse).

    Raises ValueError.
    """
    if not _SELECTOR.fullmatch(text):
        raise ValueError(
            f"{text!r} is not a label selector, for example 'edge=yes' or 'zone in (a,b)'"
        )
    return text


def parse_namespace(text: str) -> str:
    """Return the name of a namespace, or nothing as it is: it stands for the default."""
    if text and not is_namespace(text):
        raise ValueError(f"{text!r} cannot be the name of a namespace")
    return text


def parse_name(text: str) -> str:
    """Return the name of an object; raises ValueError."""
    if not is_object_name(text):
        raise ValueError(
            f"{text!r} cannot be a name: lower-case letters, digits, dots and hyphens can"
        )
    return text
