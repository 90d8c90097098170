"""Types of flag values; parsing itself is in `extip.cli.values`."""

from collections.abc import Callable
from typing import Any, Generic, TypeVar

import click

from extip.cli import values

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


DURATION = _Parsed("duration", values.parse_duration)
NETWORK = _Parsed("cidr", values.parse_network)
GRANT = _Parsed("grant", values.parse_grant)
LISTEN = _Parsed("host:port", values.parse_listen)
SELECTOR = _Parsed("labels", values.parse_selector)
NAMESPACE = _Parsed("namespace", values.parse_namespace)
NAME = _Parsed("name", values.parse_name)
