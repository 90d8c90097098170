"""What the histories of a run of tests came to is told at its end, also when all is well."""

from collections.abc import Callable

import pytest

_SAID = pytest.StashKey[list[str]]()


@pytest.fixture
def say(pytestconfig: pytest.Config) -> Callable[[str], None]:
    """Return what takes a line for the end of the run."""
    return pytestconfig.stash.setdefault(_SAID, []).append


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    """Print the lines."""
    for line in config.stash.get(_SAID, []):
        terminalreporter.write_line(line)
