"""What people and other programs change: services, pools, nodes, endpoints, objects of extip."""

from random import Random

from extip.api.resources import IP_CLAIM_POOLS, IP_CLAIMS, IP_NODES, LEASES, NODES
from tests.simulation.cluster import NAMESPACE
from tests.simulation.faults.base import Fault, OfNode, Scene
from tests.simulation.world import World


class Change(Fault):
    """Is no fault; it excuses nothing."""

    harmless = True

    @property
    def touches(self) -> tuple[str, ...]:
        return ()


class ServiceAdded(Change):
    """A service with an IP of its own appears, and goes at the end."""

    weight = 2.0

    @classmethod
    def whom(cls, rng: Random, scene: Scene) -> tuple[str, ...]:
        number = rng.randint(20, 60)
        return (rng.choice(["default", "shop"]), f"more-{number}", f"10.88.1.{number}")

    def begin(self, world: World) -> None:
        namespace, name, ip = self.who
        world.users.add_service(name, ip, namespace=namespace)

    def end(self, world: World) -> None:
        namespace, name, _ = self.who
        world.users.remove_service(name, namespace=namespace)


class ServiceReplaced(Change):
    """A service is deleted, and made again within a moment, as ``kubectl replace --force`` does."""

    @classmethod
    def whom(cls, rng: Random, scene: Scene) -> tuple[str, ...]:
        return (f"web-{rng.randint(1, 6)}",)

    def begin(self, world: World) -> None:
        world.users.replace_service(self.who[0], after_s=0.2 + self.amount)


class BalancerAdded(Change):
    """A service asks for an address of the pool."""

    @classmethod
    def whom(cls, rng: Random, scene: Scene) -> tuple[str, ...]:
        return (f"pooled-{rng.randint(10, 40)}",)

    def begin(self, world: World) -> None:
        world.users.add_balancer(self.who[0])

    def end(self, world: World) -> None:
        world.users.remove_service(self.who[0])


class BalancersAdded(Change):
    """Several services ask for addresses of the pool at once, more than there are with others."""

    @classmethod
    def whom(cls, rng: Random, scene: Scene) -> tuple[str, ...]:
        return tuple(f"burst-{rng.randint(1, 30)}" for _ in range(rng.randint(4, 12)))

    def begin(self, world: World) -> None:
        for name in self.who:
            world.users.add_balancer(name)

    def end(self, world: World) -> None:
        for name in self.who:
            world.users.remove_service(name)


class EndpointsMoved(Change):
    """The pods of a service with local traffic policy go elsewhere."""

    of_simple = False

    @classmethod
    def whom(cls, rng: Random, scene: Scene) -> tuple[str, ...]:
        return tuple(sorted(rng.sample(scene.nodes, rng.randint(1, 2))))

    @property
    def touches(self) -> tuple[str, ...]:
        return ("endpoints",)

    def begin(self, world: World) -> None:
        world.alone = None  # it moves IPs by itself, also from a node that cannot hear of it
        world.users.place_endpoints(self.who)


class OfPool(Change):
    """Is about the pool, and may explain that a service gets another address."""

    @property
    def touches(self) -> tuple[str, ...]:
        return ("pool",)


class PoolResized(OfPool):
    """The pool has fewer addresses for a while."""

    weight = 0.5

    def begin(self, world: World) -> None:
        world.users.resize_pool(1 + int(8 * self.amount))

    def end(self, world: World) -> None:
        world.users.resize_pool(None)


class PoolGone(OfPool):
    """The pool is deleted, and made again."""

    weight = 0.3

    def begin(self, world: World) -> None:
        if world.api.all(IP_CLAIM_POOLS):
            world.api.delete(IP_CLAIM_POOLS, "pool")

    def end(self, world: World) -> None:
        world.users.add_pool()


_UNFIT = ("not-ready", "excluded", "tainted")


class NodePatched(OfNode):
    """The Kubernetes node says that it is not fit, and is fit again at the end."""

    of_simple = False

    @classmethod
    def whom(cls, rng: Random, scene: Scene) -> tuple[str, ...]:
        return (rng.choice(scene.nodes), rng.choice(_UNFIT))

    @property
    def touches(self) -> tuple[str, ...]:
        return self.who[:1]

    def begin(self, world: World) -> None:
        name, what = self.who
        if world.begins(what, name) and world.api.has(NODES, name):
            world.api.patch(NODES, name, _patch(what, on=True))

    def end(self, world: World) -> None:
        name, what = self.who
        if world.ends(what, name) and world.api.has(NODES, name):
            world.api.patch(NODES, name, _patch(what, on=False))


class Drained(OfNode):
    """A person drains the node, and lets the IPs come back."""

    of_simple = False

    def begin(self, world: World) -> None:
        if world.begins("drained", self.who[0]):
            self._patch(world, draining=True)

    def end(self, world: World) -> None:
        if world.ends("drained", self.who[0]):
            self._patch(world, draining=False)

    def _patch(self, world: World, *, draining: bool) -> None:
        if world.api.has(IP_NODES, self.who[0]):
            world.api.patch(IP_NODES, self.who[0], {"spec": {"draining": draining}})


class ClaimDeleted(Fault):
    """A person deletes claims by hand, one or all."""

    of_simple = False
    weight = 0.5

    def begin(self, world: World) -> None:
        if IP_CLAIMS.path() in world.api.collections:
            claims = world.api.all(IP_CLAIMS)
            for claim in claims if self.amount > 0.8 else claims[:1]:
                world.api.delete(IP_CLAIMS, claim["metadata"]["name"])


class RecordDeleted(OfNode):
    """A person deletes the IpNode of a node, or its Lease, or that of the leading scheduler."""

    of_simple = False
    weight = 0.5

    def begin(self, world: World) -> None:
        name, of_node = self.who[0], self.amount < 0.7
        lease = f"extip-node-{name}" if of_node else "extip-scheduler"
        if self.amount < 0.4 and world.api.has(IP_NODES, name):
            world.api.delete(IP_NODES, name)
        elif self.amount >= 0.4 and world.api.has(LEASES, lease, namespace=NAMESPACE):
            world.api.delete(LEASES, lease, namespace=NAMESPACE)


def undo_again(world: World) -> None:
    """Undo what people had undone before: an older state of the API server may have it again."""
    for name in world.nodes:
        if not world.held[("scaled", name)] and not world.api.has(NODES, name):
            world.add_to_api(name)
        for what in _UNFIT:
            if world.api.has(NODES, name) and not world.held[(what, name)]:
                world.api.patch(NODES, name, _patch(what, on=False))
        if world.api.has(IP_NODES, name) and not world.held[("drained", name)]:
            world.api.patch(IP_NODES, name, {"spec": {"draining": False}})


def _patch(what: str, *, on: bool) -> dict[str, object]:
    if what == "not-ready":
        ready = {"type": "Ready", "status": "False" if on else "True", "reason": "KubeletNotReady"}
        return {"status": {"conditions": [ready]}}
    if what == "excluded":
        label = "node.kubernetes.io/exclude-from-external-load-balancers"
        return {"metadata": {"labels": {label: "" if on else None}}}
    taint = {"key": "node.kubernetes.io/out-of-service", "effect": "NoExecute", "value": "x"}
    return {"spec": {"taints": [taint] if on else None}}


USERS = (
    ServiceAdded,
    ServiceReplaced,
    BalancerAdded,
    BalancersAdded,
    EndpointsMoved,
    PoolResized,
    PoolGone,
    NodePatched,
    Drained,
    ClaimDeleted,
    RecordDeleted,
)
