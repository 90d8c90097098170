"""The lab's addresses, and the switch that its hosts hang on.

The switch is the anchor's own network: a bridge `lan` for data and a bridge `management` with the
API server on it. Every port is a veth whose far end is an interface of a host. A cut drops the
port's frames by nftables, so that both ends keep their carrier, as a dead switch in between would.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from tests.lab.anchor import Anchor
from tests.lab.host import Host

Segment = Literal["lan", "management"]
Cut = Literal["cut", "mute", "deaf", "lossy"]
"""Which frames of a port are dropped: all, those from the host, those to it, each fourth or so."""

ROUTER, FIRST_NODE, CLIENT, OBSERVER = 1, 11, 100, 101
API_SERVER_IP = "10.89.0.1"
LAN_NETWORK_V4, LAN_NETWORK_V6 = "10.88.0.0/16", "fd00:88::/64"
POD_NETWORK_V4, POD_NETWORK_V6 = "10.244.0.0/16", "fd00:244::/32"
SERVICE_NETWORK_V4, SERVICE_NETWORK_V6 = "10.96.0.0/16", "fd00:96::/112"
FAR_NETWORK_V4, FAR_NETWORK_V6 = "10.99.0.0/24", "fd00:99::/64"

QUIET = {
    # A host answers ARP only for addresses of the interface that was asked, and asks from one of
    # them; otherwise every node would answer for an address on `lo`.
    "net/ipv4/conf/all/arp_ignore": "1",
    "net/ipv4/conf/all/arp_announce": "2",
    "net/ipv4/conf/all/rp_filter": "0",
    "net/ipv4/conf/default/rp_filter": "0",
    # Refusals must not look like drops.
    "net/ipv4/icmp_ratelimit": "0",
    "net/ipv6/icmp/ratelimit": "0",
    # Duplicate address detection costs a second for each link-local address.
    "net/ipv6/conf/all/accept_dad": "0",
    "net/ipv6/conf/default/accept_dad": "0",
    "net/ipv6/conf/all/accept_ra": "0",
    "net/ipv6/conf/default/accept_ra": "0",
    "net/ipv6/conf/all/disable_ipv6": "0",
    "net/ipv6/conf/default/disable_ipv6": "0",
}
SWITCH = QUIET | {
    "net/bridge/bridge-nf-call-iptables": "0",
    "net/bridge/bridge-nf-call-ip6tables": "0",
    "net/bridge/bridge-nf-call-arptables": "0",
}


def forwarding(*, on: bool) -> dict[str, str]:
    """Return the sysctls of a host that forwards, or does not, in both families."""
    value = "1" if on else "0"
    return {"net/ipv4/ip_forward": value, "net/ipv6/conf/all/forwarding": value}


def lan_v4(host: int) -> str:
    return f"10.88.0.{host}"


def lan_v6(host: int) -> str:
    return f"fd00:88::{host}"


def external_v4(number: int) -> str:
    """Return an address on the LAN that nothing in the lab uses, from 0."""
    return f"10.88.{1 + number // 250}.{1 + number % 250}"


def external_v6(number: int) -> str:
    """Return an IPv6 address on the LAN that nothing in the lab uses, from 0."""
    return f"fd00:88::1:{number:x}"


def management_v4(host: int) -> str:
    return f"10.89.0.{host}"


def pod_v4(node: int) -> str:
    return f"10.244.{node}.2"


def pod_v6(node: int) -> str:
    return f"fd00:244:{node}::2"


def lan_mac(host: int) -> str:
    return f"02:88:00:00:00:{host:02x}"


def management_mac(host: int) -> str:
    return f"02:89:00:00:00:{host:02x}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Port:
    """A place on the switch and the interface that is plugged in there."""

    host: str
    segment: Segment
    interface: str
    mac: str

    @property
    def name(self) -> str:
        """The interface's name at the switch side."""
        return f"{self.host}-{'lan' if self.segment == 'lan' else 'mgmt'}"


_CUTS = """
table bridge lab {
  set cut { type ifname; }
  set mute { type ifname; }
  set deaf { type ifname; }
  set lossy { type ifname; }
  chain ingress {
    type filter hook prerouting priority -300
    iifname @cut drop
    iifname @mute drop
    iifname @lossy numgen random mod 100 < 25 drop
  }
  chain egress {
    type filter hook postrouting priority 300
    oifname @cut drop
    oifname @deaf drop
    oifname @lossy numgen random mod 100 < 25 drop
  }
}
"""


class Switch(Host):
    """The anchor's own network: both bridges, their ports, the API server's address."""

    def __init__(self, anchor: Anchor) -> None:
        super().__init__(anchor, "switch", SWITCH)
        self.once_cut: set[str] = set()
        """Names of ports that were cut, healed or not; whoever acts on it clears it."""
        bridge = "type bridge stp_state 0 forward_delay 0 mcast_snooping 0"
        self.batch(
            [
                "link set lo up",
                f"link add lan {bridge}",
                f"link add management {bridge}",
                "link set lan up",
                "link set management up",
                f"addr add {API_SERVER_IP}/24 dev management",
            ]
        )
        self.run(["nft", "-f", "-"], stdin=_CUTS)

    def batch(self, commands: Sequence[str], *, host: str | None = None) -> None:
        """Run `ip` commands in one go, in the switch or in a host by its name."""
        within = ["-n", host] if host else []
        self.run(["ip", *within, "-batch", "-"], stdin="\n".join(commands) + "\n")

    def plug(self, ports: Sequence[Port]) -> None:
        """Make the veths of ports, their far ends in their hosts."""
        commands = []
        for port in ports:
            far_end = f"{port.interface} address {port.mac} netns {port.host}"
            commands.append(f"link add {port.name} type veth peer name {far_end}")
            commands.append(f"link set {port.name} master {port.segment} up")
        self.batch(commands)

    def cut(self, *ports: Port, how: Cut = "cut") -> None:
        """Drop the ports' frames, by default in both directions; carrier stays."""
        self.once_cut.update(port.name for port in ports)
        self._change_cuts(["add"], ports, [how])

    def heal(self, *ports: Port) -> None:
        """Undo `cut`; a port that is not cut is no error."""
        # Adding first makes the deletion valid in any case; both are one transaction.
        self._change_cuts(["add", "delete"], ports, get_args(Cut))

    def _change_cuts(self, verbs: Sequence[str], ports: Sequence[Port], how: Sequence[Cut]) -> None:
        names = ", ".join(f'"{port.name}"' for port in ports)
        rules = [f"{verb} element bridge lab {cut} {{ {names} }}" for cut in how for verb in verbs]
        self.run(["nft", "-f", "-"], stdin="\n".join(rules) + "\n")

    def set_carrier(self, port: Port, *, up: bool) -> None:
        """Take the switch side of a port down or up: its interface loses or gains carrier."""
        self.run(["ip", "link", "set", port.name, "up" if up else "down"])
