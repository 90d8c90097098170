"""The examples in the documentation are what a server takes, and what extip understands."""

import re
from functools import partial
from pathlib import Path

import pytest
import yaml

from tests.lab.wait import wait_until
from tests.system.pooled_cluster import PooledCluster

PAGE = Path(__file__).parents[2] / "docs/examples.md"
BLOCK = re.compile(r"```yaml\n(.*?)```", re.DOTALL)


@pytest.fixture
def cluster(lab, namespace):
    made = PooledCluster(lab, namespace)
    made.install()
    made.start()
    yield made
    made.end()
    made.clean_up()


def test_the_examples_of_the_documentation_work(cluster, lab):
    space = cluster.namespace
    lab.kubectl("label", "namespace", space, "edge=yes")
    lab.kubectl("label", "nodes", "--all", "lan=external")
    try:
        for document in (d for text in BLOCK.findall(PAGE.read_text()) for d in text.split("---")):
            item = yaml.safe_load(document)
            if item["kind"] == "Service":
                item["metadata"]["namespace"] = space
                item["spec"]["selector"] = {"app": "backend"}
                for port in item["spec"]["ports"]:
                    port["targetPort"] = 8080
            lab.apply(item)
        wait_until(lambda: len(cluster.ingress("shop")) == 2, "both addresses")
        cluster.wait_ingress("mail", "10.88.1.110")
        wait_until(lambda: cluster.ingress("dns-udp"), "an address")
        cluster.wait_ingress("dns-tcp", *cluster.ingress("dns-udp"))
        wait_until(lambda: cluster.up().get("10.88.1.20") == {"n1"}, "the claim's IP on its node")
        for ip, port in (("10.88.1.110", 25), ("10.88.1.10", 80), ("fd00:88::1:10", 80)):
            wait_until(partial(answers, lab, ip, port), f"an answer of {ip}")
    finally:
        lab.kubectl("label", "nodes", "--all", "lan-")


def answers(lab, ip, port):
    try:
        return lab.client.http_get(ip, port, timeout=0.5) in lab.nodes
    except OSError:
        return False
