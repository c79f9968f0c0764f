"""The command line of the gateway."""

import ipaddress
from pathlib import Path

import pytest

from trunkline_gateway import main
from trunkline_gateway.settings import Settings


def parsed(*argv: str, **environ: str) -> Settings:
    return main.settings(main.parse(argv, environ))


def test_the_defaults_are_those_of_the_contract() -> None:
    found = parsed("--operator", "operator:8443")
    assert found == Settings(operator="operator:8443")
    assert (found.host, found.port, found.admin_port, found.max_body_bytes) == ("0.0.0.0", 8080, 9090, 64 << 20)
    assert (found.connect_timeout_seconds, found.first_byte_timeout_seconds) == (3, 60)
    assert (found.stream_idle_timeout_seconds, found.total_timeout_seconds) == (60, 600)
    assert (found.drain_delay_seconds, found.shutdown_grace_seconds) == (5, 30)
    assert found.redis_url is None
    assert not found.fetch_image_urls


def test_every_flag_has_a_variable() -> None:
    found = parsed(
        TRUNKLINE_OPERATOR="unix:/run/operator.sock",
        TRUNKLINE_ADMIN_PORT="9999",
        TRUNKLINE_TRUSTED_PROXY="10.0.0.0/8,192.0.2.1",
        TRUNKLINE_MAX_BODY_BYTES="1MiB",
        TRUNKLINE_MAX_IN_FLIGHT="500",
        TRUNKLINE_STATE_DIR="/var/run/trunkline",
        TRUNKLINE_CONNECT_TIMEOUT="500ms",
        TRUNKLINE_TOTAL_TIMEOUT="90",
        TRUNKLINE_NODE_NAME="gw-1",
        TRUNKLINE_DRAIN_DELAY="0s",
        TRUNKLINE_FETCH_IMAGE_URLS="true",
        TRUNKLINE_REDIS_URL="rediss://:canary@redis:6380/1",
    )
    assert found.drain_delay_seconds == 0
    assert found.fetch_image_urls
    assert found.redis_url == "rediss://:canary@redis:6380/1"
    assert "canary" not in repr(found)
    assert found.operator == "unix:/run/operator.sock"
    assert found.admin_port == 9999
    assert found.trusted_proxies == (ipaddress.ip_network("10.0.0.0/8"), ipaddress.ip_network("192.0.2.1"))
    assert (found.max_body_bytes, found.max_in_flight) == (1 << 20, 500)
    assert found.state_dir == Path("/var/run/trunkline")
    assert (found.connect_timeout_seconds, found.total_timeout_seconds) == (0.5, 90)
    assert found.node_name == "gw-1"


def test_a_repeated_flag_is_a_list() -> None:
    found = parsed("--operator=o:1", "--trusted-proxy=10.0.0.0/8", "--trusted-proxy", "fd00::/8")
    assert len(found.trusted_proxies) == 2


@pytest.mark.parametrize(
    ("argv", "says"),
    [
        ([], "--operator is missing"),
        (["--operator=nowhere"], "neither HOST:PORT nor unix:PATH"),
        (["--operator=unix:"], "neither HOST:PORT nor unix:PATH"),
        (["--operator=o:1", "--connect-timeout=0"], "more than nothing"),
        (["--operator=o:1", "--connect-timeout=soon"], "not a duration"),
        (["--operator=o:1", "--trusted-proxy=everyone"], "not a CIDR"),
        (["--operator=o:1", "--trusted-proxy=10.0.0.1/8"], "not a CIDR"),
        (["--operator=o:1", "--log-level=loud"], "not one of"),
        (["--operator=o:1", "--shutdown-grace=0"], "more than nothing"),
    ],
)
def test_what_is_wrong_is_said_in_a_sentence(argv: list[str], says: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        parsed(*argv)
    assert ended.value.code == 2
    assert says in capsys.readouterr().err


@pytest.mark.parametrize(
    "url",
    [
        "redis://r",
        "redis://r:6379/0",
        "rediss://user:p%40ss@r.example:6380",
        "unix:///run/redis.sock",
        "redis://[::1]/2",
    ],
)
def test_the_url_of_a_redis_is_taken(url: str) -> None:
    assert parsed("--operator=o:1", f"--redis-url={url}").redis_url == url


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("http://:canary@r", "redis://, rediss:// or unix://"),
        ("r:6379", "redis://, rediss:// or unix://"),
        ("redis://:canary@", "names no host"),
        ("redis://:canary@r:many", "is not a URL"),
        ("redis://:canary@[r", "is not a URL"),
        ("redis://:canary@r/main", "names no database"),
        ("unix://:canary@", "names no socket"),
    ],
)
@pytest.mark.parametrize("way", ["flag", "variable"])
def test_a_wrong_url_of_a_redis_is_refused_without_being_shown(
    url: str, says: str, way: str, capsys: pytest.CaptureFixture[str]
) -> None:
    argv, environ = ([f"--redis-url={url}"], {}) if way == "flag" else ([], {"TRUNKLINE_REDIS_URL": url})
    with pytest.raises(SystemExit) as ended:
        parsed("--operator=o:1", *argv, **environ)
    assert ended.value.code == 2
    said = capsys.readouterr().err
    assert says in said
    assert "--redis-url" in said
    assert "canary" not in said


def test_the_version_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main.main(["--version"])
    assert ended.value.code == 0
    assert capsys.readouterr().out.startswith("trunkline-gateway 0.")
