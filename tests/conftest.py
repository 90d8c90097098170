"""What holds for every test."""

import signal
import tempfile
from functools import partial
from types import FrameType

import pytest
from hypothesis import HealthCheck, settings

# How long an example takes depends on what else the machine does: a benchmark's matter, no test's.
settings.register_profile(
    "extip", deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True
)
settings.load_profile("extip")


@pytest.hookimpl(tryfirst=True)  # pytest reads the option when it is configured
def pytest_configure(config: pytest.Config) -> None:
    """Leave no files: pytest by itself keeps those of the last three runs."""
    if config.option.basetemp is None:
        folder = tempfile.TemporaryDirectory(prefix="extip-tests-")
        config.option.basetemp = folder.name
        config.add_cleanup(folder.cleanup)
    signal.signal(signal.SIGTERM, signal.default_int_handler)


def pytest_runtest_setup(item: pytest.Item) -> None:
    """SIGTERM ends a run like Ctrl-C, which cleans up; a test's event loop may have reset it."""
    signal.signal(signal.SIGTERM, partial(_end_run, item.session))


def _end_run(session: pytest.Session, number: int, frame: FrameType | None) -> None:
    """End the run, also where it is in a command that takes Ctrl-C for itself.

    Such a test fails with the exit code of Ctrl-C; this tells where that came from.
    """
    session.shouldstop = f"the run was sent {signal.Signals(number).name}"
    signal.default_int_handler(number, frame)


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    """Say how to run a failed suite in its order again; pytest-randomly's own line is not quiet."""
    seed = config.getoption("randomly_seed", None)
    if seed is not None and terminalreporter.stats.keys() & {"failed", "error"}:
        terminalreporter.write_line(f"order: pytest -p randomly --randomly-seed={seed}")
