"""A token is reviewed as seldom as is right, and an API server that is away lets nobody new in."""

import asyncio
from typing import Any, cast

import msgspec

from extip.clock import LoopClock
from extip.errors import ApiAccessError, ApiUnavailableError, InvalidRequestError
from extip.kube.client import ApiClient, Transport
from extip.scrapes.policy import FRESH_S, KEPT_S, MAX_TOKENS, REFUSED_S, Review, Verdict
from extip.scrapes.reviewer import (
    BURST,
    RETRY_S,
    REVIEW_S,
    REVIEWS_PER_S,
    TokenReviewer,
)
from tests.fakes.recorder import RecordingLogger
from tests.fakes.virtual_time import virtually

READER, STRANGER = "reader-token", "stranger-token"
USERS = {
    READER: "system:serviceaccount:monitoring:prometheus",
    STRANGER: "system:serviceaccount:default:default",
}
ALLOWED = Review(Verdict.ALLOWED, USERS[READER])
FORBIDDEN = Review(Verdict.FORBIDDEN, USERS[STRANGER])
UNKNOWN, UNREVIEWED = Review(Verdict.UNKNOWN), Review(Verdict.UNREVIEWED)
TOKENS = "/apis/authentication.k8s.io/v1/tokenreviews"
ACCESS = "/apis/authorization.k8s.io/v1/subjectaccessreviews"


class World:
    """A reviewer, and an API server that knows two accounts; one may read metrics."""

    def __init__(self) -> None:
        self.readers = {USERS[READER]}
        self.users = dict(USERS)
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self.fault: Exception | None = None
        self.hangs = False
        self.logger = RecordingLogger()
        client = ApiClient(cast("Transport", self))
        self.reviewer = TokenReviewer(client, clock=LoopClock(), logger=cast("Any", self.logger))

    async def read(self, request):
        body = msgspec.json.decode(request.body)
        self.asked.append((request.path, body))
        if self.hangs:
            await asyncio.get_running_loop().create_future()
        if self.fault is not None:
            raise self.fault
        spec = body["spec"]
        if request.path == TOKENS:
            user = self.users.get(spec["token"])
            account = {"username": user, "uid": "u1", "groups": ["g"], "extra": {"e": ["1"]}}
            known = {"authenticated": True, "user": account}
            return msgspec.json.encode({"status": known if user else {"error": "invalid"}})
        assert request.path == ACCESS
        return msgspec.json.encode({"status": {"allowed": spec["user"] in self.readers}})

    async def review(self, token):
        return await self.reviewer.review(token)

    def reviews(self):
        return [path for path, _ in self.asked].count(TOKENS)


@virtually
async def test_the_api_server_is_asked_whose_the_token_is_and_what_that_account_may():
    world = World()
    assert await world.review(READER) == ALLOWED
    assert world.asked == [
        (
            TOKENS,
            {
                "apiVersion": "authentication.k8s.io/v1",
                "kind": "TokenReview",
                "spec": {"token": READER},
            },
        ),
        (
            ACCESS,
            {
                "apiVersion": "authorization.k8s.io/v1",
                "kind": "SubjectAccessReview",
                "spec": {
                    "user": USERS[READER],
                    "uid": "u1",
                    "groups": ["g"],
                    "extra": {"e": ["1"]},
                    "nonResourceAttributes": {"path": "/metrics", "verb": "get"},
                },
            },
        ),
    ]


@virtually
async def test_who_may_not_is_told_from_whom_nobody_knows():
    world = World()
    assert await world.review(STRANGER) == FORBIDDEN
    assert await world.review("made-up") == UNKNOWN


@virtually
async def test_an_allowed_token_is_reviewed_once_in_a_while_and_then_may_be_withdrawn():
    world = World()
    for _ in range(10):
        assert await world.review(READER) == ALLOWED
    del world.users[READER]
    await asyncio.sleep(FRESH_S - 1)
    assert await world.review(READER) == ALLOWED
    assert world.reviews() == 1
    await asyncio.sleep(2)
    assert await world.review(READER) == UNKNOWN
    assert world.reviews() == 2


@virtually
async def test_a_role_that_is_granted_helps_soon():
    world = World()
    for _ in range(10):
        assert await world.review(STRANGER) == FORBIDDEN
    assert world.reviews() == 1
    world.readers.add(USERS[STRANGER])
    await asyncio.sleep(REFUSED_S + 1)
    assert await world.review(STRANGER) == Review(Verdict.ALLOWED, USERS[STRANGER])


@virtually
async def test_scrapes_at_the_same_time_are_one_review():
    world = World()
    assert set(await asyncio.gather(*(world.review(READER) for _ in range(10)))) == {ALLOWED}
    assert world.reviews() == 1


@virtually
async def test_while_the_api_server_is_away_a_token_that_it_allowed_counts_for_a_while():
    world = World()
    await world.review(READER)
    await world.review(STRANGER)
    await asyncio.sleep(FRESH_S + 1)
    world.fault = ApiUnavailableError("no answer")
    for token, expected in ((READER, ALLOWED), (STRANGER, UNREVIEWED), ("new", UNREVIEWED)):
        assert await world.review(token) == expected
    await asyncio.sleep(KEPT_S - FRESH_S - 2)
    assert await world.review(READER) == ALLOWED
    await asyncio.sleep(2)
    assert await world.review(READER) == UNREVIEWED
    world.fault = None
    await asyncio.sleep(RETRY_S)
    assert await world.review(READER) == ALLOWED


@virtually
async def test_a_token_that_was_withdrawn_does_not_count_when_the_api_server_goes_away():
    world = World()
    await world.review(READER)
    await asyncio.sleep(FRESH_S + 1)
    del world.users[READER]
    assert await world.review(READER) == UNKNOWN
    world.fault = ApiUnavailableError("no answer")
    await asyncio.sleep(REFUSED_S + 1)
    assert await world.review(READER) == UNREVIEWED


@virtually
async def test_an_api_server_that_hangs_keeps_a_scraper_waiting_once_and_not_for_long():
    world = World()
    await world.review(READER)
    await asyncio.sleep(FRESH_S + 1)
    world.hangs = True
    began = asyncio.get_running_loop().time()
    assert await world.review(READER) == ALLOWED
    assert await world.review(READER) == ALLOWED
    assert await world.review("new") == UNREVIEWED
    assert asyncio.get_running_loop().time() - began < REVIEW_S + 0.5
    assert world.reviews() == 2


@virtually
async def test_a_failure_is_logged_once_with_its_reason_and_so_is_its_end():
    world = World()
    world.fault = ApiAccessError("may not create tokenreviews", request="create tokenreviews")
    for _ in range(3):
        assert await world.review(READER) == UNREVIEWED
        await asyncio.sleep(RETRY_S + 1)
    world.fault = None
    assert await world.review(READER) == ALLOWED
    assert world.logger.events() == ["scrape_review_failed", "scrape_review_succeeded"]
    assert "may not create tokenreviews" in world.logger.said[0][2]["reason"]
    assert READER not in str(world.logger.said)


@virtually
async def test_a_token_that_no_server_takes_keeps_nobody_else_out():
    world = World()
    world.fault = InvalidRequestError("too long")
    assert await world.review("x" * 5000) == UNKNOWN
    world.fault = None
    assert await world.review(READER) == ALLOWED


@virtually
async def test_made_up_tokens_are_reviewed_at_a_bounded_rate_and_displace_nobody():
    world = World()
    await world.review(READER)
    await asyncio.sleep(FRESH_S - 1)
    before = world.reviews()
    for number in range(3 * MAX_TOKENS):
        assert (await world.review(f"made-up-{number}")) in (UNKNOWN, UNREVIEWED)
    assert world.reviews() - before <= BURST
    await asyncio.sleep(2)
    for number in range(3 * MAX_TOKENS):
        await world.review(f"more-{number}")
    assert await world.review(READER) == ALLOWED


@virtually
async def test_made_up_tokens_put_off_no_review_of_one_that_was_allowed():
    world = World()
    await world.review(READER)
    for second in range(round(2 * KEPT_S)):
        for number in range(2 * int(REVIEWS_PER_S)):
            await world.review(f"made-up-{second}-{number}")
        assert await world.review(READER) == ALLOWED
        await asyncio.sleep(1)
    del world.users[READER]
    for number in range(round(FRESH_S) + 1):
        for _ in range(2 * int(REVIEWS_PER_S)):
            await world.review(f"more-{number}")
        await asyncio.sleep(1)
    assert await world.review(READER) == UNKNOWN


@virtually
async def test_answers_that_are_kept_are_few_and_hold_no_token():
    world = World()
    for number in range(3 * MAX_TOKENS):
        token = f"reader-{number}"
        world.users[token] = USERS[READER]
        assert await world.review(token) == ALLOWED
        await asyncio.sleep(0.5)
    kept = world.reviewer._answers._allowed
    assert len(kept) == MAX_TOKENS
    assert "reader-" not in str(kept).replace(USERS[READER], "")
