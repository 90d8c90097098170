"""Connections that fall silent: neither end is told, and new ones work as ever."""

import re
from collections.abc import Iterator
from contextlib import contextmanager

from tests.lab.api import PORT
from tests.lab.errors import LabError
from tests.lab.host import Host
from tests.lab.process import Process

_TABLE = "inet silence"


@contextmanager
def silenced(host: Host, process: Process) -> Iterator[None]:
    """Drop all packets of the connections to the API server that a process has by now.

    As after the death of one of several API servers, or of the load balancer before them: no FIN,
    no RST. Raises LabError when there is no such connection.
    """
    ports = _local_ports(host, process)
    if not ports:
        raise LabError(f"{process.name} has no connection to the API server")
    mine = "{ " + ", ".join(ports) + " }"
    rules = f"""\
table {_TABLE} {{
    chain out {{
        type filter hook output priority 0
        tcp dport {PORT} tcp sport {mine} drop
    }}
    chain in {{
        type filter hook input priority 0
        tcp sport {PORT} tcp dport {mine} drop
    }}
}}
"""
    host.run(["nft", "-f", "-"], stdin=rules)
    try:
        yield
    finally:
        host.run(["nft", "delete", "table", *_TABLE.split()])


def _local_ports(host: Host, process: Process) -> list[str]:
    listed = host.run(["ss", "-Htnp", "state", "established", "dport", "=", f":{PORT}"]).stdout
    mine = [line for line in listed.splitlines() if f"pid={process.inner_pid}," in line]
    return [found[1] for line in mine if (found := re.search(r":(\d+)\s", line))]
