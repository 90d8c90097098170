"""A shell completes names of nodes, IPs and services, and hears nothing of what goes wrong."""

import pytest
from click.shell_completion import ShellComplete

from extip.cli import cli
from extip.errors import ConfigurationError
from extip.kube.place import Place
from extip.status import names

KNOWN = ["n1", "n2", "10.0.0.1", "10.0.1.1", "shop/web"]


@pytest.fixture
def completions(monkeypatch):
    """Return what a shell is told, and the clusters that were asked."""
    asked = []

    async def read_names(place, *, ips):
        asked.append(place)
        if place.kubeconfig == "/none":
            raise ConfigurationError("no such file")
        return KNOWN if ips else KNOWN[:2]

    async def read_services(place):
        asked.append(place)
        return KNOWN[4:]

    monkeypatch.setattr(names, "read_names", read_names)
    monkeypatch.setattr(names, "read_services", read_services)
    monkeypatch.setenv("KUBECONFIG", "/mine")

    def complete(*words):
        shell = ShellComplete(cli, {}, "extip", "_EXTIP_COMPLETE")
        found = shell.get_completions(list(words[:-1]), words[-1])
        return [item.value for item in found], asked

    return complete


@pytest.mark.parametrize(
    ("words", "found"),
    [
        (("drain", ""), ["n1", "n2"]),
        (("drain", "10"), []),
        (("status", "10.0.1"), ["10.0.1.1"]),
        (("status", "n1", "sh"), ["shop/web"]),
        (("status", "x"), []),
        (("migrate", "services", "sh"), ["shop/web"]),
        (("migrate", "services", "n"), []),
    ],
)
def test_names_that_begin_so(completions, words, found):
    assert completions(*words) == (found, [Place("/mine")])


def test_the_cluster_is_the_one_that_the_line_names(completions):
    flags = ("--kubeconfig", "/other", "--context", "c")
    assert completions("drain", *flags, "n1") == (["n1"], [Place("/other", "c")])


def test_without_an_answer_nothing_is_completed(completions):
    assert completions("drain", "--kubeconfig=/none", "")[0] == []
