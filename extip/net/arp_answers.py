"""Whether the kernel of every node answers ARP requests for external IPs."""

from pathlib import Path

from extip.net.interfaces import IPVS_LINK

CONF = Path("/proc/sys/net/ipv4/conf")


def every_node_answers(iface: str, conf: Path = CONF) -> bool:
    """Return whether kube-proxy runs in ipvs mode here without ``--ipvs-strict-arp``.

    In ipvs mode it binds every external IP to an interface of its own on all nodes. A kernel
    answers ARP requests on any interface for the addresses of all, unless ``arp_ignore`` forbids
    it. The greater value of the interface and of ``all`` counts. NDP has no such rule. Return False
    when the settings cannot be read.
    """
    if not (conf / IPVS_LINK).exists():
        return False
    try:
        return all(int((conf / name / "arp_ignore").read_text()) == 0 for name in ("all", iface))
    except (OSError, ValueError):
        return False
