"""The mutations, by the part of extip that they change."""

from tests.mutants.catalogue import (
    addresses,
    cache,
    cost,
    election,
    failing_over,
    fencing,
    guard,
    liveness,
    manifests,
    pools,
    scheduling,
    silence,
    standbys,
    wire,
    writes,
)

MUTATIONS = (
    *fencing.MUTATIONS,
    *election.MUTATIONS,
    *liveness.MUTATIONS,
    *silence.MUTATIONS,
    *scheduling.MUTATIONS,
    *cost.MUTATIONS,
    *standbys.MUTATIONS,
    *failing_over.MUTATIONS,
    *writes.MUTATIONS,
    *pools.MUTATIONS,
    *guard.MUTATIONS,
    *addresses.MUTATIONS,
    *wire.MUTATIONS,
    *cache.MUTATIONS,
    *manifests.MUTATIONS,
)
