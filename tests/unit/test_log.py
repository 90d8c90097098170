"""A traceback tells where, and never what variables held: tokens and keys are among them."""

import json
import os
import subprocess
import sys

import pytest

RAISES = """
import asyncio, gc, logging, sys
from extip import log

log.configure(sys.argv[1], "debug")

async def send():
    headers = {"Authorization": "Bearer s3cret"}
    raise ValueError("cannot send")

async def main():
    task = asyncio.ensure_future(send())
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    del task
    gc.collect()
    try:
        await send()
    except ValueError:
        log.get_logger("test").error("failed", exc_info=True)

asyncio.run(main())
"""


@pytest.mark.parametrize("form", ["console", "json"])
def test_tracebacks_hold_no_values(form):
    """Neither ours nor those that asyncio writes of a task that nobody awaited."""
    run = subprocess.run(
        [sys.executable, "-c", RAISES, form], check=True, capture_output=True, text=True
    )
    assert run.stderr.count("cannot send") >= 2
    assert "never retrieved" in run.stderr
    assert "send" in run.stderr
    assert "s3cret" not in run.stderr.replace('headers = {"Authorization": "Bearer s3cret"}', "")


MUMBLES = """
import sys
from extip import log

log.configure(sys.argv[1], "info")
odds = ("\\udcff", {"\\udcff": 1}, float("nan"), 2**80, {1: 2}, {(1, 2): 3}, object())
for value in odds:
    log.get_logger("test").info("odd", value=value)
print("alive")
"""


@pytest.mark.parametrize("form", ["console", "json"])
def test_whatever_is_logged_makes_a_line_and_ends_nothing(form):
    run = subprocess.run(
        [sys.executable, "-c", MUMBLES, form], check=True, capture_output=True, text=True
    )
    assert run.stdout == "alive\n"
    lines = run.stderr.splitlines()
    assert len(lines) == 7
    if form == "json":
        values = [json.loads(line)["value"] for line in lines]
        assert values[:6] == ["\udcff", {"\udcff": 1}, None, 2**80, {"1": 2}, {"(1, 2)": 3}]


SPEAKS = """
import os, sys
from extip import log

log.configure("json", "info")
logger = log.get_logger("test")
logger.info("told")
os.dup2(os.open("/dev/full", os.O_WRONLY), 2)
logger.info("lost")
sys.stderr.close()
logger.info("lost_too")
print("alive")
"""


def test_nothing_fails_when_nobody_takes_the_log():
    run = subprocess.run([sys.executable, "-c", SPEAKS], check=True, capture_output=True, text=True)
    assert [json.loads(line)["event"] for line in run.stderr.splitlines()] == ["told"]
    assert run.stdout == "alive\n"


IS_NOT_READ = """
import os, sys
from extip import log

log.configure("json", "info")
logger = log.get_logger("test")
for number in range(2000):
    logger.info("told", number=number, text="x" * 100)
print("alive", flush=True)
sys.stdin.readline()
logger.info("read_again", text="y" * 20_000)
logger.info("last")
"""


def test_a_reader_that_stops_reading_stops_nobody():
    with subprocess.Popen(
        [sys.executable, "-c", IS_NOT_READ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline() == "alive\n"
        waiting = os.read(process.stderr.fileno(), 2**20).decode()
        said = waiting + process.communicate("go on\n")[1]
    lines = [json.loads(line) for line in said.splitlines()]
    told = [line["number"] for line in lines if line["event"] == "told"]
    assert told == list(range(len(told)))
    assert 0 < len(told) < 2000
    after = lines[len(told) :]
    assert [line["event"] for line in after] == ["read_again", "log_lines_lost", "last"]
    assert after[1]["count"] == 2000 - len(told)
