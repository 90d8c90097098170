"""A pytest plugin that writes down what each file took, and why the first test failed.

The answer goes to the file that ``EXTIP_WITNESS`` names. The plugin also has Hypothesis give up
at the first counterexample: nobody reads the smallest one here. It stands for pytest-timeout, whose
limits are of the clock: on a busy machine a test would fail without having noticed anything.
"""

import json
import os
import traceback
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import Phase, settings

import extip

settings.register_profile(
    "mutants",
    settings.get_profile("default"),
    phases=(Phase.explicit, Phase.generate),
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=list(settings.get_profile("ci").suppress_health_check),
)

_seconds: Counter[str] = Counter()
_failure: dict[str, str] = {}


def pytest_addoption(parser):
    parser.addini("timeout", "not in force here")


def pytest_configure(config):
    config.addinivalue_line("markers", "timeout(seconds): not in force here")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item):
    before = _used_s()
    ran = yield
    _seconds[item.nodeid.partition("::")[0]] += _used_s() - before
    return ran


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    report = yield
    if report.failed and not _failure:
        _note(item.nodeid, call.excinfo.value, item.location[0])
    return report


def pytest_exception_interact(node, call, report):
    if not _failure:  # a file that cannot be collected
        _note(node.nodeid, call.excinfo.value)


def pytest_sessionstart(session):
    if not Path(extip.__file__).is_relative_to(session.config.rootpath):
        pytest.exit(f"extip is imported from {extip.__file__}, which is not mutated", 3)


def pytest_sessionfinish(session, exitstatus):
    found = {"seconds": _seconds, "failure": _failure}
    Path(os.environ["EXTIP_WITNESS"]).write_text(json.dumps(found))


def _used_s():
    """Return the processor seconds of this process and of its children that have ended."""
    return sum(os.times()[:4])


def _note(test, error, file=""):
    """Record the first error that is no failed expectation, if there is one among the leaves."""
    leaves = list(_leaves(error))
    unexpected = [one for one in leaves if not _is_expectation(one, file)]
    culprit = (unexpected or leaves)[0]
    _failure.update(
        test=test,
        error=f"{type(culprit).__name__}: {str(culprit).partition(chr(10))[0]}"[:200],
        kind="error" if unexpected else "assertion",
    )


def _leaves(error):
    if isinstance(error, BaseExceptionGroup):
        for one in error.exceptions:
            yield from _leaves(one)
    else:
        yield error


def _is_expectation(error, file):
    """Whether a test says so: it asserted, or waited in vain for what should have happened.

    An error in a line of the test itself counts, too: `(one,) = found` expects one.
    """
    if isinstance(error, AssertionError | pytest.fail.Exception | TimeoutError):
        return True
    if isinstance(error, RuntimeError) and str(error).startswith("deadlock:"):
        return True
    frames = list(traceback.walk_tb(error.__traceback__))
    return bool(file and frames) and frames[-1][0].f_code.co_filename.endswith(f"/{file}")
