"""How long a change takes from the compiler's hands to the ACK of every gateway, over real gRPC.

    PYTHONPATH=tests python bench/propagation.py [--groups 1000] [--keys 0] [--gateways 2 50] [--changes 200] [--tls]

Prints one JSON object for each number of gateways. The operator's end and all gateways share one process and one event
loop, so that with fifty gateways the figure holds fifty times a gateway's own work; the debounce before compiling
(50 ms unless it revokes) is not part of it.
"""

import argparse
import asyncio
import contextlib
import json
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from builders import wire as make
from builders import wire_ends as ends
from trunkline_protocol.v1 import routing_pb2 as pb


async def measure(groups: int, keys: int, gateways: int, changes: int, *, tls: bool) -> dict[str, float | int | str]:
    """Fill the fleet, then change one ModelGroup at a time and wait for all ACKs."""
    with tempfile.TemporaryDirectory() as directory:
        address = "127.0.0.1:0" if tls else f"unix:{directory}/run/s"
        resources: list[pb.Resource] = [make.secret("a/s", 1, "sk-secret"), make.upstream("a/up", 2, secret="a/s")]
        resources += [make.route(f"a/g{n}", 10 + n, "a/up") for n in range(groups)]
        resources += [make.key(f"a/k{n}", 10 + n) for n in range(keys)]
        table = {make.name_of(each): each for each in resources}
        async with (
            ends.operator(address, tls_dir=Path(directory) / "tls" if tls else None) as operator,
            contextlib.AsyncExitStack() as stack,
        ):
            for n in range(gateways):
                await stack.enter_async_context(
                    ends.gateway(operator.address, f"gw-{n}", ca_file=operator.ca_file, report_seconds=5)
                )
            names = list(table)
            begun = time.perf_counter()
            operator.set(make.compiled(*table.values()))
            await _acknowledged(operator, names, gateways)
            filled = time.perf_counter() - begun
            took: list[float] = []
            for n in range(changes):
                route = make.route(f"a/g{n % groups}", 100_000 + n, "a/up", description=str(n))
                table[make.name_of(route)] = route
                compiled = make.compiled(*table.values())
                begun = time.perf_counter()
                operator.set(compiled)
                await _acknowledged(operator, [make.name_of(route)], gateways)
                took.append(time.perf_counter() - begun)
            sent = operator.servicer.counts.resources
    return {
        "transport": "tls" if tls else "unix",
        "groups": groups,
        "keys": keys,
        "gateways": gateways,
        "changes": changes,
        "fill_ms": _ms(filled),
        "p50_ms": _ms(statistics.median(took)),
        "p99_ms": _ms(sorted(took)[max(0, int(len(took) * 0.99) - 1)]),
        "max_ms": _ms(max(took)),
        "resources_sent": sent,
        "resources_needed": gateways * (len(table) + changes),
    }


async def _acknowledged(operator: ends.Ends, names: Sequence, gateways: int) -> None:
    async with asyncio.timeout(120):
        while True:
            programmed = operator.fleet.programmed(names)
            if programmed.all and programmed.gateways == gateways:
                return
            await asyncio.sleep(0.0005)


def _ms(seconds: float) -> float:
    return round(seconds * 1000, 1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--groups", type=int, default=1000)
    parser.add_argument("--keys", type=int, default=0)
    parser.add_argument("--gateways", type=int, nargs="+", default=[2, 50])
    parser.add_argument("--changes", type=int, default=200)
    parser.add_argument("--tls", action="store_true")
    given = parser.parse_args()
    for gateways in given.gateways:
        figures = asyncio.run(measure(given.groups, given.keys, gateways, given.changes, tls=given.tls))
        print(json.dumps(figures), flush=True)


if __name__ == "__main__":
    main()
