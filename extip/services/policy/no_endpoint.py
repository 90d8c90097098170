"""The words for an IP that is down since no service of it has a ready endpoint. Pure."""

from extip.net.interfaces import IPAddress

NO_READY_ENDPOINT = "NoReadyEndpoint"
"""The reason of Events and conditions."""

NONE_READY = "none of its services has a ready endpoint"
"""The message of a condition, and of `extip status`."""


def told_of_withdrawal(ip: IPAddress | str) -> str:
    """Return the message of the Event on each service of an IP."""
    return (
        f"{ip} is down until an endpoint is ready: no service of it has one "
        "(--without-endpoints withdraw)"
    )
