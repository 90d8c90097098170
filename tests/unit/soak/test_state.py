"""A cluster at rest has every IP once, and nothing more."""

from dataclasses import replace

import pytest

from tests.soak.policy.state import State, unsettled

IP, OTHER = "10.88.4.1", "10.88.3.1"


AT_REST = State(
    wanted={IP: {"lb-0"}, OTHER: {"steady-0"}},
    claimed={IP: "n1", OTHER: "n2"},
    up={IP: {"n1"}, OTHER: {"n2"}},
    allocated={IP},
    pool={IP, "10.88.4.2"},
    nodes={"n1", "n2"},
)


def test_a_cluster_at_rest_is_settled():
    assert unsettled(AT_REST) == []


@pytest.mark.parametrize(
    ("differs", "told"),
    [
        ({"waiting": {"lb-1"}}, "lb-1 waits for an address"),
        ({"up": {IP: {"n1"}}}, f"{OTHER} is lost: claimed for n2, up nowhere"),
        (
            {"claimed": {IP: "n1"}, "up": {IP: {"n1"}}},
            f"{OTHER} is lost: steady-0 has it, and there is no claim",
        ),
        (
            {"claimed": {IP: "n1"}},
            f"address {OTHER} leaked: up on n2, and there is no claim",
        ),
        (
            {"claimed": {IP: "n1", OTHER: "n2", "10.88.3.9": "n3"}},
            "claim of 10.88.3.9 leaked: no service has it",
        ),
        ({"up": {IP: {"n1", "n2"}, OTHER: {"n2"}}}, f"{IP} is claimed for n1 and up on n1, n2"),
        ({"claimed": {IP: "n1", OTHER: "n1"}}, "uneven: n1 has 2, n2 has 0"),
        ({"allocated": {IP, "10.88.4.2"}}, "pool: 10.88.4.2 is given to nobody"),
        ({"allocated": set()}, f"pool: {IP} is not told as given"),
        (
            {"wanted": {IP: {"lb-0", "lb-1"}, OTHER: {"steady-0"}}},
            f"{IP} is given twice: to lb-0, lb-1",
        ),
    ],
)
def test_what_is_lost_leaked_or_double_is_told(differs, told):
    assert told in unsettled(replace(AT_REST, **differs))
