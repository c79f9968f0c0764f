"""A TCP relay that a test can freeze, cut or point elsewhere: a network between two processes."""

from __future__ import annotations

import contextlib
import selectors
import socket
import threading
from types import TracebackType
from typing import Self

from harness import ports


class Relay:
    """Listens on ``port`` at 127.0.0.1 and passes bytes to ``target`` and back. All methods are thread-safe.

    Attributes:
        target: port at 127.0.0.1 that new connections go to; may be changed.
    """

    def __init__(self, target: int) -> None:
        self.port = ports.free_port()
        self.target = target
        self._refusing = threading.Event()
        self._flowing = threading.Event()
        self._flowing.set()
        self._stopped = threading.Event()
        self._lock = threading.Lock()
        self._pairs: set[tuple[socket.socket, socket.socket]] = set()
        self._listener = socket.create_server(("127.0.0.1", self.port), backlog=128)
        self._thread = threading.Thread(target=self._accept, name=f"relay-{self.port}", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopped.set()
        self._flowing.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.cut()

    def freeze(self) -> None:
        """Pass nothing on any more, without closing anything: the other side just seems silent."""
        self._flowing.clear()

    def thaw(self) -> None:
        """Pass on again, what has waited first."""
        self._flowing.set()

    def refuse(self, refusing: bool = True) -> None:
        """Close new connections at once, or take them again."""
        self._refusing.set() if refusing else self._refusing.clear()

    def cut(self) -> None:
        """Close every connection."""
        with self._lock:
            pairs, self._pairs = self._pairs, set()
        for pair in pairs:
            for end in pair:
                with contextlib.suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)

    def _accept(self) -> None:
        while not self._stopped.is_set():
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            if self._refusing.is_set():
                near.close()
                continue
            try:
                far = socket.create_connection(("127.0.0.1", self.target), timeout=5)
            except OSError:
                near.close()
                continue
            far.settimeout(None)
            pair = (near, far)
            with self._lock:
                self._pairs.add(pair)
            threading.Thread(target=self._pass, args=(pair,), daemon=True).start()

    def _pass(self, pair: tuple[socket.socket, socket.socket]) -> None:
        with contextlib.suppress(OSError), selectors.DefaultSelector() as selector:
            for here, there in (pair, pair[::-1]):
                selector.register(here, selectors.EVENT_READ, there)
            open_ends = 2
            while open_ends:
                for key, _ in selector.select(timeout=1):
                    here, there = key.fileobj, key.data
                    assert isinstance(here, socket.socket)
                    data = here.recv(65536)
                    self._flowing.wait()
                    if data:
                        there.sendall(data)
                    else:
                        selector.unregister(here)
                        there.shutdown(socket.SHUT_WR)
                        open_ends -= 1
        with self._lock:
            self._pairs.discard(pair)
        for end in pair:
            end.close()
