"""A drain that can no longer see claims says that the node stays drained."""

from typing import cast

import pytest

from extip.api.resources import IP_CLAIMS
from extip.cache.listwatch import Page
from extip.draining import command
from extip.errors import ApiError, ApiUnavailableError, NotFoundError, UnansweredError
from extip.kube.client import ApiClient


class Server:
    """Fails each list of claims."""

    def __init__(self, error: ApiError) -> None:
        self.error = error

    async def list(self, resource, *_scope, **_how):
        if resource is IP_CLAIMS:
            raise self.error
        return Page(items=(), resource_version="1")


@pytest.mark.parametrize(
    ("error", "why"),
    [
        (NotFoundError("404 page not found"), "somebody deleted the definition ipclaims."),
        (ApiUnavailableError("no answer", request="list ipclaims"), "list ipclaims: no answer"),
    ],
)
async def test_a_drain_that_cannot_see_claims_tells_how_to_take_it_back(error, why):
    client = cast("ApiClient", Server(error))
    with pytest.raises(UnansweredError) as told:
        await command._emptied(client, "n1", 1)
    assert str(told.value).startswith(
        f"n1 is being drained, and whether it is empty is not known: {why}"
    )
    assert str(told.value).endswith("to take the drain back: `extip drain --undo n1`")
