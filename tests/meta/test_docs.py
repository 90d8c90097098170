"""README and the pages of docs/ agree with each other and with the program.

Links resolve, files that are named exist, flags and metrics are those of the program, and what a
new user is told to copy works.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

import click
import msgspec
import pytest
import yaml

import extip
from extip.api.ipcontroller_v1 import IpClaimPool
from extip.cli import COMMANDS, cli
from extip.metrics import Metrics
from extip.scheduling.policy.filters import Unfit
from extip.services.policy.refusal import Reason
from tests.meta import fields
from tests.meta.manifests import ROOT, workloads
from tests.meta.pages import PAGES, README, blocks, text_of

EACH = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)

MOST_LINES_OF_README = 200
LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
NAMED_FILE = re.compile(r"(?<![\w./-])(?:extip|tests|manifests|docs)/[\w./*-]*[\w*/]")
FLAG = re.compile(r"`(--[a-z][a-z0-9-]*)")
LOG_EVENT = re.compile(r"`([a-z]+(?:_[a-z]+)+)`")
RULE = re.compile(r"^\| `([A-Za-z]+)`.*\|$", re.MULTILINE)
LOADED = re.compile(r'<(?:script|img|iframe|link)\b[^>]+?(?:src|href)="([^"]+)"')
REASON = re.compile(
    r'(?:reason=|_down\(claim, |status, reason(?:, message)? = "\w+", )"([A-Z][A-Za-z]+)"'
)
METRIC = re.compile(r"`?\b(extip_[a-z_]+)\b")

NO_EVENTS = frozenset({"kubernetes_asyncio", "prometheus_client", "leader_election_master_status"})

OF_OTHERS = frozenset({"--help", "--ipvs-strict-arp", "--node-ip", "--validate"})
"""Flags of click, kubelet, kube-proxy and kubectl."""


def anchors(page: Path) -> set[str]:
    """Return the anchors of a page's headings, as the usual renderers make them."""
    headings = re.findall(r"^#+ (.+)$", text_of(page), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", one.lower()).replace(" ", "-") for one in headings}


def flags(command: str) -> set[str]:
    found = cli.get_command(click.Context(cli), command)
    assert found is not None
    commands = [found, *(found.commands.values() if isinstance(found, click.Group) else ())]
    params = [param for one in commands for param in one.params]
    return {name for param in params for name in param.opts if name.startswith("--")}


def test_readme_is_short_enough_to_be_read():
    assert text_of(README).count("\n") <= MOST_LINES_OF_README


@EACH
def test_every_link_leads_somewhere(page):
    for target in LINK.findall(text_of(page)):
        if "://" in target:
            continue
        path, _, anchor = target.partition("#")
        there = page.parent / path if path else page
        assert there.exists(), f"{page.name}: {target}"
        if anchor:
            assert anchor in anchors(there), f"{page.name}: {target}"


@EACH
def test_every_file_that_is_named_exists(page):
    for name in NAMED_FILE.findall(text_of(page)):
        assert list(ROOT.glob(name.rstrip("/"))), f"{page.name}: {name}"


def test_the_page_of_fields_is_made_from_the_definitions():
    assert text_of(fields.PAGE) == fields.page(), "run python -m tests.meta.fields"


def test_every_reason_of_an_event_or_a_refusal_is_explained():
    source = "".join(path.read_text() for path in (ROOT / "extip").rglob("*.py"))
    reasons = {*REASON.findall(source), *(reason.value for reason in Reason)} - {"Accepted"}
    told = text_of(ROOT / "docs/reasons.md") + text_of(ROOT / "docs/nodes.md")
    assert {reason for reason in reasons if f"`{reason}`" not in told} == set()


def test_the_site_can_be_made_and_loads_nothing_from_elsewhere(tmp_path):
    command = [sys.executable, "-m", "sphinx", "-qW", "-b", "html", "-d", tmp_path / "cache"]
    subprocess.run([*command, ROOT / "docs", tmp_path / "site"], check=True)
    for page in (tmp_path / "site").glob("*.html"):
        loaded = LOADED.findall(page.read_text())
        assert not [address for address in loaded if "//" in address]


def test_every_page_is_linked_from_readme():
    linked = {
        (ROOT / target.partition("#")[0]).resolve() for target in LINK.findall(text_of(README))
    }
    assert set(PAGES) - {README, ROOT / "docs/index.md"} <= linked


@EACH
def test_every_flag_that_is_named_is_one(page):
    known = set().union(*map(flags, COMMANDS)) | OF_OTHERS
    assert set(FLAG.findall(text_of(page))) <= known


def test_the_page_of_flags_names_every_flag():
    text = text_of(ROOT / "docs/flags.md")
    for command in COMMANDS:
        missing = {flag for flag in flags(command) if f"`{flag}" not in text}
        assert missing == set(), command


@EACH
def test_every_metric_that_is_named_is_exported(page):
    exported = {
        sample + suffix
        for family in Metrics("test").registry.collect()
        for sample in [family.name]
        for suffix in ("", "_total")
    }
    assert set(METRIC.findall(text_of(page))) <= exported


@EACH
def test_every_log_event_that_is_named_is_logged(page):
    source = "".join(path.read_text() for path in (ROOT / "extip").rglob("*.py"))
    events = set(LOG_EVENT.findall(text_of(page))) - set(METRIC.findall(text_of(page)))
    assert {event for event in events if f'"{event}"' not in source} <= NO_EVENTS


def test_the_page_of_nodes_has_every_rule_in_order():
    rules = RULE.findall(text_of(ROOT / "docs/nodes.md").partition("\n## ")[0])
    assert rules == [rule.value for rule in Unfit]


def test_the_page_of_metrics_has_every_metric_as_it_is_exported():
    rows = [
        f"| `{family.name}{'_total' if family.type == 'counter' else ''}` | {family.type} "
        f"| {family.documentation} |"
        for family in Metrics("test").registry.collect()
    ]
    assert text_of(ROOT / "docs/metrics.md").splitlines()[-len(rows) :] == rows


def test_the_folder_of_readme_works(tmp_path):
    (line,) = re.findall(r"(?m)^extip (manifests claims mine .+)$", text_of(README))
    command = [sys.executable, "-m", "extip", *line.split()]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    subprocess.run(command, cwd=tmp_path, env=environment, check=True, timeout=60)
    found = {workload.command: workload for workload in workloads(tmp_path / "mine")}
    assert {workload.container["image"] for workload in found.values()} == {
        f"registry.example/extip:{extip.__version__}"
    }
    assert "--iface=bond0" in found["controller"].flags
    assert "--mask=32" in found["scheduler"].flags
    assert "--allow-cidr=10.88.1.0/24" in found["scheduler"].flags


@EACH
def test_every_pool_that_is_shown_can_be_read(page):
    for block in blocks(page, "yaml"):
        for shown in yaml.safe_load_all(block):
            if shown.get("kind") == "IpClaimPool":
                pool = msgspec.convert(shown, IpClaimPool)
                assert pool.spec.cidrs
                assert set(shown["spec"]) <= set(msgspec.to_builtins(pool)["spec"])


def test_the_picture_names_packages_that_exist():
    picture = (ROOT / "docs/architecture.svg").read_text(encoding="utf-8")
    named = set(re.findall(r"\b([a-z]+)/(?=[\s,.;<)])", re.sub(r"</", "<", picture)))
    package = ROOT / "extip"
    known = {path.name for path in (*package.iterdir(), *(package / "addresses").iterdir())}
    assert "scheduling" in named
    assert named <= known
