"""Flags of the command line: each is declared once, by `flag`, as a field of the settings.

A declaration says name, kind of value, default and help. Settings get the field with its type and
default from it, `extip.cli.options` the option and its variable EXTIP_<COMMAND>_<FLAG>. A kind of
value knows how a person writes it: its parser raises a ValueError that tells why not.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from ipaddress import ip_interface, ip_network
from math import ceil
from typing import Any, Generic, TypeVar

from extip.api.names import is_namespace, is_object_name
from extip.net.networks import IPNetwork

T = TypeVar("T")

MAX_DURATION_S = 30 * 24 * 3600
"""The longest duration. It is beyond any use of a flag, also where a default is a multiple of it.
It is far below the longest lifetime of an address in the kernel (32 bits, all of them for ever)."""

_KEY = "extip.flag"
"""Where the metadata of a dataclass field has its flag."""

_LABEL = r"[A-Za-z0-9](?:[-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?"
_LABEL_KEY = rf"(?:[a-z0-9](?:[-a-z0-9.]{{0,251}}[a-z0-9])?/)?{_LABEL}"
_VALUE = rf"(?:{_LABEL})?"
_REQUIREMENT = (
    rf"\s*(?:!\s*{_LABEL_KEY}|{_LABEL_KEY}(?:"
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


def written_duration(seconds: float) -> str:
    """Return a duration as a person writes it: ``3s``, ``50ms``."""
    return f"{seconds:g}s" if seconds >= 1 else f"{seconds * 1000:g}ms"


def parse_network(text: str) -> IPNetwork:
    """Return the network that `text` writes in CIDR form; a bare address is a network of one.

    Raises ValueError, also when bits are set to the right of the prefix. So it does for an address
    that looks like a network without its prefix length.
    """
    if "," in text:
        raise ValueError(f"{text!r} is not one network: give the flag once for each")
    try:
        network = ip_network(text, strict=False)
        interface = ip_interface(text)
    except ValueError:
        raise ValueError(f"{text!r} is not a network, such as 10.0.0.0/24") from None
    if interface.ip != network.network_address:
        raise ValueError(f"{text!r} has host bits set; is {network} meant?")
    if "/" not in text and int(interface.ip) % 256 == 0:
        raise ValueError(f"{text!r} has no prefix length; for one address write {network}")
    return network


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


def parse_instance(text: str) -> str:
    """Return the name of an instance, or nothing as it is: it is the value of a label."""
    if text and not is_namespace(text):  # the same characters
        raise ValueError(
            f"{text!r} cannot be the name of an instance: up to 63 lower-case letters, digits and "
            "hyphens can"
        )
    return text


def parse_name(text: str) -> str:
    """Return the name of an object; raises ValueError."""
    if not is_object_name(text):
        raise ValueError(
            f"{text!r} cannot be a name: lower-case letters, digits, dots and hyphens can"
        )
    return text


@dataclass(frozen=True, slots=True)
class FlagType(Generic[T]):
    """A kind of value, and how a person writes it."""

    name: str
    """Stands for the value in the help."""
    parse: Callable[[str], T]
    """Raises ValueError with a text for a person."""
    choices: tuple[str, ...] = ()
    """All that may be written, where that is little."""
    limits: tuple[int, int] | None = None
    """The least and the greatest of whole numbers."""
    may_be_empty: bool = False
    """Whether an empty variable is a value; for other kinds it is as good as none."""


TEXT = FlagType("text", str)
DURATION = FlagType("duration", parse_duration)
WHOLE_SECONDS = FlagType("duration", lambda text: ceil(parse_duration(text)))
NETWORK = FlagType("cidr", parse_network)
GRANT = FlagType("grant", parse_grant)
LISTEN = FlagType("host:port", parse_listen, may_be_empty=True)
SELECTOR = FlagType("labels", parse_selector)
NAMESPACE = FlagType("namespace", parse_namespace)
INSTANCE = FlagType("name", parse_instance)
NAME = FlagType("name", parse_name)
SWITCH = FlagType("switch", bool)
"""On when the flag is there; it takes no value."""
BOOLEAN = FlagType("boolean", bool)
"""On when the flag is there; it may take ``=true`` or ``=false``."""


def whole(least: int, greatest: int) -> FlagType[int]:
    """Return the kind of the whole numbers within the limits."""

    def parse(text: str) -> int:
        if text.strip().isdecimal() and least <= int(text) <= greatest:
            return int(text)
        raise ValueError(f"{text!r} is not a whole number from {least} to {greatest}")

    return FlagType("integer", parse, limits=(least, greatest))


def choice(*values: T) -> FlagType[T]:
    """Return the kind that has these values alone; they are written as `str` shows them."""
    written = {str(value): value for value in values}

    def parse(text: str) -> T:
        if text in written:
            return written[text]
        raise ValueError(f"{text!r} is not one of {', '.join(map(repr, written))}")

    return FlagType("choice", parse, choices=tuple(written))


@dataclass(frozen=True, slots=True)
class Flag:
    """The declaration of a flag."""

    name: str
    """With its dashes."""
    kind: FlagType[Any]
    help: str
    default: str | None
    """The default as text; None for none, or for one that is found out at the start."""
    shown: str | None
    """The default in the help text, where it is not `default`."""
    metavar: str | None
    """Stands for the value in the help, where it is not the name of the kind."""
    repeatable: bool = False
    joined: bool = False
    """Repeatable, and its values become one text, with commas in between."""
    at_least: float | None = None

    @property
    def parameter(self) -> str:
        """Its name as that of an argument of a function."""
        return self.name.removeprefix("--").replace("-", "_")


def flag(  # noqa: PLR0913 - all that can be said of a flag
    name: str,
    kind: FlagType[T],
    default: str | Callable[[], T],
    text: str,
    *,
    shown: str | None = None,
    metavar: str | None = None,
    joined: bool = False,
    at_least: float | None = None,
) -> T:
    """Declare a flag; a `default` that is a function is called when settings are made."""
    written = str(default) if isinstance(default, str) else None
    declared = Flag(name, kind, text, written, shown, metavar, joined=joined, at_least=at_least)
    metadata = {_KEY: declared}
    if isinstance(default, str):
        return field(default=kind.parse(default), metadata=metadata)
    return field(default_factory=default, metadata=metadata)


def optional_flag(
    name: str, kind: FlagType[T], text: str, *, shown: str, at_least: float | None = None
) -> T | None:
    """Declare a flag whose default depends on others; without it the value is None."""
    declared = Flag(name, kind, text, None, shown, None, at_least=at_least)
    return field(default=None, metadata={_KEY: declared})


def repeatable_flag(
    name: str, kind: FlagType[T], text: str, *, metavar: str | None = None
) -> tuple[T, ...]:
    """Declare a flag that may be given many times, and by default is not."""
    declared = Flag(name, kind, text, None, None, metavar, repeatable=True)
    return field(default=(), metadata={_KEY: declared})


def flags_of(settings: type[Any]) -> dict[str, Flag]:
    """Return the flags of a dataclass by the names of their fields."""
    return {each.name: each.metadata[_KEY] for each in fields(settings)}
