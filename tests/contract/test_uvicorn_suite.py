"""uvicorn's own tests of its HTTP protocols, from its sdist, run against our protocol in place of its own.

They are run as they are, all of them, by the pytest of this environment in a process of its own; what fails must be
exactly what is named here, each with the reason why it is meant to.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import tarfile
import tomllib
import urllib.request
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "trunkline"
CONFTEST = Path(__file__).with_name("uvicorn_conftest.py")

WEBSOCKET = "WebSockets get 426; no WebSocket library is asked for, and none is warned about"
BOUND = "it sends a head a little over 64 KiB: 431"
REFUSAL = "what cannot be read is refused in OpenAI's error shape, and the client gets to read it before the end"
MEANT = {
    "test_keepalive_timeout_with_pipelined_websocket_upgrade": WEBSOCKET,
    "test_unsupported_ws_upgrade_request": WEBSOCKET,
    "test_unsupported_ws_upgrade_request_warn_on_auto": WEBSOCKET,
    "test_header_upgrade_is_not_websocket_depend_installed": WEBSOCKET,
    "test_header_upgrade_is_websocket_depend_not_installed": WEBSOCKET,
    "test_huge_headers_httptools": BOUND,
    "test_huge_headers_httptools_will_pass": BOUND,
    "test_shutdown_during_idle": "a connection that has just come has a second for its first request",
    "test_invalid_http": REFUSAL,
    "test_invalid_http_request": REFUSAL,
}

HEADERS = "the handler's headers are checked where they are made: our own, or parsed from an upstream"
CLOSE = "Connection is the driver's header: the handler cannot ask for the end of the connection"
ASGI = "about ASGI's scope, which is not made on the hot path"
CALLS = "about calls that ASGI forbids after the answer; a complete answer stays one"
MEANT_WITH_A_HANDLER = {
    "test_invalid_header_name": HEADERS,
    "test_response_header_splitting": HEADERS,
    "test_close": CLOSE,
    "test_connection_close_tokens[response-deduplicated]": CLOSE,
    "test_connection_close_tokens[response-multiple-tokens]": CLOSE,
    "test_http10_request": ASGI,
    "test_lifespan_state": ASGI,
    "test_scopes": ASGI,
    "test_message_after_body_complete": CALLS,
    "test_value_returned": CALLS,
    "test_request_logging": "the handler writes the access log",
    "test_max_concurrency": "limit_concurrency is for ASGI; Limits.in_flight is ours",
    "test_large_post_request": "reading goes on once the body is whole, so that a client that leaves is noticed",
    "test_shutdown_during_request": "the end waits a second for a client that may be sending its next request",
    "test_100_continue_sent_when_body_consumed": "a body that is there already is not asked for (RFC 9110, 10.1.1)",
}


def locked_sdist() -> tuple[str, str]:
    """The address and the SHA-256 of uvicorn's sdist, from the lock."""
    packages = tomllib.loads((REPOSITORY / "uv.lock").read_text())["package"]
    sdist = next(package["sdist"] for package in packages if package["name"] == "uvicorn")
    return sdist["url"], sdist["hash"].removeprefix("sha256:")


@pytest.fixture(scope="module")
def sdist() -> Path:
    url, digest = locked_sdist()
    cached = CACHE / url.rpartition("/")[2]
    if not cached.exists():
        try:
            with urllib.request.urlopen(url, timeout=30) as answer:
                data = answer.read()
        except OSError as error:
            missing = f"uvicorn's sdist is neither in {CACHE} nor to be had: {error}"
            if os.environ.get("TRUNKLINE_REQUIRE_APISERVER") == "1":
                pytest.fail(missing, pytrace=False)
            pytest.skip(missing)
        CACHE.mkdir(parents=True, exist_ok=True)
        partial = cached.with_suffix(f".{os.getpid()}")
        partial.write_bytes(data)
        partial.rename(cached)
    assert hashlib.sha256(cached.read_bytes()).hexdigest() == digest, f"{cached} is not what the lock names"
    return cached


@pytest.mark.parametrize(
    ("suite", "meant"),
    [pytest.param("cold", MEANT, id="as-ASGI"), pytest.param("hot", MEANT | MEANT_WITH_A_HANDLER, id="with-a-handler")],
)
def test_uvicorns_own_tests_fail_only_where_it_is_meant(
    sdist: Path, tmp_path: Path, suite: str, meant: dict[str, str]
) -> None:
    with tarfile.open(sdist) as packed:
        members = [member for member in packed if "/tests/" in member.name or member.name.endswith("pyproject.toml")]
        packed.extractall(tmp_path, members=members, filter="data")
    (root,) = tmp_path.iterdir()
    (root / "tests/protocols/conftest.py").write_text(CONFTEST.read_text())
    report = tmp_path / "report.xml"
    ran = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "tests/protocols/test_http.py", "-q", "--tb=short", "-o", "addopts="),
            *("--timeout=20", f"--junitxml={report}"),
            # Its tests are anyio's, not asyncio's; tests that fail leave coroutines behind.
            *("-p", "no:asyncio", "-p", "no:cacheprovider", "-p", "no:unraisableexception"),
        ],
        cwd=root,
        env={**os.environ, "TRUNKLINE_SUITE": suite, "PYTHONPATH": ""},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert ran.returncode in (0, 1), ran.stdout + ran.stderr
    cases = ET.parse(report).findall(".//testcase")
    failed = {
        case.attrib["name"] for case in cases if case.find("failure") is not None or case.find("error") is not None
    }
    assert len(cases) - len(failed) > 40
    unexpected = {name for name in failed if name not in meant and name.partition("[")[0] not in meant}
    assert not unexpected, ran.stdout
    stale = set(meant) - failed - {name.partition("[")[0] for name in failed}
    assert not stale, "named as failing, but they pass"
