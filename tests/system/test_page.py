"""The page of `extip scheduler --ui`, in a real browser, while a node dies on a real cluster."""

import json

import pytest

from tests.lab.browser import Browser
from tests.lab.wait import wait_until
from tests.system.pooled_cluster import DUAL, LOAD_BALANCER, PooledCluster, pool

V4, V6 = "10.88.7.1", "fd00:88::7:1"
PORT = 9189
SUMMARY = 'document.getElementById("summary").textContent'
CELLS = """Object.fromEntries([...document.querySelectorAll(".column")].map(column =>
    [column.dataset.node, [...column.querySelectorAll(".cell:not([hidden])")]
        .map(cell => cell.textContent)]))"""


@pytest.fixture
def cluster(lab, namespace):
    """Three controllers, a scheduler with a page, and a pool of each family."""
    made = PooledCluster(lab, namespace)
    made.scheduler_flags = (*made.scheduler_flags, f"--ui=127.0.0.1:{PORT}")
    made.install()
    made.start()
    lab.apply(pool("v4", "10.88.7.0/25"))
    lab.apply(pool("v6", "fd00:88::7:0/112"))
    yield made
    made.end()
    made.clean_up()


def test_a_browser_sees_a_node_die(cluster, lab, tmp_path):
    cluster.add("web", **LOAD_BALANCER, **DUAL)
    cluster.wait_settled(V4, V6)
    before = cluster.placed()
    victim = before[V4]
    with Browser(lab.switch) as browser:
        browser.open(f"http://127.0.0.1:{PORT}/")
        browser.wait_for(f'{SUMMARY}.startsWith("2 of 2 IPs up")')
        for ip, node in before.items():
            assert ip in browser.evaluate(CELLS)[node]
        assert browser.evaluate('document.getElementById("no-moves").hidden') is False
        browser.screenshot(tmp_path / "before.png")

        cluster.controllers.pop(victim).process.kill()
        browser.wait_for(f"!({CELLS})[{json.dumps(victim)}].includes({json.dumps(V4)})")
        target = wait_until(lambda: cluster.placed()[V4] != victim and cluster.placed()[V4], "move")
        browser.wait_for(f"({CELLS})[{json.dumps(target)}].includes({json.dumps(V4)})")
        line = browser.wait_for('document.querySelector("#moves li")?.textContent')
        assert f"{victim} → {target}" in line
        assert "sent no heartbeat" in line or "silent" in line
        told = browser.wait_for('document.getElementById("told").textContent')  # a screen reader's
        assert f"{victim} → {target}" in told
        state = f"document.querySelector('[data-node=\"{victim}\"] .state').textContent"
        browser.wait_for(f"!{state}.startsWith('ready')")
        browser.screenshot(tmp_path / "after.png")

        # The keyboard alone: search, go there, and read why.
        browser.press("/")
        browser.type("web up")
        browser.wait_for('document.getElementById("found").textContent === "2 found"')
        browser.evaluate(
            f"[...document.querySelectorAll('.cell')].find(c => c.textContent === '{V4}').focus()"
        )
        browser.press("Enter", "\r")
        facts = browser.wait_for('document.getElementById("facts").textContent')
        assert f"Node{target}" in facts
        assert f"Before{victim}" in facts
        assert f"{cluster.namespace}/web" in facts
        assert ("button", f"{V4}: up, for {cluster.namespace}/web") in browser.accessible()
        browser.prefer(color_scheme="dark")
        browser.screenshot(tmp_path / "dark.png")


def test_the_page_lives_on_with_another_scheduler(cluster, lab):
    cluster.add("web", **LOAD_BALANCER)
    cluster.wait_settled(V4)
    connection = 'document.getElementById("connection").textContent'
    with Browser(lab.switch) as browser:
        browser.open(f"http://127.0.0.1:{PORT}/")
        browser.wait_for(f"{connection} === 'live' && {SUMMARY}.startsWith('1 of 1 IP up')")
        cluster.schedulers.pop().process.kill()
        browser.wait_for(f"{connection}.startsWith('connection lost')")
        browser.wait_for(f"{SUMMARY}.startsWith('1 of 1 IP up')")  # the last picture stays
        cluster.start_scheduler()
        browser.wait_for(f"{connection} === 'live'")
        cluster.add("more", **LOAD_BALANCER, port=81)
        browser.wait_for(f"{SUMMARY}.startsWith('2 of 2 IPs up')")
        assert len([cell for cells in browser.evaluate(CELLS).values() for cell in cells]) == 2
