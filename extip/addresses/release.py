"""Removes our addresses at the end of an orderly stop."""

import asyncio

from extip import log
from extip.addresses.reconciler import AddressReconciler
from extip.errors import ExtipError

RELEASE_S = 1.5
"""Seconds that the removal may take; the whole stop takes 2 s."""


async def release_in_time(reconciler: AddressReconciler) -> bool:
    """Delete our addresses within `RELEASE_S`; return whether all of them went.

    Call it after `AddressReconciler.run` was cancelled. An address that is left ends with its
    lifetime. A process that fails does not call it: its addresses are for the process that is
    started next.
    """
    try:
        async with asyncio.timeout(RELEASE_S):
            return await reconciler.release()
    except (ExtipError, TimeoutError) as error:
        log.get_logger("addresses").warning("release_failed", error=str(error) or "timed out")
        return False
