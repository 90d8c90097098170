"""What is declared of a flag in the settings is what the command line makes of it."""

import click
import pytest

from extip.cli import cli
from extip.settings.controller import ControllerSettings
from extip.settings.flags import flags_of
from extip.settings.process import ProcessSettings
from extip.settings.scheduler import SchedulerSettings
from extip.settings.simple import SimpleSettings

DAEMONS = [
    ("simple", SimpleSettings),
    ("controller", ControllerSettings),
    ("scheduler", SchedulerSettings),
]


@pytest.mark.parametrize(("daemon", "settings"), DAEMONS)
def test_without_flags_the_settings_have_their_own_defaults(chosen, daemon, settings):
    assert chosen(daemon) == settings()


@pytest.mark.parametrize(("daemon", "settings"), DAEMONS)
def test_each_declared_flag_is_an_option_and_those_of_every_daemon_are_last(daemon, settings):
    command = cli.get_command(click.Context(cli), daemon)
    assert command is not None
    options = [param.opts[0] for param in command.params]
    assert sorted(options) == sorted(flag.name for flag in flags_of(settings).values())
    shared = [flag.name for flag in flags_of(ProcessSettings).values()]
    assert options[-len(shared) :] == shared


@pytest.mark.parametrize("name", ["--namespace", "--hostname"])
def test_an_empty_value_is_as_good_as_none_where_the_default_is_found_out(chosen, name):
    assert chosen("controller", f"{name}=") == chosen("controller")
