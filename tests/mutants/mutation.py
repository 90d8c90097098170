"""One change to one file of extip, the promise that it breaks, and the tests that must notice."""

from dataclasses import dataclass
from pathlib import Path


class StaleMutationError(Exception):
    """The program has changed, and a mutation does not fit it any more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mutation:
    """A text that stands once in a file, and the text in its place."""

    name: str
    promise: str
    """A phrase of README or docs/ that is not true any more."""
    file: str
    """Relative to ``extip/``."""
    old: str
    new: str
    tests: tuple[str, ...]
    """Files or single tests, relative to ``tests/``; few and fast ones."""

    def path(self, tree: Path) -> Path:
        """Return the file in a copy of the tree."""
        return tree / "extip" / self.file

    def applied(self, tree: Path) -> str:
        """Return the changed text of the file. Raises StaleMutationError."""
        try:
            text = self.path(tree).read_text()
        except FileNotFoundError:
            raise StaleMutationError(f"{self.name}: there is no extip/{self.file}") from None
        count = text.count(self.old)
        if count != 1 or self.old == self.new:
            raise StaleMutationError(
                f"{self.name}: extip/{self.file} must have {self.old!r} once, and has it {count} "
                "times; change the mutation (tests/mutants/catalogue/) as the program has changed"
            )
        return text.replace(self.old, self.new)
