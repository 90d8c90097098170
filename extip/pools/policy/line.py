"""The line of services that have no address: the oldest comes first. Pure."""

from collections.abc import Iterator
from heapq import heappop, heappush

from extip.pools.policy.address_request import AddressRequest, age_of


class Line:
    """Services in the order of age, by name; each stands in it once."""

    def __init__(self) -> None:
        self._names: dict[str, None] = {}
        self._by_age: list[tuple[str, ...]] = []
        """A heap; services that have left the line by another way are still in it."""

    def __bool__(self) -> bool:
        return bool(self._names)

    def add(self, name: str, request: AddressRequest | None) -> None:
        """Let a service stand in the line; None for one that comes first, as one that is gone."""
        if name not in self._names:
            self._names[name] = None
            heappush(self._by_age, ("", name) if request is None else (*age_of(request), name))

    def discard(self, name: str) -> None:
        """Take a service out of the line, if it is there."""
        self._names.pop(name, None)

    def take(self, most: int) -> Iterator[str]:
        """Take up to `most` services from the front."""
        while self._by_age and most > 0:
            name = heappop(self._by_age)[-1]
            if name in self._names:
                del self._names[name]
                most -= 1
                yield name

    def clear(self) -> None:
        """Send everybody away."""
        self._names.clear()
        self._by_age.clear()
