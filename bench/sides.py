"""The servers that are compared, each started with all its routes on the server's core, and the upstreams behind them.

A `Side` has one port for each upstream name (they may be the same), the process it runs in, and the requests that it
understands. Upstream names:

- ``bench``, ``stream``: the double, as fast as it can (nginx: ``stream`` is not buffered);
- ``paced``: the double, one event per stream and tick; ``idle``: one event per stream every 20 seconds;
- ``tls``: an nginx with a certificate of an authority of our own, which every side checks;
- ``messages``, ``messages-paced``: ``bench`` and ``paced`` as they speak Anthropic's dialect, for gateways that
  translate.
"""

import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Protocol, Self

from bench import machine, wire

from harness.certificates import ServingCertificate, serving_certificate
from harness.children import Child
from harness.ports import free_port, free_ports

GROUPS = 1_000
KEYS = 10_000
EVENTS = 500
MESSAGES = MappingProxyType({"bench": "messages", "stream": "messages", "paced": "messages-paced"})
"""Upstreams, and what they are called where they speak Anthropic's dialect."""

_KEEP_ALIVE = 2048


class Side(Protocol):
    """One of the servers that are compared."""

    name: str
    child: Child

    def port(self, upstream: str) -> int:
        """Where it serves that upstream."""

    def requests(self, kind: wire.Kind) -> list[bytes]:
        """Requests of that kind as this server understands them."""


def wait_open(port: int, child: Child, seconds: float = 20) -> None:
    """Wait until something listens on ``port``.

    Raises:
        RuntimeError: the process ended, or nothing did in time; the message holds the end of its log.
    """
    deadline = time.monotonic() + seconds
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            if not child.alive or time.monotonic() > deadline:
                raise RuntimeError(f"{child.name} did not start\n{child.log_tail()}") from None
            time.sleep(0.005)
        else:
            return


def status(port: int, path: str) -> int:
    """The status of a GET; 0: no answer."""
    connection = HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", path)
        return connection.getresponse().status
    except (OSError, HTTPException):
        return 0
    finally:
        connection.close()


@dataclass
class Upstreams:
    """The upstreams of one run, on the load's core. Close them."""

    directory: Path
    tick_microseconds: int = 1000
    ports: dict[str, int] = field(default_factory=dict)
    children: list[Child] = field(default_factory=list)
    certificate: ServingCertificate | None = None

    def start(self) -> Self:
        """Compile what must be compiled and start all."""
        machine.native(self.directory)
        # Idle streams take turns: a five hundredth of them every 40 ms.
        for name, tick, slices in (("bench", 0, 1), ("paced", self.tick_microseconds, 1), ("idle", 40_000, 500)):
            port = free_port()
            double = [str(self.directory / "double"), str(port), str(EVENTS), str(tick), str(slices)]
            argv = [*machine.pinned(machine.LOAD_CORE), *double]
            child = Child(f"double-{name}", argv, log=self.directory / f"double-{name}.log")
            self.children.append(child)
            wait_open(port, child)
            self.ports[name] = port
        self.ports["stream"] = self.ports["bench"]
        self.certificate = serving_certificate(self.directory)
        self.ports["tls"] = free_port()
        answer = json.dumps(wire.ANSWER)
        server = f"""
            server {{
                listen 127.0.0.1:{self.ports["tls"]} ssl;
                ssl_certificate {self.certificate.cert}; ssl_certificate_key {self.certificate.key};
                ssl_protocols TLSv1.3;
                location / {{ default_type application/json; return 200 '{answer}'; }}
            }}"""
        self.children.append(nginx(self.directory / "nginx-tls", server, core=machine.LOAD_CORE))
        wait_open(self.ports["tls"], self.children[-1])
        return self

    def url(self, name: str) -> str:
        """Base URL for a ProviderCredential."""
        if name in MESSAGES.values():
            return f"http://127.0.0.1:{self.ports['paced' if name == MESSAGES['paced'] else 'bench']}"
        return f"{'https' if name == 'tls' else 'http'}://127.0.0.1:{self.ports[name]}/v1"

    def close(self) -> None:
        """End all."""
        for child in self.children:
            child.kill()


def nginx(directory: Path, servers: str, *, core: int) -> Child:
    """Run nginx on ``core`` with these server blocks: one process, which leaves no workers behind when it is killed."""
    directory.mkdir()
    config = directory / "nginx.conf"
    temporary = " ".join(
        f"{each}_temp_path {directory};" for each in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    config.write_text(
        f"""
        daemon off; master_process off; pid {directory}/pid; error_log {directory}/error.log;
        {"user root;" if os.geteuid() == 0 else ""}
        worker_rlimit_nofile {machine.raise_open_files()};
        events {{ worker_connections 65000; }}
        http {{
            access_log off; {temporary}
            client_max_body_size 64m; client_body_buffer_size 256k;
            keepalive_requests 1000000000; keepalive_timeout 75s;
            {servers}
        }}
        """,
        encoding="utf-8",
    )
    argv = [*machine.pinned(core), machine.need("nginx", "nginx-light"), "-p", str(directory), "-c", str(config)]
    return Child(directory.name, argv, log=directory / "log")


class Direct:
    """No server in between: what the load generator and the upstream cost by themselves."""

    name = "direct"

    def __init__(self, upstreams: Upstreams) -> None:
        self._upstreams = upstreams
        self.child = upstreams.children[0]

    def port(self, upstream: str) -> int:
        """See `Side`."""
        return self._upstreams.ports[upstream]

    def requests(self, kind: wire.Kind) -> list[bytes]:
        """See `Side`."""
        return wire.mixed(kind, groups=GROUPS, keys=KEYS)


class Nginx:
    """nginx as a bare reverse proxy: no access log, no keys, no metrics. The limit."""

    name = "nginx"

    def __init__(self, upstreams: Upstreams, directory: Path) -> None:
        names = list(upstreams.ports)
        self._ports = dict(zip(names, free_ports(len(names)), strict=True))
        assert upstreams.certificate is not None
        blocks = []
        for name, port in self._ports.items():
            secure = (
                f"proxy_ssl_trusted_certificate {upstreams.certificate.ca}; proxy_ssl_verify on;"
                " proxy_ssl_name localhost; proxy_ssl_protocols TLSv1.3;"
            )
            blocks.append(f"""
            upstream {name} {{
                server 127.0.0.1:{upstreams.ports[name]};
                keepalive {_KEEP_ALIVE}; keepalive_requests 1000000000;
            }}
            server {{
                listen 127.0.0.1:{port} backlog=4096;
                location / {{
                    proxy_pass {"https" if name == "tls" else "http"}://{name};
                    proxy_http_version 1.1; proxy_set_header Connection ""; proxy_read_timeout 600s;
                    proxy_buffering {"off" if name in ("stream", "paced", "idle") else "on"};
                    {secure if name == "tls" else ""}
                }}
            }}""")
        begun = time.monotonic()
        self.child = nginx(directory / "nginx", "\n".join(blocks), core=machine.SERVER_CORE)
        for port in self._ports.values():
            wait_open(port, self.child)
        self.start_seconds = time.monotonic() - begun
        self.ready_mb = machine.resident_mb(self.child)

    def port(self, upstream: str) -> int:
        """See `Side`."""
        return self._ports[upstream]

    def requests(self, kind: wire.Kind) -> list[bytes]:
        """See `Side`."""
        return wire.mixed(kind, groups=GROUPS, keys=KEYS)


class Trunkline:
    """A gateway from a source tree, fed by an operator's double on the load's core. JSON log to a file, metrics on."""

    def __init__(
        self,
        upstreams: Upstreams,
        directory: Path,
        *,
        name: str = "trunkline",
        tree: Path = machine.ROOT,
        python: str = sys.executable,
        groups: int = GROUPS,
        keys: int = KEYS,
        translates: bool = False,
    ) -> None:
        self.name = name
        self.groups, self.keys = groups, keys
        self._public, self.admin_port = free_ports(2)
        home = directory / name
        home.mkdir()
        places = [tree / each for each in ("protocol", "gateway", "operator", "cli")]
        env = {name: value for name, value in os.environ.items() if not name.startswith("TRUNKLINE_")}
        env["PYTHONPATH"] = os.pathsep.join(map(str, [*places, machine.ROOT, machine.ROOT / "tests"]))
        names = (*upstreams.ports, *sorted(set(MESSAGES.values()))) if translates else tuple(upstreams.ports)
        told = {
            "socket": str(home / "operator.sock"),
            "groups": groups,
            "keys": keys,
            "upstreams": {each: upstreams.url(each) for each in names},
            "ca": upstreams.certificate.ca.read_text(encoding="ascii") if upstreams.certificate else "",
        }
        self._feed = subprocess.Popen(
            [*machine.pinned(machine.LOAD_CORE), python, "-m", "bench.feed", json.dumps(told)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=env,
            cwd=home,
            text=True,
        )
        self._read("ready")
        argv = [
            *machine.pinned(machine.SERVER_CORE), python, "-m", "trunkline_gateway.main",
            f"--operator={f'unix:{home}/operator.sock'}", "--host=127.0.0.1", f"--port={self._public}",
            f"--admin-port={self.admin_port}", "--log-format=json",
        ]  # fmt: skip
        begun = time.monotonic()
        env.pop("PYTHONPATH")
        env["PYTHONPATH"] = os.pathsep.join(map(str, places))
        self.log = home / "log"
        self.child = Child(name, argv, log=self.log, env=env)
        while status(self.admin_port, "/readyz") != 200:
            if not self.child.alive or time.monotonic() > begun + 60:
                raise RuntimeError(f"the gateway did not get ready\n{self.child.log_tail()}")
            time.sleep(0.005)
        self.start_seconds = time.monotonic() - begun
        self.ready_mb = machine.resident_mb(self.child)

    def port(self, upstream: str) -> int:
        """See `Side`."""
        return self._public

    def requests(self, kind: wire.Kind) -> list[bytes]:
        """See `Side`."""
        return wire.mixed(kind, groups=self.groups, keys=self.keys)

    def change(self) -> None:
        """Make the operator change its table, and wait until the gateway has acknowledged it."""
        assert self._feed.stdin is not None
        self._feed.stdin.write("\n")
        self._feed.stdin.flush()
        self._read("changed")

    def _read(self, expected: str) -> None:
        assert self._feed.stdout is not None
        if (line := self._feed.stdout.readline().strip()) != expected:
            raise RuntimeError(f"the operator's double said {line!r} instead of {expected!r}")

    def close(self) -> None:
        """End the gateway and its feed."""
        self.child.kill()
        with self._feed:  # closes its input, which ends it, and waits
            pass


class Pair:
    """A running gateway, as it is seen by clients of one dialect whose models are served in another, or the same.

    Args:
        gateway: It; made with ``translates``.
        client: What the clients speak.
        upstreams: Of the models, by that of the kind of request; else that one itself, which speaks OpenAI chat.
        name: Shown.
    """

    def __init__(
        self, gateway: Trunkline, name: str, client: str, upstreams: Mapping[str, str] = MappingProxyType({})
    ) -> None:
        self.name = name
        self.child = gateway.child
        self._gateway = gateway
        self._client = client
        self._upstreams = upstreams

    def port(self, upstream: str) -> int:
        """See `Side`."""
        return self._gateway.port(upstream)

    def requests(self, kind: wire.Kind) -> list[bytes]:
        """See `Side`."""
        asked = replace(kind, upstream=self._upstreams.get(kind.upstream, kind.upstream))
        return wire.mixed(asked, groups=self._gateway.groups, keys=self._gateway.keys, dialect=self._client)


class Bench:
    """Upstreams, sides and scratch space of one run.

    with Bench() as bench:
        nginx, ours = bench.nginx(), bench.trunkline()
    """

    def __init__(self, *, tick_microseconds: int = 1000) -> None:
        self._stack = ExitStack()
        self.directory = Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix="trunkline-bench-")))
        machine.raise_open_files()
        self.upstreams = Upstreams(self.directory, tick_microseconds)
        self._files: dict[tuple[str, str], Path] = {}

    def __enter__(self) -> Self:
        self._stack.enter_context(machine.alone())
        self._stack.callback(self.upstreams.close)
        try:
            self.upstreams.start()
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def direct(self) -> Direct:
        """The upstreams themselves."""
        return Direct(self.upstreams)

    def nginx(self) -> Nginx:
        """A started nginx."""
        made = Nginx(self.upstreams, self.directory)
        self._stack.callback(made.child.kill)
        return made

    def trunkline(
        self,
        name: str = "trunkline",
        tree: Path = machine.ROOT,
        python: str = sys.executable,
        *,
        translates: bool = False,
    ) -> Trunkline:
        """A started gateway that is ready; with ``translates`` it has as many models again, of ``messages``."""
        made = Trunkline(self.upstreams, self.directory, name=name, tree=tree, python=python, translates=translates)
        self._stack.callback(made.close)
        return made

    def pairs(self, tree: Path = machine.ROOT) -> list[Pair]:
        """One gateway as clients of several dialects see it; the first is not translated."""
        gateway = self.trunkline("translating", tree, translates=True)
        return [
            Pair(gateway, "chat to chat, passed on", "openai_chat"),
            Pair(gateway, "messages to chat", "anthropic_messages"),
            Pair(gateway, "chat to messages", "openai_chat", MESSAGES),
            Pair(gateway, "gemini to chat", "gemini_generate"),
        ]

    def adopt(self, child: Child) -> Child:
        """End ``child`` with this run."""
        self._stack.callback(child.kill)
        return child

    def file(self, side: Side, kind: wire.Kind) -> Path:
        """The requests of that kind for that side, in a file as the load generator reads it."""
        key = (side.name, kind.name)
        if key not in self._files:
            self._files[key] = wire.write(self.directory / f"{side.name}-{kind.name}.requests", side.requests(kind))
        return self._files[key]
