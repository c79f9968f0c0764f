"""An upstream double: a real HTTP/1.1 server in a thread that records every request and answers by script.

    with Upstream() as upstream:
        upstream.script(Answer.openai_error(500), Answer.openai_chat("Hi"))
        ...
        assert upstream.requests[1].key == "sk-second"

``python tests/harness/upstream.py --port 9100`` runs one for people and benchmarks.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import ssl
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

if __name__ == "__main__":  # run as a script: ``harness`` is imported as the test runner imports it
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from harness import ports, wire
from harness.answers import Answer, Cut, Framing, Hang, Step
from harness.wire import Request

__all__ = ["Answer", "Cut", "Framing", "Handler", "Hang", "Request", "Step", "Upstream", "openai_like"]

Handler = Callable[[Request], Answer]
_POLL_SECONDS = 0.005


def openai_like(request: Request) -> Answer:
    """Answer as a small OpenAI-compatible server would: chat whole and streamed, embeddings, models; else 404."""
    match request.method, request.path:
        case "POST", "/v1/chat/completions":
            asked = request.json()
            if asked.get("stream"):
                usage = bool((asked.get("stream_options") or {}).get("include_usage"))
                return Answer.openai_stream(usage=usage, model=asked["model"])
            return Answer.openai_chat(model=asked["model"])
        case "POST", "/v1/embeddings":
            asked = request.json()
            several = isinstance(asked["input"], list) and asked["input"] and not isinstance(asked["input"][0], int)
            return Answer.openai_embeddings(len(asked["input"]) if several else 1, model=asked["model"])
        case "GET", "/v1/models":
            return Answer.openai_models("double-1", "double-embedding")
    return Answer.openai_error(404, f"no {request.method} {request.path} here", kind="invalid_request_error")


class Upstream:
    """The double. All of its methods and properties may be used from any thread.

    An answer comes from the first of these that has one: the script for the request's path and model, for its path,
    for its model, for everything; then ``handler``. A handler that raises is answered with a 500 saying so, and the
    exception is kept in ``failures``.

    Attributes:
        port: stays the same when it is stopped and started again.
        url: ``http://127.0.0.1:PORT`` (``https`` with a certificate), without a path.
        handler: called in the server's thread for requests that no script covers; must not block.
        failures: exceptions of handlers and of malformed requests.
    """

    def __init__(
        self,
        handler: Handler = openai_like,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        tls_cert: Path | str | None = None,
        tls_key: Path | str | None = None,
        record: bool = True,
    ) -> None:
        """Prepare a double; ``start`` it or enter it as a context.

        Args:
            handler: answers what no script answers.
            host: address to listen on.
            port: port to listen on; 0 picks a free one.
            tls_cert: PEM file of the certificate chain; with it the double speaks TLS.
            tls_key: PEM file of its key; ``None`` if the key is in ``tls_cert``.
            record: whether ``requests`` is kept; off for benchmarks, which would fill the memory.
        """
        self.handler = handler
        self.failures: list[Exception] = []
        self.host = host
        self.port = port or ports.free_port()
        self.url = f"{'https' if tls_cert else 'http'}://{host}:{self.port}"
        self._tls = _server_context(tls_cert, tls_key) if tls_cert else None
        self._record = record
        self._lock = threading.Lock()
        self._requests: list[Request] = []
        self._scripts: dict[tuple[str | None, str | None], deque[Answer]] = {}
        self._open: set[asyncio.Task[None]] = set()
        self._connections_total = 0
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> Self:
        """Listen. Starting again after ``stop`` uses the same port and keeps scripts and recorded requests.

        Raises:
            OSError: the port is taken.
        """
        if self._thread is not None:
            return self
        started: deque[BaseException | None] = deque()
        listening = threading.Event()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(
            target=self._run, args=(self._loop, listening, started), name=f"upstream-{self.port}", daemon=True
        )
        self._thread.start()
        listening.wait()
        if (error := started.pop()) is not None:
            self._thread.join()
            self._thread = self._loop = None
            raise error
        return self

    def stop(self) -> None:
        """Stop listening and break every open connection; then connecting is refused. Stopping twice is fine."""
        if self._thread is None or self._loop is None:
            return
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._thread = self._loop = None

    def script(self, *answers: Answer, path: str | None = None, model: str | None = None) -> None:
        """Queue answers, each used once, for requests of that path (without query) and model in the JSON body."""
        with self._lock:
            self._scripts.setdefault((path, model), deque()).extend(answers)

    def clear(self) -> None:
        """Forget recorded requests, unused scripts and failures."""
        with self._lock:
            self._requests.clear()
            self._scripts.clear()
            self.failures.clear()

    @property
    def requests(self) -> list[Request]:
        """Requests whose body has come whole, oldest first; a copy."""
        with self._lock:
            return list(self._requests)

    @property
    def unused_answers(self) -> int:
        """How many scripted answers nobody has asked for."""
        with self._lock:
            return sum(map(len, self._scripts.values()))

    @property
    def open_connections(self) -> int:
        """How many connections are open now, idle ones too."""
        return len(self._open)

    @property
    def connections_total(self) -> int:
        """How many connections were accepted since the double was made."""
        return self._connections_total

    def wait_for_requests(self, count: int, timeout_seconds: float = 5.0) -> list[Request]:
        """Return ``requests`` once there are at least ``count``.

        Raises:
            TimeoutError: there are still fewer.
        """
        self._wait(lambda: len(self.requests) >= count, timeout_seconds, f"{count} requests")
        return self.requests

    def wait_for_open_connections(self, count: int, timeout_seconds: float = 5.0) -> None:
        """Return once exactly ``count`` connections are open.

        Raises:
            TimeoutError: there are still more or fewer.
        """
        self._wait(lambda: self.open_connections == count, timeout_seconds, f"{count} open connections")

    def _wait(self, done: Callable[[], bool], timeout_seconds: float, what: str) -> None:
        deadline = time.monotonic() + timeout_seconds
        while not done():
            if time.monotonic() >= deadline:
                have = f"{len(self.requests)} requests, {self.open_connections} open connections"
                raise TimeoutError(f"waited {timeout_seconds} s for {what}; there are {have}")
            time.sleep(_POLL_SECONDS)

    def _run(
        self, loop: asyncio.AbstractEventLoop, listening: threading.Event, started: deque[BaseException | None]
    ) -> None:
        asyncio.set_event_loop(loop)
        try:
            shutdown_timeout = 1.0 if self._tls else None
            serving = asyncio.start_server(
                self._accept, self.host, self.port, ssl=self._tls, backlog=1024, ssl_shutdown_timeout=shutdown_timeout
            )
            server = loop.run_until_complete(serving)
        except OSError as error:
            started.append(error)
            listening.set()
            loop.close()
            return
        started.append(None)
        listening.set()
        loop.run_forever()
        server.close()
        loop.run_until_complete(self._break_connections())
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()

    async def _break_connections(self) -> None:
        # Until none is left: one may have been accepted while the others were being broken.
        while self._open:
            for task in self._open:
                task.cancel()
            await asyncio.gather(*self._open, return_exceptions=True)
            await asyncio.sleep(0)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._open.add(task)
        self._connections_total += 1
        connection = wire.Connection(reader, writer, number=self._connections_total)
        try:
            while (request := await connection.next_request()) is not None:
                if self._record:
                    with self._lock:
                        self._requests.append(request)
                if not await connection.send(request, self._answer(request)):
                    break
        except (OSError, asyncio.CancelledError):
            pass  # the client went away, or the double stops
        except Exception as error:  # noqa: BLE001  not HTTP, or an answer that cannot be played
            self.failures.append(error)
        finally:
            await connection.close()
            self._open.discard(task)

    def _answer(self, request: Request) -> Answer:
        path, model = request.path, request.model if self._scripts else None
        with self._lock:
            for key in ((path, model), (path, None), (None, model), (None, None)):
                if script := self._scripts.get(key):
                    return script.popleft()
        try:
            return self.handler(request)
        except Exception as error:  # noqa: BLE001  a test's own handler; the test shall see what it did
            self.failures.append(error)
            return Answer.openai_error(500, f"the double's handler failed: {error!r}")


def _server_context(cert: Path | str, key: Path | str | None) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    return context


def _like_options(options: argparse.Namespace) -> Handler:
    words = [f" word{index}" for index in range(options.words)]
    whole = Answer.openai_chat("".join(words).strip())
    streams = {usage: Answer.openai_stream(words, options.delay, usage) for usage in (False, True)}

    def handler(request: Request) -> Answer:
        if (request.method, request.path) != ("POST", "/v1/chat/completions"):
            answer = openai_like(request)
        elif (asked := request.json()).get("stream"):
            answer = streams[bool((asked.get("stream_options") or {}).get("include_usage"))]
        else:
            answer = whole
        return answer.after(options.first_byte) if options.first_byte > 0 else answer

    return handler


def main(argv: Sequence[str] | None = None) -> None:
    """Run a double in the foreground until interrupted."""
    parser = argparse.ArgumentParser(description="An OpenAI-compatible upstream that makes its answers up.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=9100)
    parser.add_argument("--words", type=int, default=16, help="tokens in each chat answer")
    parser.add_argument("--delay", type=float, default=0.0, help="seconds between two streamed events")
    parser.add_argument("--first-byte", type=float, default=0.0, help="seconds before the status line")
    parser.add_argument("--tls-cert")
    parser.add_argument("--tls-key")
    options = parser.parse_args(argv)
    upstream = Upstream(
        _like_options(options),
        host=options.host,
        port=options.port,
        tls_cert=options.tls_cert,
        tls_key=options.tls_key,
        record=False,
    )
    with upstream, contextlib.suppress(KeyboardInterrupt):
        print(f"listening on {upstream.url}/v1", flush=True)
        threading.Event().wait()


if __name__ == "__main__":
    main()
