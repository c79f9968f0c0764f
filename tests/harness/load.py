"""Steady load on an OpenAI-compatible front door, by a client that says exactly how each request ended.

    with Load(lambda: [("10.96.0.17", 80)], key="sk-…", streams=64, rate=50) as load:
        with load.phase("rollout restart") as phase:
            …
    assert not phase.failures()

It speaks HTTP/1.1 over bare connections, since what counts here is what libraries hide: whether a connection was
refused, reset, or closed in the middle. Like every library it does not use a kept connection whose end it has seen, or
that was announced (``Connection: close``). It tries nothing again, unless a phase says so.

Streams run all the time, each for as long as its words take, half of them on new connections. Whole requests are due at
a constant rate, every second one on a connection of its own. It runs in a thread with its own loop.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import random
import select
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Final, Self

import uvloop

from harness.outcomes import OK, TOLD, Kind, Outcome, Phase

Address = tuple[str, int]

PATH: Final = "/v1/chat/completions"

_CONNECT_SECONDS: Final = 5.0
_SILENT_SECONDS: Final = 20.0


class _FailedError(Exception):
    """An attempt that gave no answer; ``result`` is one of `outcomes`."""

    def __init__(self, result: str, said: str = "", *, again: bool = True) -> None:
        super().__init__(result)
        self.result = result
        self.said = said
        self.again = again


@dataclass(slots=True)
class _Connection:
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    fresh: bool = True

    @property
    def usable(self) -> bool:
        if self.reader.at_eof() or self.reader.exception() or self.writer.is_closing():
            return False
        # As httpx does: the system may know of the end before the loop does.
        looking = select.poll()
        looking.register(self.writer.get_extra_info("socket").fileno(), select.POLLIN)
        return not looking.poll(0)

    def close(self) -> None:
        self.writer.close()


@dataclass(slots=True)
class _Answer:
    status: int
    body: bytearray
    kept: bool
    first_word_at: float = 0.0
    ended: bool = False


class Load:
    """See the module.

    Args:
        addresses: Where new connections may go at this moment; one of them is taken at random.
        key: A virtual key.
        models: For whole requests, in turn.
        stream_model: For streams.
        words: Least and most words of a stream; what is asked for is repeated by the provider ``echo``.
        streams: How many are open at all times.
        rate: Whole requests a second.

    Attributes:
        phases: Those that there were.
        between: What ended outside of all of them.
    """

    def __init__(
        self,
        addresses: Callable[[], Sequence[Address]],
        *,
        key: str,
        models: Sequence[str] = ("echo",),
        stream_model: str = "echo",
        words: tuple[int, int] = (50, 400),
        streams: int = 64,
        rate: float = 50.0,
        seed: int = 5,
    ) -> None:
        self.between = Phase("between the scenarios")
        self.phases: list[Phase] = []
        self._addresses = addresses
        self._key = key
        self._models = itertools.cycle(models)
        self._stream_model = stream_model
        self._words = words
        self._streams = streams
        self._rate = rate
        self._random = random.Random(seed)
        self._pool: list[_Connection] = []
        self._phase = self.between
        self._retries = 0
        self._lock = threading.Lock()
        self._open = 0
        self._stopping: asyncio.Event
        self._loop: asyncio.AbstractEventLoop
        self._up = threading.Event()
        self._thread = threading.Thread(target=self._main, name="load", daemon=True)
        self._broken: BaseException | None = None

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._up.wait(10), "the load did not start"
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with contextlib.suppress(RuntimeError):  # it has broken down already
            self._loop.call_soon_threadsafe(self._stopping.set)
        self._thread.join(30)
        if self._broken is not None and error is None:
            raise self._broken

    @property
    def answered(self) -> int:
        """Requests that are over, in all phases."""
        return sum(phase.count() for phase in (self.between, *self.phases))

    @property
    def open_streams(self) -> int:
        """Streams that have had their first word and are not over."""
        return self._open

    @contextmanager
    def phase(self, name: str, *, retries: int = 0) -> Iterator[Phase]:
        """Count what ends from now on under ``name``.

        Args:
            retries: How often a failed attempt is made again, after the pauses that the official SDKs make (0.5 s, 1 s;
                at most 8 s; less up to a quarter); only where nothing of an answer had come.
        """
        if self._broken is not None:
            raise self._broken
        phase, begun = Phase(name), time.monotonic()
        with self._lock:
            before, self._phase, self._retries = self._phase, phase, retries
        self.phases.append(phase)
        try:
            yield phase
        finally:
            with self._lock:
                self._phase, self._retries = before, 0
            phase.seconds = time.monotonic() - begun

    # ---- the loop ----

    def _main(self) -> None:
        try:
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                runner.run(self._run())
        except BaseException as error:  # noqa: BLE001 - told to whoever asks next
            self._broken = error
        finally:
            self._up.set()

    async def _run(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._stopping = asyncio.Event()
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(self._stream_on(index)) for index in range(self._streams)]
            tasks.append(group.create_task(self._tick(group)))
            self._up.set()
            await self._stopping.wait()
            for task in tasks:
                task.cancel()
        for connection in self._pool:
            connection.close()

    async def _stream_on(self, index: int) -> None:
        await asyncio.sleep(index * 0.02)  # not all at once
        connection: _Connection | None = None
        try:
            while True:
                words = self._random.randint(*self._words)
                text = " ".join(f"{word}" for word in range(words))
                outcome, connection = await self._ask("stream", self._stream_model, text, connection)
                self._note(outcome)
                if connection is not None and self._random.random() < 0.5:
                    connection.close()
                    connection = None
                if outcome.result not in (OK, TOLD):
                    await asyncio.sleep(0.2)
        finally:
            if connection is not None:
                connection.close()

    async def _tick(self, group: asyncio.TaskGroup) -> None:
        if self._rate <= 0:
            return
        begun = self._loop.time()
        for number in itertools.count(1):
            group.create_task(self._whole(fresh=number % 2 == 0))
            await asyncio.sleep(begun + number / self._rate - self._loop.time())

    async def _whole(self, *, fresh: bool) -> None:
        connection: _Connection | None = None
        while not fresh and connection is None and self._pool:
            connection = self._pool.pop()
            if not connection.usable:
                connection.close()
                connection = None
        outcome, kept = await self._ask("whole", next(self._models), "how are you", connection)
        self._note(outcome)
        if kept is not None:
            if fresh:
                kept.close()
            else:
                self._pool.append(kept)

    def _note(self, outcome: Outcome) -> None:
        with self._lock:
            self._phase.outcomes.append(outcome)

    # ---- one request ----

    async def _ask(
        self, kind: Kind, model: str, text: str, connection: _Connection | None
    ) -> tuple[Outcome, _Connection | None]:
        begun, attempts = self._loop.time(), 1
        while True:
            if connection is not None and not connection.usable:
                connection.close()
                connection = None
            fresh = connection is None
            try:
                connection = connection or await self._connect()
                answer = await self._exchange(connection, kind, model, text)
                result, said = _verdict(kind, answer, text)
            except asyncio.CancelledError:
                if connection is not None:
                    connection.close()
                raise
            except _FailedError as failure:
                if connection is not None:
                    connection.close()
                    connection = None
                if failure.again and attempts <= self._retries:
                    pause = min(0.5 * 2.0 ** (attempts - 1), 8.0)
                    attempts += 1
                    with self._lock:
                        self._phase.failed_first[failure.result] += 1
                    await asyncio.sleep(pause * (1 - 0.25 * self._random.random()))
                    continue
                return Outcome(kind, failure.result, self._loop.time() - begun, attempts, fresh, failure.said), None
            if not answer.kept:
                connection.close()
                connection = None
            ended = answer.first_word_at if kind == "stream" and answer.first_word_at else self._loop.time()
            return Outcome(kind, result, ended - begun, attempts, fresh, said), connection

    async def _connect(self) -> _Connection:
        host, port = self._random.choice(list(self._addresses()))
        try:
            async with asyncio.timeout(_CONNECT_SECONDS):
                return _Connection(*await asyncio.open_connection(host, port))
        except ConnectionRefusedError:
            raise _FailedError("refused", f"{host}:{port}") from None
        except OSError as error:
            raise _FailedError("no connection", f"{host}:{port} {error or 'took too long'}") from None

    async def _exchange(self, connection: _Connection, kind: Kind, model: str, text: str) -> _Answer:
        asked = {"model": model, "stream": kind == "stream", "messages": [{"role": "user", "content": text}]}
        body = json.dumps(asked).encode()
        head = (
            f"POST {PATH} HTTP/1.1\r\nHost: gateway\r\nAuthorization: Bearer {self._key}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        connection.fresh, fresh = False, connection.fresh
        where = "on a new connection" if fresh else "on a kept connection"
        try:
            connection.writer.write(head.encode() + body)
            async with asyncio.timeout(_SILENT_SECONDS):
                raw = await connection.reader.readuntil(b"\r\n\r\n")
        except TimeoutError:
            raise _FailedError("silent", f"no head {where}") from None
        except asyncio.IncompleteReadError as end:
            raise _FailedError("truncated" if end.partial else "closed", f"no head {where}") from None
        except OSError as error:
            raise _FailedError("reset", f"{error} {where}") from None
        status_line, *lines = raw.decode("latin-1").rstrip("\r\n").split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        answer = _Answer(int(status_line.split()[1]), bytearray(), headers.get("connection") != "close")
        target = headers.get("x-request-id", "")
        try:
            await self._read_body(connection.reader, headers, answer)
        except TimeoutError:
            raise _FailedError("silent", f"in the middle of {target} {where}", again=False) from None
        except (asyncio.IncompleteReadError, OSError) as error:
            said = f"{target} after {len(answer.body)} bytes {where}: {type(error).__name__}"
            raise _FailedError("truncated", said, again=False) from None
        if answer.status in (408, 409, 429) or answer.status >= 500:
            raise _FailedError(f"status {answer.status}", f"{_code(answer.body)} {where}")
        return answer

    async def _read_body(self, reader: asyncio.StreamReader, headers: dict[str, str], answer: _Answer) -> None:
        if headers.get("transfer-encoding") != "chunked":
            async with asyncio.timeout(_SILENT_SECONDS):
                answer.body += await reader.readexactly(int(headers["content-length"]))
            return
        try:
            while True:
                async with asyncio.timeout(_SILENT_SECONDS):
                    size = int(await reader.readuntil(b"\r\n"), 16)
                    chunk = await reader.readexactly(size + 2)
                if not size:
                    return
                answer.body += chunk[:-2]
                if not answer.first_word_at and b'"content"' in answer.body:
                    answer.first_word_at = self._loop.time()
                    self._open += 1
        finally:
            if answer.first_word_at:
                self._open -= 1


def _verdict(kind: Kind, answer: _Answer, text: str) -> tuple[str, str]:
    """The result of an answer that came whole, and what else is to be said of it."""
    if answer.status != 200:
        return f"status {answer.status}", _code(answer.body)
    try:
        if kind == "whole":
            said = json.loads(answer.body)["choices"][0]["message"]["content"]
            return (OK, "") if said == text else ("wrong", f"{said!r}")
        return _verdict_of_stream(bytes(answer.body), text)
    except (ValueError, LookupError, TypeError) as error:
        return "wrong", repr(error)


def _verdict_of_stream(body: bytes, text: str) -> tuple[str, str]:
    events = [line.removeprefix(b"data: ") for line in body.split(b"\n") if line.startswith(b"data: ")]
    done = events[-1] == b"[DONE]"
    parsed: list[dict[str, Any]] = [json.loads(event) for event in (events[:-1] if done else events)]
    error = next((event["error"] for event in parsed if "error" in event), None)
    if error is not None:
        return ("error event" if done or error.get("code") != "shutting_down" else TOLD), f"{error}"
    words = "".join(event["choices"][0]["delta"].get("content") or "" for event in parsed if event.get("choices"))
    return (OK, "") if done and words == text else ("wrong", f"[DONE]: {done}, {len(words)} of {len(text)} characters")


def _code(body: bytes | bytearray) -> str:
    try:
        return str(json.loads(body)["error"]["code"])
    except (ValueError, LookupError, TypeError):
        return repr(bytes(body[:80]))
