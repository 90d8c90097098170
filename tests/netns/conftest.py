"""Fixtures of the tests on the real kernel."""

from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from tests.netns.namespace import PrivateNamespace


@pytest.fixture
def namespace() -> Iterator[PrivateNamespace]:
    """Run the test inside a private network namespace with the connected pair v0, v1."""
    with ExitStack() as stack:
        try:
            entered = stack.enter_context(PrivateNamespace())
        except PermissionError:
            pytest.skip("needs CAP_SYS_ADMIN to make a network namespace")
        entered.add_veth()
        yield entered
