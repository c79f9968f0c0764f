"""``trunkline-gateway``: the data plane as a process."""

import argparse
import ipaddress
import sys
from collections.abc import Mapping, Sequence
from importlib import metadata

from trunkline_gateway.routing.snapshot import Network
from trunkline_gateway.settings import Settings, redis_url_problem
from trunkline_protocol import flags, logs


def main(argv: Sequence[str] | None = None) -> int:
    """Run a gateway until SIGTERM or SIGINT."""
    parsed = parse(argv)
    logs.configure(level=parsed.log_level, log_format=parsed.log_format)
    # Late, so that `--help` and a wrong flag do not wait for the whole gateway.
    from trunkline_gateway import runtime  # noqa: PLC0415

    return runtime.run(settings(parsed))


def parser() -> flags.Parser:
    """Make the parser of the command line."""
    made = flags.Parser(prog="trunkline-gateway", description="Serve model traffic by the operator's routing table.")
    made.add_argument("--version", action="version", version=f"%(prog)s {metadata.version('trunkline')}")
    flags.add(made, FLAGS)
    return made


def parse(argv: Sequence[str] | None = None, environ: Mapping[str, str] | None = None) -> argparse.Namespace:
    """Read the command line and the environment; ends the program with exit code 2 where they are wrong."""
    made = parser()
    parsed = flags.parse(made, argv, environ)
    # Not by a converter of the flag: what is wrong would be shown together with the value, which may hold a password.
    if parsed.redis_url is not None and (problem := redis_url_problem(parsed.redis_url)) is not None:
        made.error(f"--redis-url {problem}")
    return parsed


def settings(parsed: argparse.Namespace) -> Settings:
    """Take the settings out of what was parsed."""
    default = Settings(operator=parsed.operator)
    return Settings(
        operator=parsed.operator,
        host=parsed.host,
        port=parsed.port,
        admin_port=parsed.admin_port,
        ca_file=parsed.ca_file,
        token_file=parsed.token_file,
        state_dir=parsed.state_dir,
        max_body_bytes=parsed.max_body_bytes,
        max_in_flight=parsed.max_in_flight,
        connect_timeout_seconds=parsed.connect_timeout,
        first_byte_timeout_seconds=parsed.first_byte_timeout,
        stream_idle_timeout_seconds=parsed.stream_idle_timeout,
        total_timeout_seconds=parsed.total_timeout,
        trusted_proxies=parsed.trusted_proxy,
        drain_delay_seconds=parsed.drain_delay,
        shutdown_grace_seconds=parsed.shutdown_grace,
        fetch_image_urls=parsed.fetch_image_urls,
        redis_url=parsed.redis_url,
        node_name=parsed.node_name or default.node_name,
    )


def operator_address(value: str) -> str:
    """``HOST:PORT`` or ``unix:PATH``."""
    if value.startswith("unix:"):
        if not value.removeprefix("unix:"):
            raise ValueError("is neither HOST:PORT nor unix:PATH")
        return value
    try:
        flags.address(value)
    except ValueError:
        raise ValueError("is neither HOST:PORT nor unix:PATH") from None
    return value


def some_seconds(value: str) -> float:
    """A duration such as ``500ms`` or ``3s``; a bare number is seconds."""
    return flags.duration(f"{value}s" if value.isdigit() else value).total_seconds()


def seconds(value: str) -> float:
    """The same, and more than nothing."""
    duration = some_seconds(value)
    if duration <= 0:
        raise ValueError("must be more than nothing")
    return duration


def network(value: str) -> Network:
    """A CIDR, or one address."""
    try:
        return ipaddress.ip_network(value)
    except ValueError:
        raise ValueError("is not a CIDR such as 10.0.0.0/8") from None


FLAGS = (
    flags.Flag("operator", operator_address, "Where the operator is: HOST:PORT, or unix:PATH.", required=True),
    flags.Flag("host", flags.text, "Address to listen on.", "0.0.0.0"),  # noqa: S104
    flags.Flag("port", flags.port, "Port of the APIs.", 8080),
    flags.Flag("admin-port", flags.port, "Port of metrics, health and debug.", 9090),
    flags.Flag("ca-file", flags.path, "CA bundle that the operator's certificate must stand on."),
    flags.Flag("token-file", flags.path, "ServiceAccount token to show to the operator; read again when it changes."),
    flags.Flag("state-dir", flags.path, "Where to keep the last known good table, secrets included: a memory medium."),
    flags.Flag("max-body-bytes", flags.size, "Longest body of a request.", 64 << 20),
    flags.Flag("max-in-flight", flags.count, "Requests answered at once; more get 503. 0: any number.", 0),
    flags.Flag("connect-timeout", seconds, "For a connection to an upstream.", 3.0),
    flags.Flag("first-byte-timeout", seconds, "For the head of an upstream's answer.", 60.0),
    flags.Flag("stream-idle-timeout", seconds, "For silence within an upstream's answer.", 60.0),
    flags.Flag("total-timeout", seconds, "For a request with all its attempts.", 600.0),
    flags.Flag("trusted-proxy", network, "Network whose X-Forwarded-For is believed.", repeated=True, metavar="CIDR"),
    flags.Flag("drain-delay", some_seconds, "How long new requests are still served after SIGTERM.", 5.0),
    flags.Flag("shutdown-grace", seconds, "How long running answers may take after the drain delay.", 30.0),
    flags.Flag("fetch-image-urls", flags.switch, "Fetch images behind URLs for upstreams that take no URLs.", False),
    flags.Flag("redis-url", flags.text, "Redis that gateways share limits in: redis://, rediss:// or unix://."),
    flags.Flag("node-name", flags.text, "What the operator calls this gateway; default: the host's name."),
    flags.Flag("log-level", flags.one_of(*logs.LEVELS), "Least level to log.", "info"),
    flags.Flag("log-format", flags.one_of(*logs.FORMATS), "json or text.", "json"),
)


if __name__ == "__main__":
    sys.exit(main())
