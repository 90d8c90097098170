"""An IP without endpoints goes down with `--without-endpoints withdraw`, and stays placed."""

from ipaddress import ip_interface

import pytest
from msgspec.structs import replace

from extip.claims.policy.claims import Delete
from extip.scheduling.policy.filters import NodeFacts, NodeLinkFacts
from extip.scheduling.policy.placement import Strategy
from extip.scheduling.policy.planner import plan_schedule
from extip.scheduling.policy.schedule import AssignClaim, CreateClaim, SetWithdrawn
from extip.scheduling.policy.snapshot import Snapshot
from extip.scheduling.policy.withdrawal import withdrawal_patch
from extip.services.policy.requests import Owner

INTERFACE = ip_interface("10.0.0.1/32")
WEB, DB = (Owner(kind="Service", namespace="shop", name=name, uid=name) for name in ("web", "db"))
LASTED, NEW = True, False


def cluster(alive=("n1", "n2"), **unready):
    nodes = tuple(
        NodeFacts(name=n, alive=n in alive, link="eth0", links={"eth0": NodeLinkFacts(up=True)})
        for n in ("n1", "n2")
    )
    return Snapshot(nodes=nodes, unready={f"shop/{name}": one for name, one in unready.items()})


def plan(claims, nodes, *, owners=(WEB,)):
    wanted = {INTERFACE: owners} if owners else {}
    return plan_schedule(wanted, claims, nodes, Strategy.FAIR).writes


def claim(*owners, withdrawn=False, **metadata):
    (created,) = plan([], cluster(), owners=owners or (WEB,))
    assert isinstance(created, CreateClaim)
    one = created.claim
    spec = replace(one.spec, withdrawn=withdrawn)
    return replace(one, spec=spec, metadata=replace(one.metadata, **metadata))


def test_it_goes_down_when_it_has_lasted_and_comes_back_at_once():
    up, down = claim(), claim(withdrawn=True)
    assert plan([up], cluster(web=NEW)) == ()
    assert plan([up], cluster(web=LASTED)) == (SetWithdrawn(up, withdrawn=True),)
    assert plan([down], cluster(web=LASTED)) == ()
    assert plan([down], cluster()) == (SetWithdrawn(down, withdrawn=False),)


def test_a_new_leader_leaves_it_down():
    """It does not know for how long the service has had no endpoint."""
    assert plan([claim(withdrawn=True)], cluster(web=NEW)) == ()


@pytest.mark.parametrize(
    ("unready", "down"),
    [({"web": LASTED}, False), ({"web": LASTED, "db": LASTED}, True), ({"db": LASTED}, False)],
)
def test_a_shared_ip_stays_while_one_of_its_services_answers(unready, down):
    shared = claim(DB, WEB)
    assert bool(plan([shared], cluster(**unready), owners=(DB, WEB))) is down


def test_it_moves_all_the_same_and_the_move_comes_first():
    one = claim()
    writes = plan([one], cluster(alive=["n2"], web=LASTED))
    assert [type(write) for write in writes] == [AssignClaim, SetWithdrawn]


def test_a_claim_that_goes_or_a_persons_is_left_alone():
    (write,) = plan([claim()], cluster(web=LASTED), owners=())
    assert isinstance(write, Delete)
    by_hand = claim(labels={"ipnode": "n1"})
    assert plan([by_hand], cluster(web=LASTED)) == ()


def test_the_patch_conflicts_with_a_change_and_leaves_no_false_behind():
    one = claim(resource_version="7")
    patches = [withdrawal_patch(SetWithdrawn(one, withdrawn=value)) for value in (True, False)]
    assert [patch["spec"] for patch in patches] == [{"withdrawn": True}, {"withdrawn": None}]
    assert all("'resourceVersion': '7'" in str(patch["metadata"]) for patch in patches)
