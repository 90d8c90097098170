"""The invariants notice what breaks them."""

from dataclasses import dataclass

from extip.api.core_v1 import Namespace
from extip.api.meta_v1 import ObjectMeta
from extip.api.resources import IP_CLAIMS
from extip.cache.store import Store
from tests.simulation.faults import Fault
from tests.simulation.history import History, play
from tests.simulation.memory import remembered
from tests.simulation.world import World

BALANCES = (("rebalance_after_s", 5.0),)


@dataclass(frozen=True)
class Moved(Fault):
    """Somebody has an IP moved to the next node, or with `amount` all to the same one."""

    harmless = True
    touches = ()

    def begin(self, world: World) -> None:
        name = f"{self.who[0].replace('.', '-')}-32"
        claim = world.api.collections[IP_CLAIMS.path()][("", name)]
        nodes = sorted(world.nodes)
        following = nodes[(nodes.index(claim["spec"]["nodeName"]) + 1) % len(nodes)]
        world.api.patch(IP_CLAIMS, name, {"spec": {"nodeName": "n5" if self.amount else following}})


@dataclass(frozen=True)
class NobodyDecides(Fault):
    """The schedulers are gone for good."""

    harmless = True

    def begin(self, world: World) -> None:
        for name in world.scheduler_hosts:
            world.kill(name)


@dataclass(frozen=True)
class EveryoneActs(Fault):
    """Each scheduler sends a write, whoever leads."""

    def begin(self, world: World) -> None:
        for name in world.scheduler_hosts:
            world.api.requests.append((world.now, name, "patch ipclaims 10-88-1-1-32"))


def broken(history: History) -> list[str]:
    return [violation.invariant for violation in play(history).violations]


def test_a_scheduler_that_writes_without_the_lease_is_noticed() -> None:
    assert broken(History(1, (EveryoneActs(40.0, 1.0),))) == ["OneLeaderActs"]


def test_a_move_that_does_not_even_the_load_out_is_noticed() -> None:
    history = History(1, (Moved(40.0, 1.0, ("10.88.1.1",)),), BALANCES)
    assert "NoNeedlessMove" in broken(history)


def test_an_uneven_load_at_rest_is_noticed() -> None:
    moved = tuple(Moved(51.0, 1.0, (f"10.88.1.{n}",), 1.0) for n in range(1, 8))
    assert "LoadIsEven" in broken(History(1, (NobodyDecides(50.0, 1.0), *moved), BALANCES))


def test_all_that_a_cache_keeps_is_counted() -> None:
    store: Store[Namespace] = Store()
    before = remembered(store)
    for number in range(100):
        store.put(Namespace(metadata=ObjectMeta(name=f"x{number}")))
    assert remembered(store) >= before + 100
