"""Docstrings stay readable: short sentences that begin with a noun or a verb.

A colon and a semicolon end a sentence here: their halves can be read one at a time.
"""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2] / "extip"
MOST_WORDS = 25
FRAGMENTS = ("What ", "Who ", "Whom ", "Whose ", "Whoever ", "Which ", "Of ", "Those ")
PACKAGES = sorted(path.parent.name for path in ROOT.glob("*/__init__.py"))


def docstrings(path: Path) -> Iterator[tuple[int, str]]:
    """Yield the line and text of each string that stands alone: docstrings, also of attributes."""
    for node in ast.walk(ast.parse(path.read_text())):
        constant = node.value if isinstance(node, ast.Expr) else None
        if isinstance(constant, ast.Constant) and isinstance(constant.value, str):
            yield constant.lineno, constant.value


def sentences(text: str) -> Iterator[str]:
    """Yield the sentences of a docstring, without drawings and literal blocks."""
    for block in re.split(r"\n\s*\n(?:\s*- )?|\n\s*- ", text.partition("::\n")[0]):
        yield from re.split(r"(?<=[.:;?!])\s+", " ".join(block.split()))


@pytest.mark.parametrize("package", PACKAGES)
def test_no_sentence_is_longer_than_one_can_read_once(package):
    long = [
        f"{path.relative_to(ROOT)}:{line}: {sentence}"
        for path in sorted((ROOT / package).rglob("*.py"))
        for line, text in docstrings(path)
        for sentence in sentences(text)
        if len(sentence.split()) > MOST_WORDS
    ]
    assert not long, "\n".join(long)


@pytest.mark.parametrize("package", PACKAGES)
def test_a_docstring_begins_with_a_noun_or_a_verb(package):
    begins = [
        f"{path.relative_to(ROOT)}:{line}: {text.strip().splitlines()[0]}"
        for path in sorted((ROOT / package).rglob("*.py"))
        for line, text in docstrings(path)
        if text.startswith(FRAGMENTS)
    ]
    assert not begins, "\n".join(begins)


def test_the_measure_finds_what_it_is_for():
    text = "Short. " + "word " * (MOST_WORDS + 1) + "end.\n\n- a list item\n- another one"
    counts = [len(sentence.split()) for sentence in sentences(text)]
    assert counts == [1, MOST_WORDS + 2, 3, 2]
