"""The hosts that are no nodes: router, client, the client behind the router, observer."""

from tests.lab.anchor import Anchor
from tests.lab.host import Host
from tests.lab.network import (
    CLIENT,
    FAR_NETWORK_V4,
    FAR_NETWORK_V6,
    OBSERVER,
    QUIET,
    ROUTER,
    Port,
    Switch,
    forwarding,
    lan_mac,
    lan_v4,
    lan_v6,
)


class Outsiders:
    """Makes and connects them; none runs a program of the lab."""

    def __init__(self, anchor: Anchor, switch: Switch) -> None:
        self._anchor = anchor
        self._switch = switch
        self.router = Host(anchor, "router", QUIET | forwarding(on=True))
        self.client = Host(anchor, "client", QUIET)
        self.far_client = Host(anchor, "far", QUIET)
        self.observer = Host(anchor, "observer", QUIET)
        self.hosts = [self.router, self.client, self.far_client, self.observer]
        self._connect(self.router, ROUTER)
        self._connect(self.client, CLIENT)
        self._connect(self.observer, OBSERVER)
        self._connect_far_client()

    def add_router(self, number: int) -> Host:
        """Make another router on the LAN; what is behind the first one it reaches through that."""
        router = Host(self._anchor, f"router{number}", QUIET | forwarding(on=True))
        self._connect(router, number)
        return router

    def _connect(self, host: Host, number: int) -> None:
        port = Port(host=host.name, segment="lan", interface="eth0", mac=lan_mac(number))
        self._switch.plug([port])
        commands = [
            "link set lo up",
            "link set eth0 up",
            f"addr add {lan_v4(number)}/16 dev eth0",
            f"addr add {lan_v6(number)}/64 dev eth0",
        ]
        if host is not self.router:
            commands.append(f"route add default via {lan_v4(ROUTER)}")
            commands.append(f"route add default via {lan_v6(ROUTER)}")
        self._switch.batch(commands, host=host.name)

    def _connect_far_client(self) -> None:
        v4, v6 = FAR_NETWORK_V4.removesuffix("0/24"), FAR_NETWORK_V6.removesuffix("/64")
        self._switch.batch(["link add far0 netns router type veth peer name eth0 netns far"])
        self._switch.batch(
            [
                "link set lo up",
                "link set far0 up",
                f"addr add {v4}1/24 dev far0",
                f"addr add {v6}1/64 dev far0",
            ],
            host="router",
        )
        self._switch.batch(
            [
                "link set lo up",
                "link set eth0 up",
                f"addr add {v4}2/24 dev eth0",
                f"addr add {v6}2/64 dev eth0",
                f"route add default via {v4}1",
                f"route add default via {v6}1",
            ],
            host="far",
        )
