"""The gateway's start-up probe is a program whose output the kubelet shows: what it prints, and when it fails."""

import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from chart.rendering import objects, pod_specs

ANSWERS = {"unready": (503, "There is no routing table yet: the operator does not answer.\n"), "ready": (200, "ok\n")}


class Admin(BaseHTTPRequestHandler):
    answer = "ready"

    def do_GET(self) -> None:
        status, body = ANSWERS[self.server.answer] if self.path == "/readyz" else (404, "")  # type: ignore[attr-defined]
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, *_: object) -> None:
        """Stay quiet."""


@pytest.fixture
def admin() -> Iterator[ThreadingHTTPServer]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Admin) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def probe(port: int) -> tuple[int, str]:
    """Run the probe of the default values against ``port``."""
    (gateway,) = [spec for pod, _, spec in pod_specs(objects("default")) if pod.endswith("-gateway")]
    program, *arguments = gateway["containers"][0]["startupProbe"]["exec"]["command"]
    assert program == "python3"
    assert "9090" in arguments[-1]
    arguments[-1] = arguments[-1].replace("9090", str(port))
    done = subprocess.run([sys.executable, *arguments], capture_output=True, text=True, timeout=10, check=False)
    return done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize(("answer", "expected"), [("ready", (0, "")), ("unready", (1, ANSWERS["unready"][1]))])
def test_it_passes_where_the_gateway_is_ready_and_else_says_why(
    admin: ThreadingHTTPServer, answer: str, expected: tuple[int, str]
):
    admin.answer = answer  # type: ignore[attr-defined]
    assert probe(admin.server_port) == expected


def test_a_gateway_that_does_not_listen_yet_is_a_sentence(admin: ThreadingHTTPServer):
    port = admin.server_port
    admin.server_close()
    assert probe(port) == (1, "The admin port does not answer yet: Connection refused\n")
