"""Connections that fall silent: neither end is told, and new ones work as ever."""

import re
from collections.abc import Iterator
from contextlib import contextmanager

from tests.lab.api import PORT
from tests.lab.errors import LabError
from tests.lab.host import Host
from tests.lab.process import Process

_TABLE = "inet silence"

_BARE_B = 80
"""Longest packet that is taken for a bare acknowledgement: headers with all options that occur."""


@contextmanager
def silenced(
    host: Host, process: Process, *, acknowledged: bool = False, port: int = PORT
) -> Iterator[None]:
    """Drop the packets of the connections to the API server that a process has by now.

    As after the death of one of several API servers, or of the load balancer before them: no FIN,
    no RST. With `acknowledged`, no more than the answers is lost: as with a load balancer whose
    server is dead behind it, the kernel sees a peer that lives. `port` is that of the API server,
    or of a proxy. Raises LabError when there is no such connection.
    """
    ports = _local_ports(host, process, port)
    if not ports:
        raise LabError(f"{process.name} has no connection to the API server")
    mine = "{ " + ", ".join(ports) + " }"
    outgoing = "accept" if acknowledged else "drop"
    carries_data = f"ip length > {_BARE_B}" if acknowledged else ""
    rules = f"""\
table {_TABLE} {{
    chain out {{
        type filter hook output priority 0
        tcp dport {port} tcp sport {mine} {outgoing}
    }}
    chain in {{
        type filter hook input priority 0
        tcp sport {port} tcp dport {mine} {carries_data} drop
    }}
}}
"""
    host.run(["nft", "-f", "-"], stdin=rules)
    try:
        yield
    finally:
        host.run(["nft", "delete", "table", *_TABLE.split()])


def _local_ports(host: Host, process: Process, port: int) -> list[str]:
    listed = host.run(["ss", "-Htnp", "state", "established", "dport", "=", f":{port}"]).stdout
    mine = [line for line in listed.splitlines() if f"pid={process.inner_pid}," in line]
    return [found[1] for line in mine if (found := re.search(r":(\d+)\s", line))]
