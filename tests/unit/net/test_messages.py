"""What of pyroute2 is loaded, and that the rest of it still can be."""

import subprocess
import sys

PARTS = """
import sys
import extip.net.routes, extip.net.link_monitor
loaded = {name for name in sys.modules if name.startswith("pyroute2")}
assert len(loaded) < 40, sorted(loaded)
assert not loaded & {"pyroute2.ndb", "pyroute2.iproute", "pyroute2.netlink.nlsocket"}, loaded
from pyroute2.iproute import IPRoute
"""
WHOLE = """
import pyroute2
import extip.net.routes
assert pyroute2.IPRoute
"""


def test_no_more_of_the_library_is_loaded_than_its_messages() -> None:
    """All of it takes ten times the memory. Whoever wants the rest of it can still have it."""
    subprocess.run([sys.executable, "-c", PARTS], check=True)


def test_a_process_that_has_the_whole_library_keeps_it() -> None:
    subprocess.run([sys.executable, "-c", WHOLE], check=True)
