"""Claims mode when connections to the API server fall silent, while new ones work."""

import time

import pytest

from tests.lab.silence import silenced
from tests.lab.wait import wait_until
from tests.system.wire import watched

PODS_ON = ["n3"]
TRIO = [f"10.88.31.{n}" for n in (1, 2, 3)]
MORE = [f"10.88.31.{n}" for n in (11, 12, 13)]
BOUND_S = 40.0
"""Wide for a loaded machine, and half of what a watch may be silent for by itself."""


acknowledged = pytest.mark.parametrize(
    "acknowledged", [False, True], ids=["unheard", "acknowledged"]
)


@acknowledged
def test_a_node_that_dies_when_the_schedulers_connections_do_is_replaced(
    idle_cluster, lab, figures, acknowledged
):
    cluster = idle_cluster
    cluster.controller_flags, cluster.scheduler_flags = ("--hb=2s",), ("--monitor=4s",)
    scheduler = cluster.start_scheduler(host=lab.nodes["n3"])
    cluster.start_controllers()
    cluster.wait_alive(scheduler)
    lab.add_service("web", TRIO, namespace=cluster.namespace)
    cluster.wait_settled(*TRIO)
    at = {node: ip for ip, node in cluster.placed().items()}
    with (
        watched(lab, TRIO) as wire,
        silenced(lab.nodes["n3"], scheduler.process, acknowledged=acknowledged),
    ):
        died_s = time.monotonic()
        lab.nodes["n1"].die()
        wait_until(lambda: "n1" not in cluster.placed().values(), "the move", timeout=120.0)
        moved_s = time.monotonic() - died_s
        wire.wait_answers(at["n1"])
        lab.add_service("more", MORE, namespace=cluster.namespace)
        cluster.wait_settled(*TRIO, *MORE, timeout=BOUND_S)
    figures(wire, moved=moved_s)
    assert moved_s < BOUND_S
    assert wire.owners(at["n3"]) == {"n3"}


@acknowledged
def test_a_claim_comes_up_where_the_controllers_connections_fell_silent(
    cluster, lab, figures, acknowledged
):
    controller = cluster.controllers["n1"]
    lab.add_service("web", TRIO, namespace=cluster.namespace)
    cluster.wait_settled(*TRIO)
    with (
        watched(lab, TRIO) as wire,
        silenced(lab.nodes["n1"], controller.process, acknowledged=acknowledged),
    ):
        began_s = time.monotonic()
        lab.add_service("more", MORE, namespace=cluster.namespace)
        cluster.wait_settled(*TRIO, *MORE, timeout=120.0)
        settled_s = time.monotonic() - began_s
    figures(wire, settled=settled_s)
    assert settled_s < BOUND_S
    assert list(cluster.placed().values()).count("n1") == 2
