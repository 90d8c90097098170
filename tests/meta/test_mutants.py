"""The list of mutations is kept current: each one fits the program as it is now."""

import re

import pytest

from tests.meta.manifests import ROOT
from tests.meta.pages import PAGES, text_of
from tests.mutants.catalogue import MUTATIONS

LEAST = 60
WORDS = " ".join(re.sub(r"\*", "", " ".join(map(text_of, PAGES))).split())


def test_there_are_enough_of_them_and_each_has_a_name():
    names = [mutation.name for mutation in MUTATIONS]
    assert len(names) >= LEAST
    assert len(set(names)) == len(names)
    assert all(re.fullmatch("[a-z0-9-]+", name) for name in names)


def test_each_one_still_applies_and_compiles():
    for mutation in MUTATIONS:
        compile(mutation.applied(ROOT), mutation.file, "exec")


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.name)
def test_it_names_a_promise_of_the_documentation_and_tests_that_exist(mutation):
    assert mutation.promise in WORDS, "the documentation says it in other words now"
    for test in mutation.tests:
        path, _, name = test.partition("::")
        found = ROOT / "tests" / path
        assert found.exists(), f"there is no tests/{path}"
        assert not name or f"def {name}(" in found.read_text(), f"{path} has no {name}"
