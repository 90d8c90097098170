"""What the tests of commands share."""

import importlib

import pytest
from click.testing import CliRunner

from extip.cli import cli


@pytest.fixture
def chosen(monkeypatch):
    """Return the settings that the command line of a daemon leads to."""

    def invoke(daemon, *arguments, **environment):
        seen = []

        async def run(settings):
            seen.append(settings)

        monkeypatch.setattr(importlib.import_module(f"extip.modes.{daemon}"), "run", run)
        result = CliRunner().invoke(
            cli, [daemon, *arguments], env=environment, auto_envvar_prefix="EXTIP"
        )
        assert result.exit_code == 0, result.output + str(result.exception)
        (settings,) = seen
        return settings

    return invoke
