"""The flags of `extip scheduler`, as the specification writes them."""

import pytest
from click.testing import CliRunner

from extip.cli import cli
from extip.settings import process


def test_defaults_are_those_of_the_specification(chosen):
    made = chosen("scheduler")
    assert made.kubeconfig == ""
    assert made.masks.v4 == 32
    assert made.nodefilter == "fair"
    assert made.monitor_s == 4
    assert made.leader_elect is False
    assert (made.lease_duration_s, made.renew_deadline_s, made.retry_period_s) == (15, 10, 2)
    assert made.namespace == made.lease_namespace == "kube-system"


@pytest.mark.parametrize(
    ("arguments", "environment", "expected"),
    [
        (["--leader-elect"], {}, True),
        (["--leader-elect=true"], {}, True),
        (["--leader-elect=false"], {}, False),
        (["--leader-elect", "--mask=24"], {}, True),
        ([], {"EXTIP_SCHEDULER_LEADER_ELECT": "true"}, True),
        ([], {"EXTIP_SCHEDULER_LEADER_ELECT": "false"}, False),
    ],
)
def test_leader_elect_works_bare_and_with_a_value(chosen, arguments, environment, expected):
    assert chosen("scheduler", *arguments, **environment).leader_elect is expected


def test_the_pods_namespace_is_the_default(chosen, monkeypatch, tmp_path):
    (tmp_path / "namespace").write_text("edge\n")
    monkeypatch.setattr(process, "_NAMESPACE_FILE", str(tmp_path / "namespace"))
    made = chosen("scheduler", "--leader-elect-resource-namespace=other")
    assert (made.namespace, made.lease_namespace) == ("edge", "other")


def test_a_monitor_that_kills_everybody_is_refused():
    result = CliRunner().invoke(cli, ["scheduler", "--monitor=1ms"])
    assert result.exit_code == 1
    assert "--monitor" in str(result.exception)


@pytest.mark.parametrize(
    "arguments",
    [
        ["scheduler", "--namespace=Bad NS"],
        ["scheduler", "--namespace=a.b"],
        ["scheduler", "--leader-elect-resource-namespace=a/b"],
        ["scheduler", "--leader-elect-resource-name=a/b"],
        ["scheduler", "--leader-elect-resource-name="],
        ["controller", "--namespace=a_b"],
        ["status", "--namespace=-a"],
    ],
)
def test_names_that_the_api_server_cannot_have_are_refused(arguments):
    result = CliRunner().invoke(cli, arguments)
    assert result.exit_code == 2
    assert "cannot be" in result.output
    assert arguments[1].split("=")[0] in result.output


def test_names_that_it_can_have(chosen):
    made = chosen("scheduler", "--namespace=a-1", "--leader-elect-resource-name=a.b-c")
    assert (made.namespace, made.lease_name) == ("a-1", "a.b-c")
