"""Whether the kernel of every node answers ARP requests for external IPs."""

from pathlib import Path

from extip.plan.reserved import IPVS_LINK

CONF = Path("/proc/sys/net/ipv4/conf")


def every_node_answers(iface: str, conf: Path = CONF) -> bool:
    """Return whether kube-proxy runs in ipvs mode here without ``--ipvs-strict-arp``.

    It binds every external IP to an interface of its own on all nodes, and a kernel answers on any
    interface for the addresses of all, unless ``arp_ignore`` forbids it (the greater value of that
    interface and of all counts). NDP knows no such thing. False when it cannot be read.
    """
    if not (conf / IPVS_LINK).exists():
        return False
    try:
        return all(int((conf / name / "arp_ignore").read_text()) == 0 for name in ("all", iface))
    except (OSError, ValueError):
        return False
