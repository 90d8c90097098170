"""Each refusal has its status, and says in one line what would help."""

from typing import Any, cast

import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request

from extip.scrapes.page import ReviewedPage
from extip.scrapes.policy import Review, Verdict

PROMETHEUS = "system:serviceaccount:monitoring:prometheus"


class Reviewer:
    def __init__(self, review: Review) -> None:
        self._review = review
        self.tokens: list[str] = []

    async def review(self, token: str) -> Review:
        self.tokens.append(token)
        return self._review


async def metrics(_request: web.BaseRequest) -> web.Response:
    return web.Response(text="metrics\n")


async def ask(
    header: str | None, verdict: Verdict = Verdict.ALLOWED
) -> tuple[web.Response, list[str]]:
    reviewer = Reviewer(Review(verdict, PROMETHEUS))
    headers = {} if header is None else {"Authorization": header}
    page = ReviewedPage(metrics, cast("Any", reviewer))
    return await page(make_mocked_request("GET", "/metrics", headers)), reviewer.tokens


@pytest.mark.parametrize("header", ["Bearer a.b-c_d~e+f/g==", "bearer  a.b-c_d~e+f/g== "])
async def test_an_allowed_token_gets_the_page(header):
    answer, tokens = await ask(header)
    assert (answer.status, answer.text) == (200, "metrics\n")
    assert tokens == ["a.b-c_d~e+f/g=="]


@pytest.mark.parametrize(
    "header", [None, "", "Bearer", "Bearer ", "Basic YTpi", "Bearer a b", 'Bearer "a"', "Bearer ä"]
)
async def test_what_is_no_bearer_token_is_not_reviewed(header):
    answer, tokens = await ask(header)
    assert (answer.status, tokens) == (401, [])
    assert answer.headers["WWW-Authenticate"] == "Bearer"


@pytest.mark.parametrize(
    ("verdict", "status", "said"),
    [
        (Verdict.UNKNOWN, 401, "does not know this token"),
        (Verdict.FORBIDDEN, 403, f"{PROMETHEUS} may not get /metrics: it needs a ClusterRole"),
        (Verdict.UNREVIEWED, 503, "cannot review this token now"),
    ],
)
async def test_a_refusal_says_why(verdict, status, said):
    answer, _ = await ask("Bearer a", verdict)
    assert answer.status == status
    assert answer.text is not None
    assert said in answer.text
    assert answer.text.count("\n") == 1
    assert ("Retry-After" in answer.headers) == (status == 503)
