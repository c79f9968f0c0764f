"""Work that takes long is done aside: in one thread, one piece after the other.

Everybody else gets a turn in between. More threads would not be faster, for it all needs the interpreter; they would
only make everybody else wait for more of them.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final, TypeVar

AT_ONCE_BYTES: Final = 256 << 10
"""What is shorter is read and written where it is: that takes a few milliseconds at most."""

_T = TypeVar("_T")

_thread: Final = ThreadPoolExecutor(1, thread_name_prefix="aside")


async def run(work: Callable[[], _T]) -> _T:
    """Do it aside, and give what comes of it. Whoever is cancelled meanwhile leaves it to itself."""
    return await asyncio.get_running_loop().run_in_executor(_thread, work)
