"""Types of flag values; parsing of what is more than a name is in `extip.settings`."""

from collections.abc import Callable
from typing import Any, Generic, TypeVar

import click

from extip import settings
from extip.api.names import is_namespace, is_object_name

T = TypeVar("T")


class _Parsed(click.ParamType[T], Generic[T]):
    """A type made of a function that raises ValueError with a text for a person."""

    def __init__(self, name: str, parse: Callable[[str], T]) -> None:
        self.name = name
        self._parse = parse

    def convert(
        self,
        value: Any,  # noqa: ANN401 - click's own signature
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> T:
        """Parse a text."""
        try:
            return self._parse(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


def _namespace(text: str) -> str:
    """Return the name of a namespace, or nothing as it is: it stands for the default."""
    if text and not is_namespace(text):
        raise ValueError(f"{text!r} cannot be the name of a namespace")
    return text


def _name(text: str) -> str:
    if not is_object_name(text):
        raise ValueError(
            f"{text!r} cannot be a name: lower-case letters, digits, dots and hyphens can"
        )
    return text


DURATION = _Parsed("duration", settings.parse_duration)
NETWORK = _Parsed("cidr", settings.parse_network)
GRANT = _Parsed("grant", settings.parse_grant)
LISTEN = _Parsed("host:port", settings.parse_listen)
SELECTOR = _Parsed("labels", settings.parse_selector)
NAMESPACE = _Parsed("namespace", _namespace)
NAME = _Parsed("name", _name)
