"""What a gateway's process does with memory, in a process of its own."""

import subprocess
import sys

PROBE = """
import asyncio, gc, sys
from trunkline_gateway import process

def resident_mb():
    return int(open("/proc/self/statm").read().split()[1]) * 4096 / 1e6

async def main():
    ready = asyncio.get_running_loop().create_future()
    tuning = asyncio.create_task(process.tune(ready))
    await asyncio.sleep(0)
    assert not gc.get_freeze_count()
    ready.set_result(None)
    await tuning
    assert gc.get_freeze_count() > 1000
    before = resident_mb()
    for size in (200, 1000, 8000):  # growing, as glibc's idea of a large block would
        blocks = [b"x" * size * 1024 for _ in range(100_000 // size)]
        small = [b"y" * 600 for _ in range(1000)]  # above the last of them in the heap, were they in it
        del blocks
    assert resident_mb() - before < 20, (before, resident_mb())
    del small

asyncio.run(main())
"""


def test_what_was_there_is_left_out_of_collections_and_large_blocks_go_back() -> None:
    ran = subprocess.run([sys.executable, "-c", PROBE], capture_output=True, text=True, timeout=30, check=False)
    assert ran.returncode == 0, ran.stderr
