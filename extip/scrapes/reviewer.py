"""Asks the API server whose a token is, and whether that account may read metrics.

That is a TokenReview and a SubjectAccessReview, as kube-rbac-proxy sends them. Tokens are neither
kept nor logged.
"""

import asyncio
import hashlib
from dataclasses import dataclass, field

from extip import log
from extip.api.authentication_v1 import TokenReview, TokenReviewSpec
from extip.api.authorization_v1 import (
    NonResourceAttributes,
    SubjectAccessReview,
    SubjectAccessReviewSpec,
)
from extip.api.resources import SUBJECT_ACCESS_REVIEWS, TOKEN_REVIEWS
from extip.clock import Clock
from extip.errors import ApiError, InvalidRequestError
from extip.kube.client import ApiClient
from extip.log import Logger
from extip.scrapes.policy import UNREVIEWED, Answers, Review, Verdict
from extip.token_bucket import TokenBucket

METRICS_PATH = "/metrics"
_VERB = "get"

REVIEW_S = 3.0
"""Bound on one review: a scraper waits for 10 s."""

RETRY_S = 5.0
"""After a failure no review is tried for so long: scrapes are answered at once meanwhile."""

REVIEWS_PER_S = 5.0
BURST = 20.0
"""Most reviews of new tokens a second, and at once. Whoever sends made-up ones keeps the API server
from little else. A token that it has allowed waits for none of them: there are few."""


def _bucket() -> TokenBucket:
    return TokenBucket(rate=REVIEWS_PER_S, burst=BURST, tokens=BURST)


@dataclass(slots=True)
class TokenReviewer:
    """Reviews one token at a time."""

    _client: ApiClient
    clock: Clock
    logger: Logger = field(default_factory=lambda: log.get_logger("scrapes"))
    _answers: Answers = field(default_factory=Answers)
    _asking: asyncio.Lock = field(default_factory=asyncio.Lock)
    _reviews: TokenBucket = field(default_factory=_bucket)
    _not_before: float = 0.0
    _failed: bool = False

    async def review(self, token: str) -> Review:
        """Return what the token may; from memory where that is fresh enough."""
        digest = hashlib.sha256(token.encode()).digest()
        known = self._answers.fresh(digest, self.clock.monotonic())
        if known is not None:
            return known
        async with self._asking:
            now = self.clock.monotonic()
            known = self._answers.fresh(digest, now)  # somebody else has asked
            kept = self._answers.kept(digest, now)
            if known is None and now >= self._not_before and (kept or self._reviews.take(now)):
                known = await self._asked(token)
                if known is not None:
                    self._answers.note(digest, known, now)
        return known or kept or UNREVIEWED

    async def _asked(self, token: str) -> Review | None:
        """Return the API server's answer; None when there is none."""
        try:
            async with asyncio.timeout(REVIEW_S):
                review = await self._ask(token)
        except InvalidRequestError:  # no token that a server could know
            return Review(Verdict.UNKNOWN)
        except (ApiError, TimeoutError) as error:
            self._not_before = self.clock.monotonic() + RETRY_S
            if not self._failed:
                reason = str(error) or f"no answer within {REVIEW_S:g} s"
                self.logger.warning("scrape_review_failed", reason=reason)
            self._failed = True
            return None
        if self._failed:
            self.logger.info("scrape_review_succeeded")
        self._failed = False
        return review

    async def _ask(self, token: str) -> Review:
        question = TokenReview(spec=TokenReviewSpec(token=token))
        answer = (await self._client.create(TOKEN_REVIEWS, question)).status
        if not answer.authenticated:
            return Review(Verdict.UNKNOWN)
        account = SubjectAccessReviewSpec(
            user=answer.user.username,
            uid=answer.user.uid,
            groups=answer.user.groups,
            extra=answer.user.extra,
            non_resource_attributes=NonResourceAttributes(path=METRICS_PATH, verb=_VERB),
        )
        access = await self._client.create(
            SUBJECT_ACCESS_REVIEWS, SubjectAccessReview(spec=account)
        )
        verdict = Verdict.ALLOWED if access.status.allowed else Verdict.FORBIDDEN
        return Review(verdict, answer.user.username)
