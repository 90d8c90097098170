"""A second LAN of a lab: a bridge, with an interface of every node and of the client on it."""

from collections.abc import Iterable

from tests.lab.cluster import Lab
from tests.lab.network import CLIENT, FIRST_NODE

NETWORK_V4, NETWORK_V6 = "10.90.0.0/16", "fd00:90::/64"
INTERFACE = "eth1"


def second_v4(number: int) -> str:
    """Return an address on the second LAN that nothing in the lab uses, from 1."""
    return f"10.90.3.{number}"


def second_v6(number: int) -> str:
    return f"fd00:90::3:{number:x}"


class SecondLan:
    """Its ports; it ends with the lab."""

    def __init__(self, lab: Lab) -> None:
        self._lab = lab
        lab.switch.batch(
            [
                "link add second type bridge stp_state 0 forward_delay 0 mcast_snooping 0",
                "link set second up",
            ]
        )
        for node in lab.nodes.values():
            self._plug(node.name, FIRST_NODE - 1 + node.number)
        self._plug(lab.client.name, CLIENT)

    def _plug(self, host: str, number: int) -> None:
        switch, port = self._lab.switch, self.port(host)
        far_end = f"{INTERFACE} address 02:90:00:00:00:{number:02x} netns {host}"
        switch.batch(
            [
                f"link add {port} type veth peer name {far_end}",
                f"link set {port} master second up",
            ]
        )
        addresses = (f"10.90.0.{number}/16", f"fd00:90::{number}/64")
        commands = [f"addr add {address} dev {INTERFACE}" for address in addresses]
        switch.batch([f"link set {INTERFACE} up", *commands], host=host)

    def port(self, host: str) -> str:
        """Return the name of a host's port."""
        return f"{host}-second"

    def cut(self, *hosts: str) -> None:
        """Drop the frames of these hosts' ports, as a dead switch in between; carrier stays."""
        self._change_cuts("add", hosts)

    def heal(self, *hosts: str) -> None:
        """Undo `cut`."""
        self._change_cuts("delete", hosts)

    def _change_cuts(self, verb: str, hosts: Iterable[str]) -> None:
        names = ", ".join(f'"{self.port(host)}"' for host in hosts)
        rule = f"{verb} element bridge lab cut {{ {names} }}\n"
        self._lab.switch.run(["nft", "-f", "-"], stdin=rule)

    def set_carrier(self, host: str, *, up: bool) -> None:
        """Take the switch side of a port down or up."""
        self._lab.switch.run(["ip", "link", "set", self.port(host), "up" if up else "down"])
