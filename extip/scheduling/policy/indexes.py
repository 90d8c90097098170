"""An index from words (nodes, services, pools) to the IPs that depend on them. Pure."""

from collections.abc import Collection, Iterable
from typing import Generic, TypeVar

from extip.cache.multimap import Multimap

K = TypeVar("K")


class KeysBy(Generic[K]):
    """The keys of each word, in the order in which they came."""

    def __init__(self) -> None:
        self._keys = Multimap[str, K]()
        self._words: dict[K, tuple[str, ...]] = {}

    def of(self, word: str) -> Collection[K]:
        """Return the keys that depend on a word."""
        return self._keys.of(word)

    def put(self, key: K, words: Iterable[str]) -> None:
        """Note all words that a key depends on."""
        new, old = tuple(words), self._words.get(key, ())
        if len(new) > 1:
            new = tuple(sorted(new))
        if new == old:
            return
        for word in old:
            self._keys.discard(word, key)
        for word in new:
            self._keys.add(word, key)
        if new:
            self._words[key] = new
        else:
            del self._words[key]
