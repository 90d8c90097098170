"""What happens to a standby, or to the leader, while a node fails over by one write."""

from collections.abc import Iterable
from ipaddress import ip_interface
from typing import Any, ClassVar

from extip.api.resources import IP_CLAIM_POOLS, IP_CLAIMS, IP_NODES, LEASES, NODES
from extip.net.interfaces import IPAddress
from extip.scheduling.failovers import PATCHED_AFTER_S
from tests.fakes.api_faults import WEBHOOK_DOWN, Call, Hold, Rule
from tests.fakes.cluster_objects import Change
from tests.simulation.bounds import NO_CARRIER, ORDERED, Bound
from tests.simulation.courses import FOUND_S, Course
from tests.simulation.leading import LEASE
from tests.simulation.users import POOL
from tests.simulation.world import IFACE, World

_EDGE = {"edge": "yes"}


class Drained(Course):
    """A person drains the standby."""

    def upset(self) -> None:
        self._drain(draining=True)

    def mend(self) -> None:
        super().mend()
        self._drain(draining=False)

    def _drain(self, *, draining: bool) -> None:
        self.world.api.patch(IP_NODES, self.standby, {"spec": {"draining": draining}})


class Unplugged(Course):
    """The cable of the standby is pulled out."""

    of_standby = Bound(ORDERED.two_s, NO_CARRIER.nobody_s)

    def upset(self) -> None:
        self.world.unplug(self.standby)

    def mend(self) -> None:
        super().mend()
        self.world.plug_in(self.standby)


class Excluded(Course):
    """The Kubernetes node of the standby is excluded from load balancers."""

    label = "node.kubernetes.io/exclude-from-external-load-balancers"

    def upset(self) -> None:
        self._label("")

    def mend(self) -> None:
        super().mend()
        self._label(None)

    def _label(self, value: str | None) -> None:
        patch = {"metadata": {"labels": {self.label: value}}}
        self.world.api.patch(NODES, self.standby, patch)


class NotSelected(Course):
    """The standby is no node of the pool any more."""

    def prepare(self, world: World) -> None:
        world.api.patch(IP_CLAIM_POOLS, "pool", {"spec": {"nodeSelector": {"matchLabels": _EDGE}}})
        for name in world.nodes:
            world.api.patch(NODES, name, {"metadata": {"labels": _EDGE}})

    def suits(self, ip: IPAddress) -> bool:
        return ip in ip_interface(POOL).network

    def upset(self) -> None:
        self._select({"edge": None})

    def mend(self) -> None:
        super().mend()
        self._select(_EDGE)

    def _select(self, labels: dict[str, Any]) -> None:
        self.world.api.patch(NODES, self.standby, {"metadata": {"labels": labels}})


class OffSubnet(Course):
    """The standby loses its address in the subnet of the IPs.

    It says so of each claim that it had. So a slow write of the scheduler meets a conflict, and the
    next one, too.
    """

    writes = 3
    flags: ClassVar[tuple[tuple[str, object], ...]] = (("iface", "auto"),)
    of_standby = Unplugged.of_standby

    def prepare(self, world: World) -> None:
        for number, name in enumerate(world.nodes, 1):
            world.nodes[name].kernel.put(IFACE, _in_subnet(number))
            world.nodes[name].kernel.put(IFACE, ip_interface(f"fd00:88::2:{number}/64"))

    def suits(self, ip: IPAddress) -> bool:
        return super().suits(ip) and ip.version == 4  # it loses that subnet alone

    def upset(self) -> None:
        self._own("take")

    def mend(self) -> None:
        super().mend()
        self._own("put")

    def _own(self, how: str) -> None:
        number = 1 + list(self.world.nodes).index(self.standby)
        getattr(self.world.nodes[self.standby].kernel, how)(IFACE, _in_subnet(number))


class BothDie(Course):
    """The standby dies with the node, at most half a second before or after it.

    With `refused` no claim can be written before the death of the standby is found, too.
    """

    REFUSED_S = 0.6 + FOUND_S
    AGAIN_S = 6.0
    """A refused write is tried again within that time."""

    def __init__(self, seed: int, *, standby_first: bool, refused: bool) -> None:
        super().__init__(seed)
        self.standby_first, self.refused = standby_first, refused
        self.slow_s, self.after_s = self.rng.uniform(0, 0.5), self.rng.uniform(0, 0.5)
        if refused:
            self.slow_s = 0.0

    def begin(self, world: World) -> None:
        super().begin(world)
        if self.refused:
            schedulers, writes = frozenset(world.scheduler_hosts), frozenset({"patch"})
            rule = Rule(WEBHOOK_DOWN, schedulers, writes, frozenset({IP_CLAIMS.plural}))
            world.api.faults.rules.append(rule)
            world.later(self.REFUSED_S, world.api.faults.rules.clear)

    def strike(self) -> None:
        pair = (self.victim, self.standby)
        first, second = reversed(pair) if self.standby_first else pair
        self.upset_s = self.world.now
        self.world.power_off(first)
        self.world.later(self.after_s, self.world.power_off, second)

    def first_bounds(self) -> dict[IPAddress, Bound]:
        away_s = self.after_s + FOUND_S + PATCHED_AFTER_S + self.slow_s
        away_s += self.AGAIN_S if self.refused else 0.0
        lost = dict.fromkeys(self.of(self.victim, self.standby), Bound(ORDERED.two_s, away_s))
        return {ip: lost.get(ip, bound) for ip, bound in super().first_bounds().items()}

    @property
    def of_back(self) -> Bound:
        return Bound(ORDERED.two_s, FOUND_S)  # the standby had it for a moment

    def on_call(self, call: Call) -> None:
        if self.declares(call):
            self.declared.setdefault(call.name, self.world.now)

    def declares(self, call: Call) -> bool:
        return b'"failedOver":{' in call.sent and call.name in (self.victim, self.standby)

    def unfit(self) -> Iterable[IPAddress]:
        return ()

    def mend(self) -> None:
        super().mend()
        self.world.power_on(self.standby)


class TwoLeaders(Course):
    """The leader freezes when it has declared the death, and thaws as soon as another one leads.

    The API server takes its write at once, and then the second leader assigns. Or the write is held
    up until the old leader thaws, and both declare the death.
    """

    lasts_s = 32.0
    LED_S = 1.0
    """From the begin of a leadership until the IPs of dead nodes are up."""

    def __init__(self, seed: int, *, both: bool) -> None:
        super().__init__(seed)
        self.both, self.slow_s = both, 0.0
        self.after_s = self.rng.choice([0.0, self.rng.uniform(0.01, 0.3)])
        self.leader = self.next = ""
        self.thawed_s: float | None = None
        self._hold = Hold()

    def begin(self, world: World) -> None:
        (lease,) = [o for o in world.api.all(LEASES) if o["metadata"]["name"] == LEASE]
        self.leader = _holder(lease)
        world.api.on_change.append(self._on_change)
        world.touching((self.leader,), 1)
        super().begin(world)
        if self.both:
            of_leader, writes = frozenset({self.leader}), frozenset({"patch"})
            nodes = frozenset({IP_NODES.plural})
            world.api.faults.rules.append(
                Rule(self._hold, of_leader, writes, nodes, name=self.victim)
            )

    def end(self, world: World) -> None:
        super().end(world)
        world.touching((self.leader,), -1)

    def first_bounds(self) -> dict[IPAddress, Bound]:
        lost = self.of(self.victim) if self.both else ()  # away for as long as nobody leads
        return {ip: bound for ip, bound in super().first_bounds().items() if ip not in lost}

    def on_call(self, call: Call) -> None:
        if self.declares(call):
            self.declared.setdefault(call.who, self.world.now)
        if self.upset_s is None and call.who == self.leader and self.freezes_at(call):
            self.upset_s = self.world.now
            _freeze(self.world, self.leader)

    def unfit(self) -> Iterable[IPAddress]:
        return ()

    def freezes_at(self, call: Call) -> bool:
        """Whether the leader freezes when it has sent that."""
        return self.declares(call)

    def _on_change(self, change: Change) -> None:
        lease = change.after
        if lease is None or self.upset_s is None or self.next:
            return
        if change.collection != LEASES.path() or lease["metadata"]["name"] != LEASE:
            return
        if _holder(lease) not in ("", self.leader):
            self.next = _holder(lease)
            bound = Bound(ORDERED.two_s, self.LED_S)
            lost = self.of(self.victim) - self.world.local_ips
            self.bounds = dict.fromkeys(lost, bound) | self.bounds
            self.world.later(self.after_s, self._thaw)

    def _thaw(self) -> None:
        self.thawed_s = self.world.now
        _thaw(self.world, self.leader)
        self._hold.let_go()


def _freeze(world: World, name: str) -> None:
    if world.begins("frozen", name):
        world.freeze(name)


def _thaw(world: World, name: str) -> None:
    if world.ends("frozen", name):
        world.thaw(name)


def _holder(lease: dict[str, Any]) -> str:
    holder: str = lease["spec"].get("holderIdentity", "")
    return holder.partition("_")[0]


def _in_subnet(number: int) -> Any:
    return ip_interface(f"10.88.0.{200 + number}/16")
