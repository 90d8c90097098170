"""The command line: flags become settings, settings run a mode; nothing else happens here.

Only click is imported at the top: `extip --help` must be quick, and each mode loads what it needs.
"""

import sys

import click

from extip import __version__
from extip.cli.controller import controller
from extip.cli.crds import crds
from extip.cli.scheduler import scheduler
from extip.cli.simple import simple
from extip.errors import ExtipError, FatalError

CONTEXT = {"auto_envvar_prefix": "EXTIP", "help_option_names": ["-h", "--help"]}


@click.group(context_settings=CONTEXT)
@click.version_option(__version__, prog_name="extip")
def cli() -> None:
    """Bring the external IPs of Kubernetes services up on bare-metal nodes.

    Every flag can be given by the environment, too: EXTIP_<COMMAND>_<FLAG>, for example
    EXTIP_SIMPLE_IFACE=eth1.
    """


cli.add_command(simple)
cli.add_command(controller)
cli.add_command(scheduler)
cli.add_command(crds)


def main() -> None:
    """Run the `extip` command and exit; one line instead of a traceback for expected errors."""
    try:
        cli()
    except ExtipError as error:
        click.echo(f"extip: {error}", err=True)
        sys.exit(error.exit_code if isinstance(error, FatalError) else 1)
