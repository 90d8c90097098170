"""A traceback tells where, and never what variables held: tokens and keys are among them."""

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
