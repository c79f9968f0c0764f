"""Everything a gateway is told when it starts; `main` reads it from flags, an embedding program makes it itself."""

import socket
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from trunkline_gateway.routing.snapshot import Network


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Of one gateway.

    Attributes:
        operator: ``HOST:PORT``, or ``unix:PATH`` for one in this process or on this machine.
        port: Of the public listener; 0 lets the system choose.
        admin_port: Of metrics and health; 0 lets the system choose.
        ca_file: CA bundle that the operator's certificate must stand on; None: the system's. Not for a Unix socket.
        token_file: Holds the ServiceAccount token shown to the operator; read again for each connection.
        state_dir: Where the last known good is kept, secrets included; None: nowhere.
        max_in_flight: Requests that are answered at once; more get 503. 0: any number.
        connect_timeout_seconds: This and the next ones: defaults of every upstream request.
        total_timeout_seconds: Of a request with all its attempts.
        trusted_proxies: Peers whose ``X-Forwarded-For`` is believed.
        drain_delay_seconds: How long after SIGTERM new requests are still served, since those who send them hear of it
            late; 0: not at all.
        shutdown_grace_seconds: How long running answers may take after that.
        fetch_image_urls: Images behind URLs are fetched here for upstreams that take no URLs.
        redis_url: Of the Redis that gateways share limits in, see `redis_url_problem`; may hold a password. Not used
            yet.
    """

    operator: str
    host: str = "0.0.0.0"  # noqa: S104  # a gateway is there to be reached
    port: int = 8080
    admin_port: int = 9090
    ca_file: Path | None = None
    token_file: Path | None = None
    state_dir: Path | None = None
    max_body_bytes: int = 64 << 20
    max_in_flight: int = 0
    connect_timeout_seconds: float = 3.0
    first_byte_timeout_seconds: float = 60.0
    stream_idle_timeout_seconds: float = 60.0
    total_timeout_seconds: float = 600.0
    trusted_proxies: tuple[Network, ...] = ()
    drain_delay_seconds: float = 5.0
    shutdown_grace_seconds: float = 30.0
    fetch_image_urls: bool = False
    redis_url: str | None = field(default=None, repr=False)
    node_name: str = field(default_factory=socket.gethostname)


def redis_url_problem(url: str) -> str | None:
    """What is wrong with the URL of a Redis, in words that hold nothing of it; None: nothing.

    ``redis://[[user]:password@]host[:port][/database]``, ``rediss://`` for TLS, ``unix://[user:password@]/path``.
    """
    try:
        parts = urlsplit(url)
        scheme, host, _ = parts.scheme, parts.hostname, parts.port
    except ValueError:
        return "is not a URL"
    if scheme == "unix":
        return None if len(parts.path) > 1 else "names no socket, as in unix:///run/redis.sock"
    if scheme not in ("redis", "rediss"):
        return "is not a URL with redis://, rediss:// or unix://"
    if not host:
        return "names no host"
    database = parts.path.removeprefix("/")
    return None if database.isdecimal() or not database else "names no database by its number, as in redis://host/0"
