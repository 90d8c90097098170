"""Ranges of addresses in a pool: their types, and the rules that the API server enforces."""

from typing import Annotated

from extip.api.schema import ATOMIC, IP, rule, says

MAX_RANGES = 256
"""Ranges of a network."""

_NUMBER = "(({} * 256 + {}) * 256 + {}) * 256 + {}".format(
    *(f"int(self[{{0}}].split('.')[{octet}])" for octet in range(4))
)
_IN_ORDER = rule(
    f"self.exists(ip, ip.contains(':')) || {_NUMBER.format(0)} <= {_NUMBER.format(1)}",
    "a range begins with its first address",
)
"""For IPv4 addresses only: the CEL of 1.25 cannot compare IPv6 addresses."""
OF_ONE_FAMILY = rule(
    "!has(self.ranges) || !has(self.cidr) || "
    "self.ranges.all(r, r.all(ip, ip.contains(':') == self.cidr.contains(':')))",
    "ranges are of the same IP version as cidr",
)
PlainRange = Annotated[
    tuple[Annotated[str, says(**IP)], ...],
    says("The first and the last address of a range.", minItems=2, maxItems=2, **ATOMIC),
]
"""Without a rule: servers limit the cost of rules, and those of nested lists count most."""

Range = Annotated[
    tuple[Annotated[str, says(**IP)], ...],
    says(
        "The first and the last address of a range.",
        minItems=2,
        maxItems=2,
        **ATOMIC,
        **_IN_ORDER,
    ),
]
