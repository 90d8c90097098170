"""One controller in a network namespace."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from extip.errors import AlreadyRunningError
from extip.net.namespace_lock import InstanceLock
from tests.netns.namespace import PrivateNamespace

pytestmark = pytest.mark.netns

HOLDER = """
from extip.net.namespace_lock import InstanceLock
with InstanceLock():
    print("held", flush=True)
    input()
"""


@contextmanager
def holder(*prefix: str) -> Iterator[subprocess.Popen[str]]:
    """Another process that holds the lock; it ends when its input does."""
    command = [*prefix, sys.executable, "-c", HOLDER]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "held\n"
            yield process
        finally:
            process.kill()


def refused() -> str:
    with pytest.raises(AlreadyRunningError) as caught, InstanceLock():
        pass
    return str(caught.value)


def test_the_second_is_refused_and_told_who_the_first_is(namespace: PrivateNamespace) -> None:
    assert namespace is not None
    with holder() as process:
        assert f"pid {process.pid};" in refused()


def test_the_lock_is_free_again_after_the_holder_was_killed(namespace: PrivateNamespace) -> None:
    assert namespace is not None
    with holder() as process:
        process.kill()
        process.wait()
        with InstanceLock():
            pass
    with InstanceLock():
        pass


def test_a_frozen_holder_keeps_it_however_often_it_is_asked(namespace: PrivateNamespace) -> None:
    assert namespace is not None
    with holder() as process:
        os.kill(process.pid, signal.SIGSTOP)
        for _ in range(300):
            assert f"pid {process.pid};" in refused()


def test_another_pid_namespace_is_named_as_such(namespace: PrivateNamespace) -> None:
    """Seen from inside a container, a holder outside has no pid."""
    assert namespace is not None
    with InstanceLock():
        second = subprocess.run(
            ["unshare", "--pid", "--fork", sys.executable, "-c", HOLDER],
            check=False, capture_output=True, text=True, stdin=subprocess.DEVNULL,
        )  # fmt: skip
    assert second.returncode != 0
    assert "in another PID namespace" in second.stderr


def test_other_network_namespaces_do_not_matter() -> None:
    try:
        with PrivateNamespace(), InstanceLock(), PrivateNamespace(), InstanceLock():
            pass
    except PermissionError:
        pytest.skip("needs CAP_SYS_ADMIN to make a network namespace")
