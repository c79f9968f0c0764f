"""A gateway reduced to its subscription: it holds what it is sent, acknowledges, and may be told to refuse."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

import grpc

from trunkline_protocol.table import READER_VERSION, Name
from trunkline_protocol.v1 import routing_pb2 as pb
from trunkline_protocol.v1 import routing_pb2_grpc


class SimulatedGateway:
    """Connects, and reconnects, until closed; a context manager.

    Attributes:
        held: what it holds, by name.
        updates: how many updates it has had.
        refusal: what the operator answered instead of a stream, last.
    """

    def __init__(
        self,
        name: str,
        *,
        port: int,
        ca_file: Path,
        token: str,
        refuse: Callable[[Name], str] = lambda name: "",
        silent: bool = False,
    ) -> None:
        """Make one.

        Args:
            name: the node's.
            port: of the operator at 127.0.0.1.
            ca_file: what signed the operator's certificate; may not exist yet.
            token: of its ServiceAccount.
            refuse: gives the reason for which it refuses a resource; empty: it takes it.
            silent: never acknowledge.
        """
        self.name = name
        self.held: dict[Name, pb.Resource] = {}
        self.updates = 0
        self.refusal: grpc.StatusCode | None = None
        self.refuse = refuse
        self.silent = silent
        self._port = port
        self._ca_file = ca_file
        self._token = token
        self._closing = threading.Event()
        self._call: grpc.Call | None = None
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the stream and the thread."""
        self._closing.set()
        if self._call is not None:
            self._call.cancel()
        self._thread.join(10)

    def holds(self, kind: pb.Type.ValueType, name: str) -> bool:
        """Whether it holds a resource."""
        return Name(kind, name) in self.held

    def _run(self) -> None:
        while not self._closing.wait(0.05):
            try:
                self._stream()
            except grpc.RpcError as error:
                self.refusal = error.code()
            except OSError:
                pass  # no certificate yet

    def _stream(self) -> None:
        credentials = grpc.ssl_channel_credentials(self._ca_file.read_bytes())
        with grpc.secure_channel(f"127.0.0.1:{self._port}", credentials) as channel:
            outgoing: queue.Queue[pb.GatewayMessage] = queue.Queue()
            hello = pb.Hello(
                node=pb.Node(name=self.name, instance="1", version="test"),
                reader=READER_VERSION,
                held=[pb.Held(type=n.type, name=n.name, version=r.version) for n, r in self.held.items()],
            )
            outgoing.put(pb.GatewayMessage(hello=hello))
            metadata = (("authorization", f"Bearer {self._token}"),)
            self._call = routing_pb2_grpc.RoutingStub(channel).Stream(self._messages(outgoing), metadata=metadata)
            for message in self._call:
                if (ack := self._apply(message.update)) is not None and not self.silent:
                    outgoing.put(pb.GatewayMessage(ack=ack))

    def _messages(self, outgoing: queue.Queue[pb.GatewayMessage]) -> Iterator[pb.GatewayMessage]:
        while not self._closing.is_set():
            try:
                yield outgoing.get(timeout=0.1)
            except queue.Empty:
                continue

    def _apply(self, update: pb.Update) -> pb.Ack | None:
        ack = pb.Ack(nonce=update.nonce, table_version=update.table_version)
        for resource in update.resources:
            name = Name(resource.type, resource.name)
            if reason := self.refuse(name):
                held = self.held.get(name)
                ack.rejected.append(
                    pb.Reject(
                        type=name.type,
                        name=name.name,
                        version=resource.version,
                        reason=reason,
                        held_version=held.version if held else b"",
                    )
                )
            else:
                self.held[name] = resource
        for removal in update.removals:
            self.held.pop(Name(removal.type, removal.name), None)
        self.updates += not update.more
        return None if update.more else ack
