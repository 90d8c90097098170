"""All that can go wrong, and all that people change meanwhile."""

from tests.simulation.faults.base import Fault
from tests.simulation.faults.kernel import KERNEL
from tests.simulation.faults.processes import PROCESSES
from tests.simulation.faults.programs import PROGRAMS
from tests.simulation.faults.server import SERVER
from tests.simulation.faults.users import USERS
from tests.simulation.faults.wire import WIRE

FAULTS: dict[str, type[Fault]] = {
    kind.__name__: kind for kind in (*PROCESSES, *SERVER, *WIRE, *KERNEL, *USERS, *PROGRAMS)
}

__all__ = ["FAULTS", "Fault"]
