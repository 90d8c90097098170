"""The invariants notice what breaks them."""

from dataclasses import dataclass

from extip.api.core_v1 import Namespace
from extip.api.meta_v1 import ObjectMeta
from extip.cache.store import Store
from tests.simulation.faults import Fault
from tests.simulation.history import History, play
from tests.simulation.memory import remembered
from tests.simulation.world import World


@dataclass(frozen=True)
class EveryoneActs(Fault):
    """Each scheduler sends a write, whoever leads."""

    def begin(self, world: World) -> None:
        for name in world.scheduler_hosts:
            world.api.requests.append((world.now, name, "patch ipclaims 10-88-1-1-32"))


def test_a_scheduler_that_writes_without_the_lease_is_noticed() -> None:
    (violation,) = play(History(1, (EveryoneActs(40.0, 1.0),))).violations
    assert violation.invariant == "OneLeaderActs"


def test_all_that_a_cache_keeps_is_counted() -> None:
    store: Store[Namespace] = Store()
    before = remembered(store)
    for number in range(100):
        store.put(Namespace(metadata=ObjectMeta(name=f"x{number}")))
    assert remembered(store) >= before + 100
