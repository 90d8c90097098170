"""Two processes of one network namespace are in one place; those of another are elsewhere."""

import subprocess
import sys

import pytest

from extip.net.identity import place

ASK = [sys.executable, "-c", "from extip.net.identity import place; print(place('n1'))"]


def answer(*prefix):
    found = subprocess.run([*prefix, *ASK], check=False, capture_output=True, text=True, timeout=30)
    if found.returncode and prefix:
        pytest.skip(f"no namespaces here: {found.stderr.strip()}")
    return found.stdout.strip()


def test_the_same_place_is_the_same_in_every_process():
    assert place("n1") == answer()
    assert place("n1").startswith("n1_")


@pytest.mark.netns
def test_another_network_namespace_is_another_place():
    assert answer("unshare", "--net") not in ("", place("n1"))
