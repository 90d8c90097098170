"""Alerts and dashboard agree with the metrics that extip exports, and each alert with the runbook.

promtool, of Prometheus itself, checks the rules and plays their tests.
"""

import json
import re
import subprocess
from typing import Any

import pytest
import yaml

from extip.metrics import Metrics
from tests.lab.binaries import find_tool
from tests.meta.manifests import MANIFESTS, ROOT, build, workloads
from tests.meta.pages import text_of

FOLDER = MANIFESTS / "monitoring"
(RULES,) = yaml.safe_load((FOLDER / "rules.yaml").read_text())["spec"]["groups"]
ALERTS = {rule["alert"]: rule for rule in RULES["rules"]}
DASHBOARD = json.loads((FOLDER / "dashboard.json").read_text())
QUERIES = [target["expr"] for panel in DASHBOARD["panels"] for target in panel["targets"]]
EXPRESSIONS = [*QUERIES, *(rule["expr"] for rule in ALERTS.values())]
RUNBOOK = ROOT / "docs/runbook.md"
METRIC = re.compile(r"\b(?:extip|leader_election)_[a-z_]+")
SELECTED = re.compile(r"\b((?:extip|leader_election)_[a-z_]+)\{([^}]*)\}")

FIRING = {
    "ExtipAddressesNotUp": (
        ['extip_addresses_wanted{instance="n1"} 3', 'extip_addresses_up{instance="n1"} 2'],
        3,
    ),
    "ExtipAddressConflict": (['extip_addresses_in_conflict{instance="n1"} 1'], 2),
    "ExtipLinkIsolated": (['extip_link_isolated{instance="n1",link="eth1"} 1'], 2),
    "ExtipNoLeader": (
        [
            'extip_build_info{mode="controller"} 1',
            'leader_election_master_status{name="extip-scheduler"} 0',
        ],
        2,
    ),
    "ExtipSeveralLeaders": (
        [
            'leader_election_master_status{name="extip-scheduler",pod="a"} 1',
            'leader_election_master_status{name="extip-scheduler",pod="b"} 1',
        ],
        2,
    ),
    "ExtipNodeDead": (
        ['extip_nodes{state="dead",pod="a"} 1', 'extip_nodes{state="dead",pod="b"} 1'],
        6,
    ),
    "ExtipHeartbeatsFail": (['extip_heartbeats_total{result="failure"} 0+2x10'], 6),
    "ExtipDefinitionMissing": (['extip_definitions_missing{definition="ipclaims"} 1'], 2),
    "ExtipWritesFail": (['extip_writes_failing{lane="claims"} 2'], 6),
    "ExtipServicesWait": (["extip_services_waiting 1"], 11),
    "ExtipPoolAlmostEmpty": (
        [
            'extip_pool_addresses{pool="edge",state="free"} 9',
            'extip_pool_addresses{pool="edge",state="used"} 91',
            'extip_pool_addresses{pool="edge",state="set aside"} 0',
        ],
        16,
    ),
    "ExtipAddressesRefused": (['extip_addresses_refused{reason="NodeAddress"} 1'], 11),
    "ExtipNotScraped": (['up{job="extip-system/extip"} 0'], 6),
    "ExtipSchedulerDrift": (["extip_scheduler_drift_total 0 0 1 1 1"], 4),
}
"""What makes each alert fire, and after how many minutes."""

QUIET = [
    'extip_build_info{mode="controller"} 1',
    'extip_build_info{mode="scheduler"} 1',
    'extip_addresses_wanted{instance="n1"} 3',
    'extip_addresses_up{instance="n1"} 3',
    'extip_addresses_in_conflict{instance="n1"} 0',
    'extip_link_isolated{instance="n1",link="eth1"} 0',
    'leader_election_master_status{name="extip-scheduler",pod="a"} 1',
    'leader_election_master_status{name="extip-scheduler",pod="b"} 0',
    'leader_election_master_status{name="of-another-program",pod="c"} 1',
    'extip_nodes{state="alive"} 3',
    'extip_nodes{state="dead"} 0',
    'extip_heartbeats_total{result="success"} 0+30x20',
    'extip_heartbeats_total{result="failure"} 0+0x20',
    'extip_definitions_missing{definition="ipclaims"} 0',
    'extip_writes_failing{lane="claims"} 0',
    "extip_services_waiting 0",
    'extip_pool_addresses{pool="edge",state="free"} 11',
    'extip_pool_addresses{pool="edge",state="used"} 89',
    'up{job="extip-system/extip"} 1',
    'up{job="of-another-program"} 0',
    "extip_scheduler_drift_total 0+0x20",
]
"""A cluster in which all is well."""


def exported():
    """Return each metric with its labels, under the names that a query may have."""
    return {
        f"{family.name}{suffix}": family
        for family in Metrics("test").registry.collect()
        for suffix in {"counter": ("_total",), "histogram": ("_bucket", "_count")}.get(
            family.type, ("",)
        )
    }


def labels_of():
    """Return the labels of each metric as it is declared; those of a histogram have `le`, too."""
    registry: Any = Metrics("test").registry
    return {
        name: set(collector._labelnames)
        for collector, names in registry._collector_to_names.items()
        for name in names
    }


def test_every_metric_in_rules_and_dashboard_is_exported():
    named = {name for expression in EXPRESSIONS for name in METRIC.findall(expression)}
    assert len(named) > 15
    assert named <= exported().keys()


def test_every_label_that_is_asked_for_is_one_of_the_metric():
    known = labels_of()
    for expression in EXPRESSIONS:
        for metric, selector in SELECTED.findall(expression):
            assert set(re.findall(r"(\w+)=", selector)) <= known[metric], expression


def test_no_metric_has_a_label_for_each_ip():
    grow = {"address", "ip", "cidr", "claim", "service", "client"}
    assert {label for labels in labels_of().values() for label in labels} & grow == set()


@pytest.mark.parametrize("alert", ALERTS)
def test_every_alert_has_its_section_in_the_runbook(alert):
    annotations = ALERTS[alert]["annotations"]
    assert annotations["runbook"] == f"docs/runbook.md#{alert.lower()}"
    assert f"\n## {alert}\n" in text_of(RUNBOOK)
    assert annotations["summary"].endswith(".")
    assert ALERTS[alert]["labels"]["severity"] in ("critical", "warning", "info")


def test_the_runbook_has_no_alert_that_does_not_exist():
    assert set(re.findall(r"^## (Extip\w+)$", text_of(RUNBOOK), re.MULTILINE)) == set(ALERTS)


def promtool(*arguments):
    program = find_tool("promtool")
    assert program is not None, "no promtool: `make setup` installs it"
    return subprocess.run(
        [program, *map(str, arguments)], capture_output=True, text=True, check=False, timeout=60
    )


@pytest.fixture
def rules(tmp_path):
    path = tmp_path / "rules.yaml"
    path.write_text(yaml.safe_dump({"groups": [RULES]}))
    return path


def test_promtool_takes_the_rules(rules):
    done = promtool("check", "rules", "--lint=all", "--lint-fatal", rules)
    assert done.returncode == 0, done.stdout + done.stderr


def test_promtool_takes_every_query_of_the_dashboard(tmp_path):
    recorded = [{"record": f"panel:{n}", "expr": query} for n, query in enumerate(QUERIES)]
    path = tmp_path / "queries.yaml"
    path.write_text(yaml.safe_dump({"groups": [{"name": "dashboard", "rules": recorded}]}))
    done = promtool("check", "rules", path)
    assert done.returncode == 0, done.stdout + done.stderr


def series(lines):
    """Return lines of metrics as input series: those with one value keep it for 20 minutes."""
    for line in lines:
        end = line.find("}") + 1 or line.index(" ")
        name, values = line[:end], line[end + 1 :]
        yield {"series": name, "values": f"{values}x20" if values.isdecimal() else values}


def fired(rules, lines, minutes, alerts):
    """Return promtool's verdict: whether just these alerts have fired then."""
    expected = [
        {"eval_time": f"{minutes}m", "alertname": alert, "exp_alerts": []}
        for alert in ALERTS
        if alert not in alerts
    ]
    counted = [
        {
            "expr": f'count(ALERTS{{alertname="{alert}",alertstate="firing"}})',
            "eval_time": f"{minutes}m",
            "exp_samples": [{"labels": "{}", "value": 1}],
        }
        for alert in alerts
    ]
    test = {
        "interval": "1m",
        "input_series": list(series(lines)),
        "alert_rule_test": expected,
        "promql_expr_test": counted,
    }
    path = rules.with_name("test.yaml")
    path.write_text(
        yaml.safe_dump({"rule_files": [str(rules)], "evaluation_interval": "1m", "tests": [test]})
    )
    return promtool("test", "rules", path)


def test_all_alerts_are_silent_while_all_is_well(rules):
    done = fired(rules, QUIET, 20, [])
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("alert", ALERTS)
def test_each_alert_fires_alone(rules, alert):
    lines, minutes = FIRING[alert]
    done = fired(rules, lines, minutes, [alert])
    assert done.returncode == 0, done.stdout + done.stderr


OF_A_TEAM = [
    'extip_build_info{mode="controller"} 1',
    'leader_election_master_status{name="extip-scheduler-a",pod="a"} 1',
]
"""A cluster with two instances (`--instance`); the schedulers of one are not listed."""


@pytest.mark.parametrize(
    ("others", "alerts"),
    [
        ([], []),
        (["1"], []),
        (["0", "0"], ["ExtipNoLeader"]),
        (["1", "1"], ["ExtipSeveralLeaders"]),
    ],
)
def test_each_instance_has_a_leader_of_its_own(rules, others, alerts):
    lease = "extip-scheduler-b"
    lines = [
        f'leader_election_master_status{{name="{lease}",pod="{number}"}} {leads}'
        for number, leads in enumerate(others)
    ]
    done = fired(rules, [*OF_A_TEAM, *lines], 2, alerts)
    assert done.returncode == 0, done.stdout + done.stderr


def test_without_any_scheduler_nobody_leads(rules):
    done = fired(rules, ['extip_build_info{mode="controller"} 1'], 2, ["ExtipNoLeader"])
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_monitor_finds_the_ports_of_all_pods(tmp_path):
    """Of the nodes' own that of `extip manifests --metrics-allow-cidr`, of schedulers their one."""
    built = build(FOLDER)
    (monitor,) = (one for one in built if one["kind"] == "PodMonitor")
    (policy,) = (one for one in built if one["kind"] == "NetworkPolicy")
    (scheduler,) = (w for w in workloads(MANIFESTS / "claims") if w.command == "scheduler")
    pods = scheduler.manifest["spec"]["template"]["metadata"]["labels"]
    assert monitor["spec"]["selector"]["matchLabels"].items() <= pods.items()
    assert policy["spec"]["podSelector"]["matchLabels"].items() <= pods.items()
    assert (
        monitor["metadata"]["namespace"] == policy["metadata"]["namespace"] == scheduler.namespace
    )
    (port,) = scheduler.container["ports"]
    ((allowed,),) = (rule["ports"] for rule in policy["spec"]["ingress"])
    assert port["name"] == allowed["port"]
    ports = [endpoint["port"] for endpoint in monitor["spec"]["podMetricsEndpoints"]]
    assert ports == ["metrics", port["name"]]
