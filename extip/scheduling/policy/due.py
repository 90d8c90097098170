"""The IPs that are due, the most urgent first. Pure.

One change may make very many IPs due, and it would take long to note each of them. Such a change
notes a crowd. Its members are looked up when it has its turn, and become due bit by bit. An IP that
has joined or left it meanwhile was decided after the change.
"""

from collections.abc import Callable, Collection, Mapping
from itertools import islice
from typing import NamedTuple

from extip.cache.changes import give_back
from extip.net.networks import IPNetwork
from extip.scheduling.policy.keys import Key
from extip.scheduling.policy.urgency import Urgency

_FASTER = 8
"""Members of a crowd that are looked at in the time of one decision."""


def itself(key: Key) -> Key:
    """Return the IP of a member that is one."""
    return key


def within(subnets: Collection[IPNetwork], key: Key) -> Key | None:
    """Return an IP of these subnets; None for another one."""
    return None if isinstance(key, str) or not any(key in one for one in subnets) else key


class Crowd(NamedTuple):
    """The IPs that one change makes due."""

    name: tuple[str, ...]
    """A crowd that is noted twice before its turn has one turn."""
    members: Callable[[], Collection[Key]]
    key_of: Callable[[Key], Key | None] = itself
    """It returns the IP of a member, and None for one that is not due."""


class _Rank:
    """The IPs and crowds of one urgency."""

    def __init__(self) -> None:
        self.keys: dict[Key, None] = {}
        self.crowds: dict[tuple[str, ...], tuple[Crowd, int]] = {}
        """Each with the number of the last change that noted it."""
        self._members: list[Key] = []
        """The members of the crowd that has its turn, the last one first."""
        self._key_of: Callable[[Key], Key | None] = itself
        self._since = 0

    def __len__(self) -> int:
        return len(self.keys) + len(self.crowds) + len(self._members)

    @property
    def is_crowded(self) -> bool:
        """Whether members of crowds are due."""
        return bool(self.crowds or self._members)

    def take(self, most: int, looks: int, done: Mapping[Key, int]) -> tuple[list[Key], int]:
        """Take up to `most` IPs; return them, and how many of the `looks` at members are left.

        `done` has the number of the last change before each IP was decided.
        """
        found = list(islice(self.keys, most))
        for key in found:
            del self.keys[key]
        while len(found) < most and looks > 0 and self._begin():
            looks -= 1
            key_or_none = self._key_of(self._members.pop())
            if key_or_none is not None and done.get(key_or_none, 0) < self._since:
                found.append(key_or_none)
        return found, looks

    def _begin(self) -> bool:
        """Look the next members up, if the last ones had their turn; return whether there are."""
        while not self._members and self.crowds:
            crowd, self._since = self.crowds.pop(next(iter(self.crowds)))
            self._members, self._key_of = list(crowd.members()), crowd.key_of
            self._members.reverse()
        return bool(self._members)


class Due:
    """Each IP is decided once for all that has made it due before."""

    def __init__(self) -> None:
        self._ranks = tuple(_Rank() for _ in Urgency)
        self._changes = 0
        """The number of changes that have noted a crowd."""
        self._done: dict[Key, int] = {}
        """That number when an IP was decided last, while there are crowds."""

    def __len__(self) -> int:
        """Return about how many IPs are due; 0 for none."""
        return sum(map(len, self._ranks))

    def touch(self, key: Key, urgency: Urgency) -> None:
        """Make an IP due."""
        for rank in self._ranks[: urgency + 1]:
            if key in rank.keys:
                return
        for rank in self._ranks[urgency + 1 :]:
            rank.keys.pop(key, None)
        self._ranks[urgency].keys[key] = None

    def gather(self, crowd: Crowd, urgency: Urgency) -> None:
        """Make all members of a crowd due, also those that have their turn just now."""
        if crowd.members():
            self._changes += 1
            self._ranks[urgency].crowds[crowd.name] = crowd, self._changes

    def take(self, most: int) -> dict[Key, None]:
        """Take up to `most` IPs. There may be none though others are due: call it again then."""
        taken: dict[Key, None] = {}
        looks = _FASTER * most
        for rank in self._ranks:
            found, looks = rank.take(most - len(taken), looks, self._done)
            for key in found:
                taken[key] = None
            if looks <= 0:
                break
        self.discard(taken)
        return taken

    def discard(self, keys: Collection[Key]) -> None:
        """Note that IPs have their turn now."""
        if not any(rank.is_crowded for rank in self._ranks):
            self._done.clear()
        else:
            for key in keys:
                self._done[key] = self._changes
        for rank in self._ranks:
            for key in keys:
                rank.keys.pop(key, None)
            give_back(rank.keys)
