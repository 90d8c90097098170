"""A page that is shown for a bearer token (RFC 6750) alone."""

import re

from aiohttp import web

from extip.health import Page
from extip.scrapes.policy import Verdict
from extip.scrapes.reviewer import METRICS_PATH, RETRY_S, TokenReviewer

_BEARER = re.compile(r"bearer +([A-Za-z0-9._~+/-]+=*)", re.IGNORECASE)


class ReviewedPage:
    """Shows a page to whom the API server lets read it."""

    def __init__(self, page: Page, reviewer: TokenReviewer) -> None:
        self._page = page
        self._reviewer = reviewer

    async def __call__(self, request: web.BaseRequest) -> web.Response:
        """Return the page; 401, 403 or 503 with the reason in one line."""
        sent = _BEARER.fullmatch(request.headers.get("Authorization", "").strip())
        if sent is None:
            return _unknown("a bearer token is needed")
        review = await self._reviewer.review(sent[1])
        match review.verdict:
            case Verdict.ALLOWED:
                return await self._page(request)
            case Verdict.UNKNOWN:
                return _unknown("the API server does not know this token")
            case Verdict.FORBIDDEN:
                return web.Response(
                    status=403,
                    text=f"{review.user} may not get {METRICS_PATH}: it needs a ClusterRole with "
                    f"nonResourceURLs [{METRICS_PATH}] and verbs [get]\n",
                )
            case Verdict.UNREVIEWED:
                return web.Response(
                    status=503,
                    text="the API server cannot review this token now\n",
                    headers={"Retry-After": f"{RETRY_S:g}"},
                )


def _unknown(why: str) -> web.Response:
    return web.Response(status=401, text=f"{why}\n", headers={"WWW-Authenticate": "Bearer"})
