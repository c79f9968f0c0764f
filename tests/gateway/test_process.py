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
    del_me = b"x" * (30 << 20)
    del del_me  # from here on glibc would take blocks of this size from the heap,
    blocks = [b"x" * (1 << 20) for _ in range(100)]
    pins = [b"y" * 600 for _ in range(10_000)]  # and these would lie above them, so that it cannot shrink
    del blocks
    assert resident_mb() - before < 40, (before, resident_mb())
    del pins

asyncio.run(main())
"""


def test_what_was_there_is_left_out_of_collections_and_large_blocks_go_back() -> None:
    ran = subprocess.run([sys.executable, "-c", PROBE], capture_output=True, text=True, timeout=30, check=False)
    assert ran.returncode == 0, ran.stderr
