"""Holds components back until the API server serves extip's kinds."""

import asyncio
from random import Random

from extip import log
from extip.clock import Clock
from extip.definitions.install import Definitions
from extip.errors import FatalError
from extip.kube.client import ApiClient
from extip.supervisor import Component

_AGAIN_S = 2.0
"""Seconds between two looks for missing definitions."""


class DefinitionsGate:
    """Ensures the definitions once, and holds other components back until they are served."""

    def __init__(self, client: ApiClient, *, clock: Clock, rng: Random) -> None:
        self._clock = clock
        self._log = log.get_logger("definitions")
        self._definitions = Definitions(client, clock=clock, rng=rng)
        self._served = asyncio.Event()

    async def run(self) -> None:
        """Ensure the definitions. Raises FatalError with advice when this process may not."""
        await self._definitions.ensure()
        self._served.set()
        await asyncio.get_running_loop().create_future()  # until cancelled

    async def run_patiently(self) -> None:
        """Ensure the definitions; log the advice for a person until they exist."""
        said = ""
        while True:
            try:
                await self.run()
            except FatalError as error:
                if str(error) != said:
                    self._log.error("waiting_for_definitions", error=str(error))
                    said = str(error)
            await self._clock.sleep(_AGAIN_S)

    def before(self, *components: Component, patiently: bool) -> list[Component]:
        """Return what has to run: this, and `components` once our kinds are served.

        `patiently`: while this process may not create them it waits for a person, instead of
        failing.
        """
        run = self.run_patiently if patiently else self.run
        return [Component("definitions", run), *map(self.hold, components)]

    def hold(self, component: Component) -> Component:
        """Return the component, which begins when the kinds are served."""

        async def run() -> None:
            await self._served.wait()
            await component.run()

        return Component(component.name, run)
