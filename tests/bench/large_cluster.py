"""Names and addresses of the nodes of a large cluster that exists in memory alone."""


def node_name(number: int) -> str:
    """Return the name of a node; numbers begin with 1."""
    return f"scaled-{number:04}"


def address(number: int) -> str:
    """Return its own address."""
    return f"10.99.{number >> 8}.{number & 0xFF}"
