"""Many streams that say almost nothing: what each costs in memory, and what another client notices of them."""

import contextlib
import select
import socket
import threading
from collections.abc import Sequence
from typing import Any, Self

from bench import load, machine, report
from bench.sides import Bench, Side
from bench.wire import IDLE, WHOLE

_OPENING = 256
_FIRST_WORD = b"a word"


class Holders:
    """Clients that each have a stream open and read what comes. Not thread-safe; close them."""

    def __init__(self, port: int, requests: Sequence[bytes]) -> None:
        self._port = port
        self._requests = requests
        self._sockets: dict[int, socket.socket] = {}
        self._poller = select.epoll()
        self._stop = threading.Event()
        self._reader: threading.Thread | None = None
        self.lost = 0

    def open(self, count: int) -> None:
        """Open ``count`` streams; returns when each has its first word.

        Raises:
            RuntimeError: some did not get it within a minute.
        """
        waiting: set[int] = set()
        seen: dict[int, bytes] = {}
        started = 0
        while started < count or waiting:
            while started < count and len(waiting) < _OPENING:
                made = socket.create_connection(("127.0.0.1", self._port), timeout=30)
                made.sendall(self._requests[started % len(self._requests)])
                made.setblocking(False)
                self._sockets[made.fileno()] = made
                self._poller.register(made, select.EPOLLIN)
                waiting.add(made.fileno())
                started += 1
            if not (ready := self._poller.poll(60)):
                raise RuntimeError(f"{len(waiting)} of {count} streams did not begin")
            for number, _ in ready:
                got = self._read(number)
                if number in waiting and got is not None:
                    seen[number] = seen.get(number, b"") + got
                    if _FIRST_WORD in seen[number]:
                        waiting.discard(number)
                        del seen[number]
                elif got is None:
                    raise RuntimeError(f"a stream ended before its first word: {seen.get(number, b'')[:300]!r}")

    def _read(self, number: int) -> bytes | None:
        try:
            got = self._sockets[number].recv(65536)
        except BlockingIOError:
            return b""
        except OSError:
            got = b""
        if not got:
            self._poller.unregister(number)
            self._sockets.pop(number).close()
            self.lost += 1
            return None
        return got

    def keep_reading(self) -> None:
        """Read in the background until closed."""

        def read() -> None:
            while not self._stop.is_set():
                for number, _ in self._poller.poll(0.2):
                    self._read(number)

        self._reader = threading.Thread(target=read, daemon=True)
        self._reader.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        if self._reader is not None:
            self._reader.join()
        for each in self._sockets.values():
            with contextlib.suppress(OSError):
                each.close()
        self._poller.close()


def possible(streams: int) -> int:
    """How many of ``streams`` the limit on open files allows: a gateway needs two files for each."""
    return min(streams, (machine.raise_open_files() - 1000) // 2)


def compare(bench: Bench, sides: Sequence[Side], *, streams: int, rate: float, seconds: float) -> dict[str, Any]:
    """Figures by side: memory per idle stream, and latency of another client's ``rate`` requests/s without and with."""
    figures: dict[str, Any] = {"streams": possible(streams), "rate": rate}
    for side in sides:
        alone = load.run(bench, side, WHOLE, seconds=seconds, rate=rate)
        before = machine.resident_mb(side.child)
        with Holders(side.port(IDLE.upstream), side.requests(IDLE)) as holders:
            holders.open(figures["streams"])
            holders.keep_reading()
            held = machine.resident_mb(side.child)
            beside = load.run(bench, side, WHOLE, seconds=seconds, rate=rate)
            lost = holders.lost
        figures[side.name] = {
            "kb_per_stream": 1000 * (held - before) / figures["streams"],
            "rss_mb": held,
            "lost": lost,
            "alone_p50_us": alone.p50,
            "alone_p99_us": alone.p99,
            "beside_p50_us": beside.p50,
            "beside_p99_us": beside.p99,
        }
    return figures


def lines(figures: dict[str, Any], names: Sequence[str]) -> list[str]:
    """The figures as a table."""
    columns = ("kb_per_stream", "rss_mb", "alone_p50_us", "beside_p50_us", "alone_p99_us", "beside_p99_us", "lost")
    heading = ["KB each", "RSS MB", "p50 us alone", "p50 us beside", "p99 us alone", "p99 us beside", "lost"]
    rows = [[name, *(figures[name][each] for each in columns)] for name in names]
    return report.lines([f"{figures['streams']:,} idle streams", *heading], rows)
