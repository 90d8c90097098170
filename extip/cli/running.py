"""Runs a mode from a command, and turns what ends it into an exit."""

from collections.abc import Coroutine
from typing import NoReturn

import click

from extip.cli.environment import IGNORED_VARIABLES
from extip.errors import ExtipError


def run_mode(main: Coroutine[None, None, None]) -> None:
    """Run a mode to its end; exit with the code of what ended it."""
    from extip import log  # noqa: PLC0415
    from extip.supervisor import run_process  # noqa: PLC0415

    for text in click.get_current_context().meta.get(IGNORED_VARIABLES, ()):
        log.get_logger("command_line").warning("variable_ignored", reason=text)
    try:
        run_process(main)
    except BaseExceptionGroup as group:
        _exit_with(group)


def _exit_with(group: BaseExceptionGroup[BaseException]) -> NoReturn:
    """Raise what a person must mend on its own; a defect of extip keeps its traceback."""
    expected, defects = group.split(ExtipError)
    if expected is None or defects is not None:
        raise group
    error: BaseException = expected
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    raise error
