"""The command line: flags become settings, settings run a mode; nothing else happens here.

Only click is imported at the top, and a command's flags only when it is called: `extip --help`
must be quick, and each mode loads what it needs.
"""

import importlib
import os
import sys

import click

from extip import __version__
from extip.cli.environment import IGNORED_VARIABLES, unknown_variables
from extip.cli.streams import open_standard_streams
from extip.commit import described
from extip.errors import ExtipError, InterruptedByUserError
from extip.printable import printable

CONTEXT = {"auto_envvar_prefix": "EXTIP", "help_option_names": ["-h", "--help"]}

_PLUGIN = "kubectl-extip"
"""The program's other name: kubectl runs a program of that name for `kubectl extip`."""

DAEMONS = ("simple", "controller", "scheduler")
"""Commands that run until they are stopped."""

COMMANDS = {
    "simple": "Bring every external IP up on this node; one such process per cluster.",
    "controller": "Bring up the external IPs that the scheduler gives to this node.",
    "scheduler": "Distribute external IPs over the controllers that are alive.",
    "status": "Tell where every external IP is, since when and why; claims mode.",
    "drain": "Move all external IPs off NODE before it is worked on; claims mode.",
    "doctor": "Look for what keeps extip from working, or will; changes nothing.",
    "migrate": "Bring services to extip, or to load balancers, without an outage.",
    "manifests": "Write a folder for `kubectl apply -k`, with all that runs extip.",
    "chart": "Write a Helm chart of claims mode into a new FOLDER.",
    "crds": "Print the CustomResourceDefinitions of extip, or apply them.",
}
"""The purpose of each command, in the order in which a person meets them. `extip.cli.NAME.NAME` is
the command itself, whose help begins with the same words."""


class _Commands(click.Group):
    """A group that imports a command when it is called, and lists them without importing any."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f"extip.cli.{cmd_name}")
        command: click.Command = getattr(module, cmd_name)
        return command

    def invoke(self, ctx: click.Context) -> object:
        """Run the command; raises InterruptedByUserError where click would exit with 1."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            raise InterruptedByUserError("interrupted") from None

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command, and the variables that seem to be for it and are not."""
        word = args[0]
        if word not in COMMANDS and not word.startswith("-") and not ctx.resilient_parsing:
            raise click.UsageError(f"No such command '{word}'{_near(word)}", ctx)
        name, command, rest = super().resolve_command(ctx, args)
        if name is not None and command is not None:
            ignored = _ignored_variables(name, command)
            ctx.meta[IGNORED_VARIABLES] = ignored
            if name not in DAEMONS:
                for one in ignored:
                    click.echo(f"extip: {one}", err=True)
        return name, command, rest

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


def _near(unknown: str) -> str:
    """Return a question about the command that was meant; click knows none before it is called."""
    from difflib import get_close_matches  # noqa: PLC0415 - only for a mistake

    begun = [name for name in COMMANDS if unknown and name.startswith(unknown)]
    near = begun or get_close_matches(unknown, COMMANDS, n=1)
    return f". Did you mean '{near[0]}'?" if near else ""


def _ignored_variables(name: str, command: click.Command) -> list[str]:
    """Return a sentence for each variable that means nothing; a group tells for its subcommands."""
    if isinstance(command, click.Group):
        return []
    return unknown_variables(name, command.params, COMMANDS, os.environ)


@click.group(cls=_Commands, context_settings=CONTEXT)
@click.version_option(described(__version__), prog_name="extip")
def cli() -> None:
    """Bring the external IPs of Kubernetes services up on bare-metal nodes.

    Every flag can be given by the environment, too: EXTIP_<COMMAND>_<FLAG>, for example
    EXTIP_SIMPLE_IFACE=eth1.
    """


def main() -> None:
    """Run the `extip` command and exit; one line instead of a traceback for expected errors."""
    open_standard_streams()
    plugin = os.path.basename(sys.argv[0]) == _PLUGIN  # noqa: PTH119 - pathlib takes time to import
    try:
        try:
            cli(prog_name="kubectl extip" if plugin else None, standalone_mode=False)
        finally:
            sys.stdout.flush()
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        sys.exit(error.exit_code)
    except click.ClickException as error:
        click.echo(f"extip: {_one_line(error)}", err=True)
        sys.exit(error.exit_code)
    except ExtipError as error:
        if str(error):
            click.echo(f"extip: {printable(str(error))}", err=True)
        sys.exit(error.exit_code)


def _one_line(error: click.ClickException) -> str:
    text = " ".join(error.format_message().split()).removesuffix(".")
    if isinstance(error, click.NoSuchOption) and (others := _commands_with(error.option_name)):
        text = f"No such option '{error.option_name}' here: it is one of {others}"
    ctx = error.ctx if isinstance(error, click.UsageError) else None
    return text if ctx is None else f"{text} (`{ctx.command_path} --help` tells more)"


def _commands_with(flag: str) -> str:
    """Return the daemons that have a flag, as a person calls them; empty for none."""
    ctx = click.Context(cli)
    found = [(name, cli.get_command(ctx, name)) for name in DAEMONS]
    having = [
        f"`extip {name}`"
        for name, command in found
        if command is not None and any(flag in one.opts for one in command.params)
    ]
    return " and ".join(having)
