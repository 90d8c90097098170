"""A variable that is meant for a flag, and is no flag's, is not ignored in silence."""

import click
import pytest
from click.testing import CliRunner

from extip.cli import COMMANDS, cli
from extip.cli.environment import unknown_variables


def params_of(command):
    found = cli.get_command(click.Context(cli), command)
    assert found is not None
    return found.params


def told(command, **environment):
    return unknown_variables(command, params_of(command), COMMANDS, environment)


@pytest.mark.parametrize(
    ("variable", "hint"),
    [
        ("EXTIP_CONTROLLER_HBB", "; did you mean EXTIP_CONTROLLER_HB?"),
        ("EXTIP_HB", "; did you mean EXTIP_CONTROLLER_HB?"),
        ("EXTIP_CONTROLLER_DRAIN-TIMEOUT", "; did you mean EXTIP_CONTROLLER_DRAIN_TIMEOUT?"),
        ("EXTIP_CONTROLLER_MONITOR", ""),  # the scheduler's
    ],
)
def test_a_slip_is_named_with_what_may_have_been_meant(variable, hint):
    assert told("controller", **{variable: "5s"}) == [
        f"{variable} is no flag's variable and is ignored{hint}"
    ]


@pytest.mark.parametrize("command", COMMANDS)
def test_each_flag_has_its_variable(command):
    names = [p.name for p in params_of(command) if isinstance(p, click.Option)]
    variables = [f"EXTIP_{command.upper()}_{name.upper()}" for name in names]
    of_no_flag = [text.split()[0] for text in told(command, **dict.fromkeys(variables, "1"))]
    # kubectl's own variable is for this one, where a person runs the command
    assert {one.rpartition("_")[2] for one in of_no_flag} <= {"KUBECONFIG"}


def test_a_subcommand_has_variables_of_its_own():
    told = CliRunner().invoke(
        cli,
        ["migrate", "services"],
        env={
            "EXTIP_MIGRATE_SERVICES_LB_CLAS": "x",
            "EXTIP_MIGRATE_SERVICES_LB_CLASS": "x",
            "EXTIP_STATUS_WATCH": "1",
        },
    )
    (line,) = [line for line in told.output.splitlines() if line.startswith("extip: EXTIP")]
    assert "EXTIP_MIGRATE_SERVICES_LB_CLAS is no flag's variable" in line
    assert "did you mean EXTIP_MIGRATE_SERVICES_LB_CLASS?" in line


def test_what_is_for_others_is_left_alone():
    assert not told(
        "controller",
        EXTIP_SCHEDULER_MONITOR="4s",
        EXTIP_SCHEDULER_ANYTHING="1",
        EXTIP_CONTROLLER_SERVICE_HOST="10.96.0.7",  # a service called extip-controller
        EXTIP_CONTROLLER_PORT_9188_TCP_ADDR="10.96.0.7",
        EXTIP_CONTROLLER_PORT="tcp://10.96.0.7:9188",
        EXTIP_KUBE_BIN="/opt/kubernetes",
        PATH="/bin",
    )


def test_daemons_log_it_and_commands_say_it():
    daemon = CliRunner().invoke(
        cli, ["simple", "--kubeconfig=/nope"], env={"EXTIP_SIMPLE_MASQ": "1"}
    )
    assert "variable_ignored" in daemon.output
    assert "did you mean EXTIP_SIMPLE_MASK?" in daemon.output
    person = CliRunner().invoke(cli, ["crds"], env={"EXTIP_CRDS_APPLIED": "1"})
    assert person.exit_code == 0
    assert person.stderr.startswith("extip: EXTIP_CRDS_APPLIED is no flag's variable")
