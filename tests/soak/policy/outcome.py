"""The outcome of a soak, as the report shows it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from tests.soak.policy.resources import Usage
from tests.soak.policy.verdict import Judged
from tests.soak.policy.windows import Holding, Span


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """A fault or a change, in the row of its target."""

    row: str
    what: str
    begin_s: float
    end_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """All that a soak did and saw; times are those of `time.monotonic`."""

    seed: int
    chaos_s: float
    began_s: float
    ended_s: float
    failures: tuple[str, ...]
    """All that is wrong but for outages and doubled IPs."""
    judged: tuple[Judged, ...]
    usages: tuple[Usage, ...]
    warnings: Mapping[str, int]
    faults: tuple[Bar, ...]
    changes: tuple[Bar, ...]
    """Changes by people, each in the row of its subject."""
    wanted: Mapping[str, Sequence[Span]]
    answered: Mapping[str, Sequence[Holding]]
    stalls: tuple[Span, ...]
    told: Mapping[Judged, Sequence[str]] = field(default_factory=dict)
    """What programs logged around each outage that is not explained."""

    @property
    def unexplained(self) -> tuple[Judged, ...]:
        return tuple(one for one in self.judged if not one.ok)

    @property
    def ok(self) -> bool:
        return not self.failures and not self.unexplained
