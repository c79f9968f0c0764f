"""Steady traffic in the background that remembers every failure."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from types import TracebackType
from typing import Self

from harness.system import Gateway


class Traffic:
    """Clients that ask again and again, each in its thread, over the gateways in turn.

    Attributes:
        answered: how many requests were answered well.
        failures: what went wrong, a line each.
    """

    def __init__(
        self,
        gateways: Sequence[Gateway],
        key: str,
        *,
        clients: int = 8,
        stream: bool = True,
        model: str = "gpt-4o",
        pause_seconds: float = 0.0,
    ) -> None:
        self.answered = 0
        self.failures: list[str] = []
        self._gateways = gateways
        self._key = key
        self._stream = stream
        self._model = model
        self._pause = pause_seconds
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._threads = [threading.Thread(target=self._run, args=(index,), daemon=True) for index in range(clients)]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(30)

    def _run(self, index: int) -> None:
        turn = index
        while not self._stop.is_set():
            gateway = self._gateways[turn % len(self._gateways)]
            turn += 1
            begun = time.monotonic()
            try:
                reply = gateway.chat(self._model, key=self._key, stream=self._stream)
            except OSError as error:
                self._fail(f"{gateway.name}: {error!r} after {time.monotonic() - begun:.2f} s")
                continue
            whole = reply.body.endswith(b"data: [DONE]\n\n") if self._stream else b'"usage"' in reply.body
            if reply.status == 200 and whole:
                with self._lock:
                    self.answered += 1
            else:
                self._fail(f"{gateway.name}: {reply.status} {reply.body[-300:]!r}")
            self._stop.wait(self._pause)

    def _fail(self, line: str) -> None:
        with self._lock:
            self.failures.append(line)
