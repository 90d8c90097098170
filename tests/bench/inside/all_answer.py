"""Asks many addresses until each has answered by HTTP: ``all_answer COUNT``.

Prints the monotonic time at which the last one did. An address that has answered is not asked
again, so that the asking takes ever less from a machine that does the work, too.
"""

import asyncio
import contextlib
import json
import sys
import time

from tests.bench.balancers import address

_AT_ONCE = 32
_PATIENCE_S = 0.5
_PAUSE_S = 0.05


async def answers(ip: str) -> bool:
    with contextlib.suppress(OSError, TimeoutError):
        async with asyncio.timeout(_PATIENCE_S):
            reader, writer = await asyncio.open_connection(ip, 80)
            writer.write(b"GET / HTTP/1.0\r\n\r\n")
            answer = await reader.readline()
            writer.close()
            return b" 200 " in answer
    return False


async def main(count: int) -> float:
    left = [address(number) for number in range(count)]
    last = time.monotonic()
    while left:
        asked, left = left[:_AT_ONCE], left[_AT_ONCE:]
        found = await asyncio.gather(*map(answers, asked))
        if any(found):
            last = time.monotonic()
        else:
            await asyncio.sleep(_PAUSE_S)
        left += [ip for ip, good in zip(asked, found, strict=True) if not good]
    return last


print(json.dumps(asyncio.run(main(int(sys.argv[1])))))
