"""Neighbours are found anew when an address differs, and only then."""

from collections.abc import Callable
from ipaddress import ip_address, ip_interface
from typing import Any, cast

from extip.api.ipcontroller_v1 import IpNode, IpNodeStatus
from extip.api.meta_v1 import FullObjectMeta
from extip.api.node_link import NodeLink
from extip.cache.informer import Informer
from extip.cache.store import Store
from extip.uplink.neighbourhood import Neighbourhood

OWN = (ip_interface("10.0.0.1/24"),)
OTHER = (ip_interface("10.0.1.1/24"),)
N2, N3, ROUTER = (ip_address(f"10.0.0.{n}") for n in (2, 3, 254))


class Records:
    """The informer of IpNodes."""

    def __init__(self):
        self.store: Store[IpNode] = Store()
        self.has_synced = False
        self.handlers: list[Callable[[str], None]] = []
        self.neighbourhood = Neighbourhood("n1", cast("Informer[IpNode]", self))

    def add_handler(self, handler):
        self.handlers.append(handler)

    def put(self, name, *addresses, takes="", **status: Any):
        """Take a node with an interface for each comma in `addresses`."""
        texts = ",".join(addresses).split(",") if takes else [" ".join(addresses)]
        links = tuple(
            NodeLink(name=f"eth{number}", addresses=tuple(text.split()), up=True, takes=takes)
            for number, text in enumerate(texts)
        )
        self.store.put(
            IpNode(metadata=FullObjectMeta(name=name), status=IpNodeStatus(links=links, **status))
        )
        self.tell(name)

    def tell(self, name):
        self.has_synced = True
        for handler in self.handlers:
            handler(name)


def test_it_is_the_same_until_an_address_differs():
    records = Records()
    found = records.neighbourhood
    assert found.neighbours(OWN) is None
    records.put("n1", "10.0.0.1/24", gateways=("10.0.0.254",))
    records.put("n2", "10.0.0.2/24")
    before, ring = found.neighbours(OWN), found.ring(OWN)
    assert before == dict.fromkeys((N2, ROUTER), ip_address("10.0.0.1"))
    assert ring == {N2: "n2"}
    records.put("n2", "10.0.0.2/24", claims=7, silent=("n9",), gateways=("10.0.0.9",))
    assert found.neighbours(OWN) is before
    assert found.ring(OWN) is ring
    records.put("n3", "10.0.0.3/24")
    assert list(found.neighbours(OWN) or ()) == [N2, N3, ROUTER]
    assert found.ring(OWN) == {N2: "n2", N3: "n3"}
    records.store.discard("n2")
    records.tell("n2")
    assert list(found.neighbours(OWN) or ()) == [N3, ROUTER]


def test_it_follows_the_addresses_of_this_node_too():
    records = Records()
    found = records.neighbourhood
    records.put("n1", "10.0.0.1/24", gateways=("10.0.0.254",))
    records.put("n2", "10.0.0.2/24")
    assert list(found.neighbours(OWN) or ()) == [N2, ROUTER]
    assert found.neighbours(OTHER) == {}
    assert found.ring(OTHER) == {}
    records.put("n1", "10.0.0.1/24")
    assert list(found.neighbours(OWN) or ()) == [N2]


def test_another_nodes_other_interfaces_answer_and_only_its_first_one_is_watched():
    records = Records()
    found = records.neighbourhood
    records.put("n1", "10.0.0.1/24", "10.0.1.1/24", takes="Any")
    records.put("n2", "10.0.0.2/24", "10.0.1.2/24", takes="Any")
    records.put("n3", "10.0.1.3/24", "10.0.0.3/24", takes="Subnets")
    assert list(found.neighbours(OWN) or ()) == [N2, N3]
    assert found.ring(OWN) == {N2: "n2"}
    others = [ip_address("10.0.1.2"), ip_address("10.0.1.3")]
    assert list(found.neighbours(OTHER) or ()) == others
    assert found.ring(OTHER) == {others[1]: "n3"}
    before = found.neighbours(OWN), found.neighbours(OTHER)
    assert (found.neighbours(OWN), found.neighbours(OTHER)) == before
    assert found.neighbours(OWN) is before[0], "of each interface the same, in turn"
    records.put("n2", "10.0.0.2/24", "10.0.1.7/24", takes="Any")
    assert list(found.neighbours(OTHER) or ()) == [ip_address("10.0.1.7"), others[1]]
