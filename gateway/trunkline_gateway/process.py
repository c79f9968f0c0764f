"""Making a process one that serves requests: what Python and the C library do by default suits programs that reckon."""

import ctypes
import gc
import sys
from collections.abc import Awaitable
from typing import Final

_COLLECT_AFTER_OBJECTS: Final = 20_000
_GIVE_WAY_SECONDS: Final = 0.0005
_M_TRIM_THRESHOLD: Final = -1
_M_MMAP_THRESHOLD: Final = -3
_LARGE_BYTES: Final = 256 * 1024
_KEPT_BYTES: Final = 8 * 1024 * 1024
"""Free at the end of the heap: giving back and asking anew for each request would cost more than it is worth."""


async def tune(ready: Awaitable[object]) -> None:
    """Tune the process; most of it once ``ready`` is done, so that what is there by then is known to stay.

    - A full garbage collection looks at every object there is: with 10,000 keys that takes tens of milliseconds in
      which nothing else happens. What is there once there is a table is left out of it, and since requests leave
      nothing behind that only a collection could find, it looks for such things rarely.
    - Threads that reckon (a scrape of ``/metrics``) give way to the loop ten times as often as by default.
    - Large blocks go back to the system when they are freed; see `mallopt(3)`. glibc would raise its idea of large with
      the first that is freed, and keep what a burst of long answers took.
    """
    _return_large_blocks()
    await ready
    gc.collect()
    gc.freeze()
    gc.set_threshold(_COLLECT_AFTER_OBJECTS)
    sys.setswitchinterval(_GIVE_WAY_SECONDS)


def _return_large_blocks() -> None:
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # glibc's; musl gives everything back by itself
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, _LARGE_BYTES)
        mallopt(_M_TRIM_THRESHOLD, _KEPT_BYTES)
