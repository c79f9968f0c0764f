"""`--fetch-image-urls`: off unless said, and even then nobody is led to a server on this machine or in its network."""

import contextlib
import hashlib
import os
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from harness import ports
from harness.rawhttp import RawAnswer, connect
from harness.system import BIN, request, wait_for
from harness.upstream import Upstream

KEY = "sk-tl-pictures-0123456789abcdef"
MANIFESTS = """
apiVersion: trunkline.dev/v1alpha1
kind: ProviderCredential
metadata: {{name: ollama}}
spec: {{provider: ollama, endpoint: {{baseURL: "{url}/v1"}}, auth: {{type: None}}}}
---
apiVersion: trunkline.dev/v1alpha1
kind: ModelGroup
metadata: {{name: eyes}}
spec:
  targets: [{{name: ollama, credentialRef: {{name: ollama}}, model: llava, dialect: OpenAIChat}}]
---
apiVersion: trunkline.dev/v1alpha1
kind: VirtualKey
metadata: {{name: me}}
spec: {{keyHash: "sha256:{hash}", models: ["*"]}}
"""
PNG = b"\x89PNG\r\n\x1a\n" + b"x" * 10


class Pictures:
    """An image server on this machine, at a port that is fetched from if there is one free; counts who came."""

    def __init__(self) -> None:
        self.came = 0
        self._socket = socket.socket()
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        for port in (8443, 8080, 0):
            with suppress(OSError):
                self._socket.bind(("127.0.0.1", port))
                break
        self._socket.listen()
        self.port = self._socket.getsockname()[1]
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self._socket.accept()
                self.came += 1
                with contextlib.closing(connection), suppress(OSError):
                    connection.settimeout(5)
                    connection.recv(4096)
                    head = f"HTTP/1.1 200 OK\r\ncontent-type: image/png\r\ncontent-length: {len(PNG)}\r\n\r\n"
                    connection.sendall(head.encode() + PNG)

    def close(self) -> None:
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)  # wakes `accept`
        self._socket.close()
        self._thread.join(5)


@pytest.fixture
def pictures() -> Iterator[Pictures]:
    server = Pictures()
    try:
        yield server
    finally:
        server.close()


@contextmanager
def running(directory: Path, upstream: Upstream, *flags: str, **environ: str) -> Iterator[int]:
    """Serve a model that takes no URLs of images; gives the port."""
    served = directory / "manifests"
    served.mkdir(exist_ok=True)
    digest = hashlib.sha256(KEY.encode()).hexdigest()
    (served / "all.yaml").write_text(MANIFESTS.format(url=upstream.url, hash=digest), encoding="utf-8")
    port, admin_port = ports.free_ports(2)
    argv = [BIN / "trunkline", "run", served, f"--port={port}", f"--admin-port={admin_port}"]
    own = {name: value for name, value in os.environ.items() if not name.startswith("TRUNKLINE_")}
    with (directory / "log").open("ab") as log:
        child = subprocess.Popen(
            [*argv, f"--state-dir={directory}", *flags], stdout=log, stderr=log, env={**own, **environ}
        )

    def ready() -> bool:
        assert child.poll() is None, (directory / "log").read_text(encoding="utf-8")
        with suppress(OSError):
            return request(admin_port, "GET", "/readyz").status == 200
        return False

    try:
        wait_for(ready, 30, "readiness")
        yield port
    finally:
        child.terminate()
        try:
            child.wait(15)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()


def ask(port: int, *content: object, stream: bool = False) -> RawAnswer:
    """Head and body in one go, as the shortest way through the gateway wants it."""
    asked = [*content, {"type": "text", "text": "What is it?"}]
    body = {"model": "eyes", "max_tokens": 8, "stream": stream, "messages": [{"role": "user", "content": asked}]}
    with connect(port, timeout_seconds=30) as raw:
        return raw.request("POST", "/v1/messages", body, f"x-api-key: {KEY}", "Connection: close").answer()


def picture(url: str) -> object:
    return {"type": "image", "source": {"type": "url", "url": url}}


def test_unless_it_is_said_nothing_is_fetched(tmp_path: Path, upstream: Upstream, pictures: Pictures) -> None:
    with running(tmp_path, upstream) as port:
        assert ask(port).status == 200  # from now on there is a connection to the upstream
        reply = ask(port, picture(f"http://127.0.0.1:{pictures.port}/a.png"))
    assert (reply.status, reply.headers["x-trunkline-lossy"]) == (200, "image_url")
    assert pictures.came == 0
    assert b"a.png" not in upstream.requests[-1].body


WAYS = (
    "http://127.0.0.1:{port}/a.png",
    "http://localhost:{port}/a.png",
    "http://[::1]:{port}/a.png",
    "http://[::ffff:127.0.0.1]:{port}/a.png",
    "http://2130706433:{port}/a.png",
    "http://0x7f.1:{port}/a.png",
    "http://127.1:{port}/a.png",
    "http://0.0.0.0:{port}/a.png",
    "http://user:secret@127.0.0.1:{port}/a.png",
    "http://169.254.169.254/latest/meta-data/",
    "http://10.0.0.1/a.png",
)


@pytest.mark.parametrize("way", ["flag", "variable"])
def test_what_is_on_this_machine_or_in_its_network_is_not_fetched(
    tmp_path: Path, upstream: Upstream, pictures: Pictures, way: str
) -> None:
    flags, environ = (("--fetch-image-urls",), {}) if way == "flag" else ((), {"TRUNKLINE_FETCH_IMAGE_URLS": "true"})
    said = set()
    with running(tmp_path, upstream, *flags, **environ) as port:
        assert ask(port).status == 200
        for each in WAYS:
            for stream in (False, True):
                reply = ask(port, picture(each.format(port=pictures.port)), stream=stream)
                assert reply.status == 400, (each, reply.body)
                assert reply.json["type"] == "error"
                assert reply.json["error"]["type"] == "invalid_request_error"
                said.add(reply.json["error"]["message"])
        assert ask(port).status == 200
    assert (pictures.came, len(upstream.requests)) == (0, 2)
    for message in said:
        for told in ("127.0", "localhost", "::", "169.254", "refused", str(pictures.port)):
            assert told not in message
    assert "secret" not in (tmp_path / "log").read_text(encoding="utf-8")
