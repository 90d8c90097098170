"""keepalived as Debian ships it: the baseline of fail-over."""

import shutil

from tests.lab.errors import LabError
from tests.lab.node import Node
from tests.lab.process import Process

_CONFIGURATION = """
global_defs {{
    router_id {node}
    vrrp_version 3
    vrrp_garp_master_refresh 0
}}
vrrp_instance bench {{
    state BACKUP
    nopreempt
    interface eth0
    virtual_router_id {router}
    priority {priority}
    advert_int {advert_s:g}
    virtual_ipaddress {{
        {ip}/32
    }}
}}
"""


def start(node: Node, ip: str, *, advert_s: float, router: int) -> Process:
    """Start it on a node, as a backup that becomes master when nobody else is.

    `router` is the number of the group that the nodes with the same IP are in. Whoever is master
    stays so: any node's death is a fail-over.
    """
    program = shutil.which("keepalived")
    if program is None:
        raise LabError("keepalived, the baseline of fail-over, is not here; see `make setup`")
    folder = f"/run/keepalived-{router}"
    text = _CONFIGURATION.format(
        node=node.name, router=router, priority=100 + node.number, advert_s=advert_s, ip=ip
    )
    node.write_file(f"{folder}/keepalived.conf", text)
    node.run(["sh", "-c", f"rm -f {folder}/*.pid"])
    command = [
        program,
        "--dont-fork",
        "--log-console",
        "--vrrp",
        f"--use-file={folder}/keepalived.conf",
    ]
    command += [f"--pid={folder}/parent.pid", f"--vrrp_pid={folder}/vrrp.pid"]
    return node.start(command, name=f"keepalived-{router}")
