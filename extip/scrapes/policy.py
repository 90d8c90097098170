"""How long an answer about a token counts. Pure."""

from dataclasses import dataclass, field
from enum import Enum

FRESH_S = 60.0
"""An allowed token is reviewed again after so long: a withdrawn one reads no longer."""

REFUSED_S = 10.0
"""A refused one is after so long: whoever mends a role sees that it helps."""

KEPT_S = 600.0
"""While the API server does not answer, a token that it has allowed counts for so long. Metrics are
needed most then."""

MAX_TOKENS = 64
"""Answers of each kind that are kept. Refused tokens can be made up, and displace no others."""


class Verdict(Enum):
    """Rights of a token."""

    ALLOWED = "allowed"
    UNKNOWN = "unknown"
    """It is nobody's."""
    FORBIDDEN = "forbidden"
    """It is somebody's who may not read metrics."""
    UNREVIEWED = "unreviewed"
    """The API server does not answer, and nothing is known of it."""


@dataclass(frozen=True, slots=True)
class Review:
    """An answer."""

    verdict: Verdict
    user: str = ""


UNREVIEWED = Review(Verdict.UNREVIEWED)

_Answers = dict[bytes, tuple[Review, float]]
"""Answers by tokens, the oldest first, each with its time."""


@dataclass(slots=True)
class Answers:
    """The last answers about tokens; a token stands for itself by its digest."""

    _allowed: _Answers = field(default_factory=dict)
    _refused: _Answers = field(default_factory=dict)

    def note(self, token: bytes, review: Review, now: float) -> None:
        """Keep an answer in place of a former one, and of the oldest when there are enough."""
        for answers in (self._allowed, self._refused):
            answers.pop(token, None)
        answers = self._allowed if review.verdict is Verdict.ALLOWED else self._refused
        if len(answers) >= MAX_TOKENS:
            del answers[next(iter(answers))]
        answers[token] = review, now

    def fresh(self, token: bytes, now: float) -> Review | None:
        """Return an answer that makes a review needless."""
        return _within(self._allowed, token, now - FRESH_S) or _within(
            self._refused, token, now - REFUSED_S
        )

    def kept(self, token: bytes, now: float) -> Review | None:
        """Return an answer that counts because no review is possible."""
        return _within(self._allowed, token, now - KEPT_S)


def _within(answers: _Answers, token: bytes, since: float) -> Review | None:
    review, at = answers.get(token, (None, 0.0))
    return review if review is not None and at >= since else None
