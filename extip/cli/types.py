"""Kinds of flag values as types of click; how they are written is in `extip.settings.flags`."""

from typing import Any, Generic, TypeVar

import click

from extip.settings.flags import FlagType

T = TypeVar("T")


class _Parsed(click.ParamType[T], Generic[T]):
    """A type whose parser raises ValueError with a text for a person."""

    def __init__(self, kind: FlagType[T]) -> None:
        self.name = kind.name
        self._parse = kind.parse

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


class _Choice(click.Choice[str]):
    """One of few values, which need not be text itself."""

    def __init__(self, kind: FlagType[Any]) -> None:
        super().__init__(kind.choices)
        self._parse = kind.parse

    def convert(
        self,
        value: Any,  # noqa: ANN401 - click's own signature
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> Any:  # noqa: ANN401
        """Choose it."""
        return self._parse(super().convert(value, param, ctx))


class _Whole(click.IntRange):
    """A whole number within limits; the help shows them."""

    def __init__(self, kind: FlagType[int], least: int, greatest: int) -> None:
        super().__init__(least, greatest)
        self._parse = kind.parse

    def convert(
        self,
        value: Any,  # noqa: ANN401 - click's own signature
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> Any:  # noqa: ANN401
        """Read it."""
        try:
            return self._parse(str(value))
        except ValueError as error:
            self.fail(str(error), param, ctx)


def click_type(kind: FlagType[Any]) -> click.ParamType[Any]:
    """Return the type of click that reads values of the kind."""
    if kind.choices:
        return _Choice(kind)
    if kind.limits:
        return _Whole(kind, *kind.limits)
    return _Parsed(kind)
