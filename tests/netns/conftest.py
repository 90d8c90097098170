"""Fixtures of the tests on the real kernel."""

import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.netns.namespace import Elsewhere, PrivateNamespace


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


@pytest.fixture
def elsewhere(namespace: PrivateNamespace) -> Iterator[Elsewhere]:
    namespace.ip("link show v0")
    mine = Path("/proc/thread-self/ns/net").readlink()
    with subprocess.Popen(["unshare", "--net", "sleep", "1000"]) as holder:
        try:
            while Path(f"/proc/{holder.pid}/ns/net").readlink() == mine:
                time.sleep(0.005)
            yield Elsewhere(holder.pid)
        finally:
            holder.kill()
