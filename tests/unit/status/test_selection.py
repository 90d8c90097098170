"""Words of a person, and the rows that they are about."""

import pytest

from extip.status.policy.selection import select
from extip.status.policy.table import ClaimRow, ClaimState, NodeRow


def ip_row(ip="10.0.0.2", node="n1", services=("shop/web",), state=ClaimState.UP, **more):
    return ClaimRow(
        ip=ip,
        node=node,
        state=state,
        since=more.pop("since", ""),
        services=services,
        why="",
        **more,
    )


def node_row(name, state="ready", **more):
    return NodeRow(node=name, state=state, heartbeat="", claims=0, why=more.pop("why", ""), **more)


@pytest.mark.parametrize(
    ("word", "ip", "known"),
    [
        ("10.0.0.2", "10.0.0.2", True),
        ("10.0.0.2/24", "10.0.0.2", True),
        ("10.0.0.20", "10.0.0.2", False),
        ("fd00:0:0::0001", "fd00::1", True),
        ("FD00::1/128", "fd00::1", True),
        ("shop/web", "10.0.0.2", True),
        ("web", "10.0.0.2", True),
        ("we", "10.0.0.2", False),
        ("shop", "10.0.0.2", False),
        ("n1", "10.0.0.2", True),
        ("", "", False),
    ],
)
def test_an_ip_may_be_written_in_any_way(word, ip, known):
    row = ip_row(ip)
    found = select([word], "", [row, ip_row("10.9.9.9", "n9", ("a/b",))], [])
    assert found.ips == ((row,) if known else ())
    assert bool(found.unknown) is not known


def test_a_bare_name_is_a_service_where_one_only_has_it():
    rows = [ip_row("10.0.0.1"), ip_row("10.0.0.2", services=("bank/web",))]
    assert select(["web"], "", rows, []).unknown == ("web: there are several: bank/web, shop/web",)
    assert select(["web"], "bank", rows, []).ips == (rows[1],)
    named = select(["web"], "", rows, [node_row("web")])
    assert (named.unknown, named.nodes) == ((), (node_row("web"),))


def test_a_namespace_has_the_ips_of_its_services_and_their_nodes():
    rows = [ip_row("10.0.0.1"), ip_row("10.0.0.2", "n2", services=("bank/a", "shop/a"))]
    nodes = [node_row("n1"), node_row("n2"), node_row("n3")]
    found = select([], "bank", rows, nodes)
    assert (found.ips, found.nodes) == ((rows[1],), (nodes[1],))
    assert select([], "", rows, nodes).nodes == tuple(nodes)
    assert "in namespace bank" in select(["10.0.0.1"], "bank", rows, nodes).unknown[0]


def test_a_node_comes_with_its_ips():
    rows = [ip_row("10.0.0.1"), ip_row("10.0.0.2", "n2")]
    nodes = [node_row("n1"), node_row("n2"), node_row("n3")]
    found = select(["n2"], "", rows, nodes)
    assert (found.ips, found.nodes) == ((rows[1],), (nodes[1],))
    assert select(["n3"], "", rows, nodes).nodes == (nodes[2],)
