"""A scheduler's world whose services a person migrates, one write at a time."""

import msgspec

from extip.api.whole_service import WholeService
from extip.migrate.policy.plan import Cluster, Planner, Wish
from extip.migrate.policy.steps import (
    Step,
    begin_patch,
    finish_patch,
    next_step,
    note_of,
    undo_patch,
)
from tests.unit.pools.allocation_world import World, on_the_wire


class MigrationWorld(World):
    """Each write is followed by passes, and all that is shown is claimed in between."""

    def whole(self, name):
        encoded = msgspec.json.encode(self.services[name])
        return msgspec.json.decode(encoded, type=WholeService)

    def note(self, name):
        found = note_of(self.whole(name))
        assert found is not None
        return found

    def take_step(self, name):
        """Do the next step of a service, as `--apply` does; return it."""
        service = self.whole(name)
        step = next_step(service, self.lb_class)
        if step is Step.BEGIN:
            self.change(name, on_the_wire(begin_patch(service, self.lb_class)))
        elif step is Step.FINISH:
            self.change(name, on_the_wire(finish_patch(service)))
        return step

    def take_back(self, name):
        self.change(name, on_the_wire(undo_patch(self.whole(name), self.note(name))))

    def plans(self, *names, version=(1, 30), nobody_gives="", **wish):
        cluster = Cluster(
            services=tuple(map(self.whole, self.services)),
            claims=tuple(self.claims.values()),
            pools=tuple(self.pools.values()),
            namespaces=self.namespaces,
            version=version,
            nobody_gives=nobody_gives,
        )
        chosen = [self.whole(name) for name in names or self.services]
        return Planner(cluster, chosen, Wish(lb_class=self.lb_class, **wish)).plan()

    def plan_of(self, name, **more):
        (found,) = self.plans(name, **more)
        return found
