"""Options of the daemons, made from the settings: there each flag is declared."""

import os
from collections.abc import Callable, Mapping
from functools import wraps
from typing import Any, TypeVar, cast

import click

from extip.cli.types import click_type
from extip.settings.flags import BOOLEAN, SWITCH, Flag, flags_of
from extip.settings.process import ProcessSettings

Settings = TypeVar("Settings", bound=ProcessSettings)


class _OptionThatMayBeEmpty(click.Option):
    """An option whose environment variable may be empty; click takes that for unset."""

    def resolve_envvar_value(self, ctx: click.Context) -> str | None:
        """Return the text of the variable, named after command and flag; None when unset."""
        return os.environ.get(f"{ctx.auto_envvar_prefix}_{self.name.upper()}")


def options(
    kind: type[Settings],
) -> Callable[[Callable[[Settings], None]], Callable[..., None]]:
    """Give a command the options of its settings, those that every daemon has last.

    The command itself is called with the settings; making them raises ConfigurationError.
    """
    flags = flags_of(kind)
    shared = flags_of(ProcessSettings)

    def decorate(command: Callable[[Settings], None]) -> Callable[..., None]:
        @wraps(command)
        def call(**values: object) -> None:
            command(kind(**_given(flags, values)))

        decorated: Callable[..., None] = call
        in_order = sorted(flags, key=lambda field: field in shared)
        for field in reversed(in_order):
            decorated = _option(flags[field])(decorated)
        return decorated

    return decorate


def _given(flags: Mapping[str, Flag], values: Mapping[str, object]) -> dict[str, Any]:
    """Return values by the names of fields, without those that settings find out by themselves."""
    return {
        field: ",".join(cast("tuple[str, ...]", value)) if flag.joined else value
        for field, flag in flags.items()
        if (value := values[flag.parameter]) not in (None, "") or flag.default is not None
    }


def _option(flag: Flag) -> Callable[[Callable[..., None]], Callable[..., None]]:
    more: dict[str, Any] = {"default": flag.default, "type": click_type(flag.kind)}
    if flag.joined:
        more["default"] = (flag.default,)
    if flag.kind is SWITCH:
        more = {"is_flag": True}
    if flag.kind is BOOLEAN:
        more = {"is_flag": False, "flag_value": True, "default": False, "type": bool}
    if flag.shown is not None:
        more["show_default"] = flag.shown
    return click.option(
        flag.name,
        cls=_OptionThatMayBeEmpty if flag.kind.may_be_empty else click.Option,
        multiple=flag.repeatable or flag.joined,
        metavar=flag.metavar,
        help=flag.help,
        **more,
    )
