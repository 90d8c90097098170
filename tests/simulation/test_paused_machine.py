"""A virtual machine is paused, and its clock stands still: it notices by the API server's clock."""

import asyncio
from ipaddress import ip_address
from itertools import product
from random import Random

import pytest

from extip.api.resources import SERVICES
from tests.fakes import cluster_watch
from tests.fakes.hosts import ProcessClock, hosts_loop, run_hosts
from tests.fakes.world import later, now_s
from tests.simulation.world import World

NODES = ("n1", "n2", "n3")
IPS = [f"192.0.2.{100 + number}" for number in range(6)]
NOTICED_S = 4.0
"""A heartbeat and a reading, with the defaults, and time to spare."""


def holders(world: World, ip: str) -> list[str]:
    for node in world.nodes.values():
        node.kernel.expire()
    return [n for n, node in world.nodes.items() if node.kernel.has_ours(ip_address(ip))]


async def begin(world: World) -> None:
    for name in NODES:
        world.add_node(name)
        world.nodes[name].kernel.clock = ProcessClock(world.nodes[name].clock)
    world.add_scheduler("s1")
    for name in ("s1", *NODES):
        world.start(name)
    for number, ip in enumerate(IPS):
        ports = [{"port": 80, "protocol": "TCP"}]
        spec = {"externalIPs": [ip], "clusterIP": "10.96.0.10", "ports": ports}
        world.api.create(SERVICES, f"w{number}", namespace="default", spec=spec)
    await asyncio.sleep(60)


@pytest.mark.parametrize("on_api_loss", ["hold", "release"])
@pytest.mark.parametrize(("pause_s", "late_s"), [(12.0, 5.0), (60.0, 42.0), (60.0, 0.1)])
def test_a_paused_machine_lets_go_after_its_next_heartbeat_however_late_its_watches_are(
    monkeypatch: pytest.MonkeyPatch, on_api_loss: str, pause_s: float, late_s: float
) -> None:
    """TCP sends again what was lost after as long as the pause was."""
    deaf_until = [0.0]
    move = cluster_watch.Watch._move

    def move_later(watch: cluster_watch.Watch) -> None:
        if watch.who == "n1" and now_s() < deaf_until[0]:
            later(0.1, watch._move)
        else:
            move(watch)

    monkeypatch.setattr(cluster_watch.Watch, "_move", move_later)

    async def main() -> None:
        scheduler = {"rebalance_after_s": 0.0}
        flags: dict[str, object] = {"scheduler": scheduler, "on_api_loss": on_api_loss}
        world = World(Random(1), flags=flags)  # noqa: S311
        try:
            await begin(world)
            own = [ip for ip in IPS if holders(world, ip) == ["n1"]]
            assert own
            mine, life = world.nodes["n1"].mac, world.processes["n1"].life
            others = [world.nodes[n].mac for n in NODES[1:]] + [world.client.station]
            ways = [*product([mine], others), *product(others, [mine])]
            deaf_until[0] = now_s() + pause_s + late_s
            world.segment.block(ways)
            hosts_loop().pause(life)
            await asyncio.sleep(pause_s)
            assert all(set(holders(world, ip)) > {"n1"} for ip in own), (
                "its kernel stood still, too"
            )
            world.segment.unblock(ways)
            hosts_loop().resume(life)
            await asyncio.sleep(NOTICED_S)
            for _ in range(100):
                assert [len(holders(world, ip)) for ip in IPS] == [1] * len(IPS)
                await asyncio.sleep(0.5)
        finally:
            world.close()

    run_hosts(main())
