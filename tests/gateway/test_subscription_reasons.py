"""What is wrong between a gateway and its operator, in one sentence, with the real causes; and once in the log."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import grpc
import pytest
from grpc import aio

from builders import wire as make
from builders import wire_ends as ends
from harness import certificates, ports
from trunkline_gateway.subscription import client, reasons
from trunkline_operator.publish.tls import ServingCertificate


async def why(address: str, ca_file: Path | None, *, token_file: Path | None = None) -> str:
    """What a gateway says after its first try."""
    async with ends.gateway(address, ca_file=ca_file, token_file=token_file) as gateway:
        await ends.until(lambda: gateway.subscription.connected or "no operator has" not in last(gateway), 10)
        return last(gateway)


def last(gateway: ends.Gateway) -> str:
    return gateway.subscription.last_error


@contextlib.asynccontextmanager
async def listening(
    serve: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]],
) -> AsyncIterator[str]:
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"


async def test_a_certificate_of_another_authority(tmp_path: Path) -> None:
    other = ServingCertificate(tmp_path / "other", ("localhost",))
    other.current(datetime.now(UTC))
    async with ends.operator("127.0.0.1:0", tls_dir=tmp_path / "tls") as operator:
        said = await why(operator.address, tmp_path / "other" / "ca.crt")
        assert said.startswith(f"the certificate of the operator at {operator.address} is not trusted")
        assert f"was not signed by {tmp_path / 'other' / 'ca.crt'}" in said
        assert "there is no --ca-file" in await why(operator.address, None)


async def test_a_certificate_for_another_name(tmp_path: Path) -> None:
    files = certificates.serving_certificate(tmp_path, names=("elsewhere.example",), addresses=())
    async with serving(files.key.read_bytes(), files.cert.read_bytes()) as address:
        said = await why(address, files.ca)
    assert said.startswith(f"the operator's certificate is not for the name in {address}"), said


async def test_an_expired_certificate(tmp_path: Path) -> None:
    ServingCertificate(tmp_path, ("127.0.0.1",)).current(datetime.now(UTC) - timedelta(days=3))
    async with serving((tmp_path / "tls.key").read_bytes(), (tmp_path / "tls.crt").read_bytes()) as address:
        assert "has expired" in await why(address, tmp_path / "ca.crt")


@contextlib.asynccontextmanager
async def serving(key: bytes, chain: bytes) -> AsyncIterator[str]:
    server = aio.server()
    port = server.add_secure_port("127.0.0.1:0", grpc.ssl_server_credentials([(key, chain)]))
    await server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        await server.stop(None)


async def test_nobody_listens(tmp_path: Path) -> None:
    (port,) = ports.free_ports(1)
    ca = certificates.serving_certificate(tmp_path).ca
    said = await why(f"127.0.0.1:{port}", ca)
    assert said.startswith(f"the connection to the operator at 127.0.0.1:{port} was refused")


async def test_a_name_that_does_not_exist(tmp_path: Path) -> None:
    ca = certificates.serving_certificate(tmp_path).ca
    said = await why("nowhere.invalid:8443", ca)
    assert said.startswith("the name in nowhere.invalid:8443 cannot be resolved")


async def test_something_that_is_no_operator(tmp_path: Path) -> None:
    ca = certificates.serving_certificate(tmp_path).ca

    async def web(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(10)
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()

    async with listening(web) as address:
        assert "does not speak TLS" in await why(address, ca)


async def test_an_operator_that_is_not_ready(tmp_path: Path) -> None:
    async with ends.operator("127.0.0.1:0", tls_dir=tmp_path / "tls", ready=lambda: False) as operator:
        assert "has not yet listed all resources" in await why(operator.address, operator.ca_file)


@pytest.mark.parametrize(
    ("content", "said"), [(None, "No such file"), (b"", "holds no certificate"), (b"rubbish", "holds no certificate")]
)
async def test_a_ca_file_that_cannot_be_used_is_named_and_read_again(
    tmp_path: Path, content: bytes | None, said: str
) -> None:
    path = tmp_path / "mounted.crt"
    if content is not None:
        path.write_bytes(content)
    async with ends.operator("127.0.0.1:0", tls_dir=tmp_path / "tls") as operator:
        operator.set(make.compiled())
        assert operator.ca_file is not None
        async with ends.gateway(operator.address, ca_file=path) as gateway:
            await ends.until(lambda: f"the CA file {path} cannot be used" in last(gateway))
            assert said in last(gateway)
            path.write_bytes(operator.ca_file.read_bytes())
            await ends.until(lambda: gateway.subscription.connected)


async def test_a_token_file_that_cannot_be_used_is_named_and_read_again(tmp_path: Path) -> None:
    path = tmp_path / "token"
    async with ends.operator("127.0.0.1:0", tls_dir=tmp_path / "tls") as operator:
        operator.set(make.compiled())
        async with ends.gateway(operator.address, ca_file=operator.ca_file, token_file=path) as gateway:
            await ends.until(lambda: f"the token file {path} cannot be read (No such file" in last(gateway))
            path.write_bytes(b"\n")
            await ends.until(lambda: "it is empty" in last(gateway))
            path.write_bytes(b"\xff-secret")
            await ends.until(lambda: "not ASCII" in last(gateway))
            assert "secret" not in last(gateway)
            path.write_bytes(b"token")
            await ends.until(lambda: gateway.subscription.connected)


def test_who_refuses_a_token_is_quoted() -> None:
    where = reasons.Where("operator:8443", token_file="/var/run/token")
    said = reasons.refused(grpc.StatusCode.UNAUTHENTICATED, "the token is not for audience trunkline", where)
    assert said == (
        "the operator does not accept the token of /var/run/token "
        "(UNAUTHENTICATED: the token is not for audience trunkline)"
    )
    said = reasons.refused(grpc.StatusCode.PERMISSION_DENIED, "only ServiceAccount a/b may have the table", where)
    assert said.startswith("the operator does not let this gateway in (PERMISSION_DENIED: only ServiceAccount a/b")


def test_two_replicas_that_fail_alike_fail_for_one_reason() -> None:
    where = reasons.Where("operator:8443")
    details = "connections to all backends failing; last error: UNKNOWN: ipv4:10.0.0.{}:8443: Connection refused"
    one, two = (reasons.refused(grpc.StatusCode.UNAVAILABLE, details.format(number), where) for number in (1, 2))
    assert one != two
    assert reasons.gist(one) == reasons.gist(two) == one.partition(" (")[0]


def test_what_nobody_knows_is_passed_on_and_cut() -> None:
    said = reasons.refused(grpc.StatusCode.INTERNAL, "x" * 10_000, reasons.Where("operator:8443"))
    assert said.startswith("the operator at operator:8443 has ended the stream (INTERNAL: xxx")
    assert len(said) < 500


async def test_what_lasts_is_warned_of_once_and_again_when_it_changes(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("random.uniform", lambda low, high: high)
    caplog.set_level(logging.DEBUG, logger=client.__name__)
    path = tmp_path / "mounted.crt"

    def tries(level: int) -> list[str]:
        return [each.getMessage() for each in caplog.records if each.levelno == level and "No stream" in each.msg]

    async with ends.gateway("nowhere.invalid:1", ca_file=path, backoff_seconds=0.01) as gateway:
        await ends.until(lambda: len(tries(logging.DEBUG)) > 4)
        (warning,) = tries(logging.WARNING)
        assert "No such file" in warning
        path.write_bytes(b"rubbish")
        await ends.until(lambda: "holds no certificate" in last(gateway))
        await ends.until(lambda: len(tries(logging.WARNING)) == 2)


async def test_a_new_authority_is_trusted_without_a_restart(tmp_path: Path) -> None:
    mounted = tmp_path / "mounted.crt"
    async with ends.operator("127.0.0.1:0", tls_dir=tmp_path / "one") as operator:
        operator.set(make.compiled(make.key("a/k", 1)))
        mounted.write_bytes((tmp_path / "one" / "ca.crt").read_bytes())
        port = int(operator.address.rpartition(":")[2])
        async with ends.gateway(operator.address, ca_file=mounted) as gateway:
            await ends.until(lambda: gateway.subscription.connected)
            operator.servicer.close()
            for path in (tmp_path / "one").iterdir():
                path.unlink()
            await ends.until(lambda: not gateway.subscription.connected)
            # What it holds it serves on.
            assert gateway.store.snapshot.keys
    async with ends.operator(f"127.0.0.1:{port}", tls_dir=tmp_path / "one") as operator:
        operator.set(make.compiled(make.key("a/k", 1)))
        async with ends.gateway(operator.address, ca_file=mounted) as gateway:
            await ends.until(lambda: "is not trusted" in last(gateway))
            mounted.write_bytes((tmp_path / "one" / "ca.crt").read_bytes())
            await ends.until(lambda: gateway.subscription.connected)
