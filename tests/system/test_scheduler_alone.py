"""A scheduler without --leader-elect: alone it acts, beside another one it does not."""

import time

from tests.lab.wait import wait_until
from tests.system.claims_cluster import IPS


def test_a_scheduler_without_election_beside_a_leader_writes_nothing_and_both_say_so(cluster, lab):
    (leader,) = cluster.schedulers
    lab.add_service("web", IPS[:3], namespace=cluster.namespace)
    cluster.wait_settled(*IPS[:3])
    before = {c["metadata"]["name"]: c["metadata"]["resourceVersion"] for c in cluster.claims()}
    changes = cluster.address_changes()

    stray = cluster.start_scheduler("--leader-elect=false", "--mask=24", "--nodefilter=first-alive")
    told = stray.wait_for_event("another_scheduler_active")
    refused = leader.wait_for_event("another_scheduler_refused")
    assert told["holder"] == leader.events("leadership_acquired")[0]["holder"]
    assert refused["holder"] == stray.events("started")[0]["identity"]
    time.sleep(3)
    found = {c["metadata"]["name"]: c["metadata"]["resourceVersion"] for c in cluster.claims()}
    assert set(found) == set(before)
    assert cluster.address_changes() == changes
    assert not stray.events("leadership_acquired")
    assert not leader.events("leadership_lost")
    assert stray.process.terminate() == 0
    assert not leader.events("leadership_lost")

    # One alone, after an orderly stop and after a kill.
    assert leader.process.terminate() == 0
    stopped_s = time.monotonic()
    alone = cluster.start_scheduler("--leader-elect=false", "--leader-elect-lease-duration=20s")
    alone.wait_for_event("leadership_acquired")
    took_s = time.monotonic() - stopped_s
    assert took_s < 15
    alone.process.kill()
    alone.process.wait()
    again = cluster.start_scheduler("--leader-elect=false")
    again.wait_for_event("leadership_acquired")
    assert not again.events("another_scheduler_active")
    lab.add_service("more", IPS[3:], namespace=cluster.namespace)
    wait_until(lambda: cluster.settled(*IPS), "all to be up")
    assert not again.events("another_scheduler_active")
