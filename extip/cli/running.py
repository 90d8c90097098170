"""Runs a mode from a command, and turns what ends it into an exit."""

from collections.abc import Coroutine
from ipaddress import IPv4Network, IPv6Network
from typing import NoReturn

import click
from click.core import ParameterSource

from extip.cli.environment import IGNORED_VARIABLES
from extip.errors import ExtipError
from extip.settings.flags import written_duration
from extip.settings.process import ProcessSettings


def run_mode(
    settings: ProcessSettings, main: Coroutine[None, None, None], *, logs_flags: bool = True
) -> None:
    """Run a mode to its end; exit with the code of what ended it.

    `logs_flags`: a log that somebody reads later should tell how the process was started.
    """
    from extip import log  # noqa: PLC0415
    from extip.supervisor import run_process  # noqa: PLC0415

    log.configure(settings.log_format, settings.log_level)
    ctx, logger = click.get_current_context(), log.get_logger("command_line")
    for text in ctx.meta.get(IGNORED_VARIABLES, ()):
        logger.warning("variable_ignored", reason=text)
    if logs_flags and (given := _given(ctx)):
        logger.info("flags_given", flags=given)
    try:
        run_process(main)
    except BaseExceptionGroup as group:
        _exit_with(group)


def _given(ctx: click.Context) -> str:
    """Return the flags that are not left at their defaults, wherever they were given."""
    default = (ParameterSource.DEFAULT, ParameterSource.DEFAULT_MAP)
    return " ".join(
        f"--{name.replace('_', '-')}={_text(value)}"
        for name, value in ctx.params.items()
        if ctx.get_parameter_source(name) not in default
    )


def _text(value: object) -> str:
    """Return a value as it may be written for its flag."""
    match value:
        case float():
            return written_duration(value)
        case (str(host), int(port)):
            return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        case (str(namespace), IPv4Network() | IPv6Network() as network):
            return f"ns/{namespace}={network}"
        case tuple():
            return ",".join(map(_text, value))
        case _:
            return str(value)


def _exit_with(group: BaseExceptionGroup[BaseException]) -> NoReturn:
    """Raise what a person must mend on its own; a defect of extip keeps its traceback."""
    expected, defects = group.split(ExtipError)
    if expected is None or defects is not None:
        raise group
    error: BaseException = expected
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    raise error
