"""Nothing reads or writes our kinds before the API server serves them."""

import asyncio
from random import Random

from extip import log
from extip.clock import Clock
from extip.errors import FatalError
from extip.kube.client import ApiClient
from extip.kube.crds import Definitions
from extip.supervisor import Component

_AGAIN_S = 2.0
"""Between two looks whether somebody has made our kinds known to the API server."""

UNKNOWN = (
    "this cluster does not know extip's kinds: it runs in simple mode or not at all; "
    "`extip crds --apply` is the first step to claims mode"
)
"""For a person who asks about them."""


class DefinitionsGate:
    """Ensures the definitions once, and holds other components back until then."""

    def __init__(self, client: ApiClient, *, clock: Clock, rng: Random) -> None:
        self._clock = clock
        self._log = log.get_logger("definitions")
        self._definitions = Definitions(client, clock=clock, rng=rng)
        self._served = asyncio.Event()

    async def run(self) -> None:
        """Ensure the definitions; raises FatalError, which says what to run, when it may not."""
        await self._definitions.ensure()
        self._served.set()
        await asyncio.get_running_loop().create_future()  # until cancelled

    async def run_patiently(self) -> None:
        """Ensure the definitions; until they are there say what a person has to do."""
        said = ""
        while True:
            try:
                await self.run()
            except FatalError as error:
                if str(error) != said:
                    self._log.error("waiting_for_definitions", error=str(error))
                    said = str(error)
            await self._clock.sleep(_AGAIN_S)

    def hold(self, component: Component) -> Component:
        """Return the component, begun only once our kinds are served."""

        async def run() -> None:
            await self._served.wait()
            await component.run()

        return Component(component.name, run)
