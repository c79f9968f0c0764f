"""The serving certificate: made, renewed at half-life, replaced from outside, never overwritten."""

import asyncio
import contextlib
import os
import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from builders import wire as make
from builders import wire_ends as ends
from harness import certificates
from trunkline_operator.publish.authority import Authority
from trunkline_operator.publish.tls import CA_COMMON_NAME, ServingCertificate, Shared, TLSError, default_names

NOW = datetime(2026, 1, 1, tzinfo=UTC)
NAMES = ("localhost", "127.0.0.1")


def leaf(directory: Path) -> x509.Certificate:
    return x509.load_pem_x509_certificate((directory / "tls.crt").read_bytes())


def test_it_is_made_where_there_is_none(tmp_path: Path) -> None:
    directory = tmp_path / "tls"
    pair = ServingCertificate(directory, default_names("sys", hostname="box")).current(NOW)
    assert pair.certificate == (directory / "tls.crt").read_bytes()
    authority = x509.load_pem_x509_certificate((directory / "ca.crt").read_bytes())
    assert CA_COMMON_NAME in authority.subject.rfc4514_string()
    assert authority.not_valid_after_utc > NOW + timedelta(days=3600)
    leaf(directory).verify_directly_issued_by(authority)
    names = leaf(directory).extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert "trunkline-operator.sys.svc" in names.get_values_for_type(x509.DNSName)
    assert [str(each) for each in names.get_values_for_type(x509.IPAddress)] == ["127.0.0.1", "::1"]
    assert directory.stat().st_mode & 0o777 == 0o700
    assert {path.name: path.stat().st_mode & 0o777 for path in directory.iterdir()} == {
        "tls.crt": 0o644,
        "tls.key": 0o600,
        "ca.crt": 0o644,
        "ca.key": 0o600,
    }
    assert "PRIVATE" not in repr(pair)


def test_it_is_renewed_at_half_life_by_the_same_ca(tmp_path: Path) -> None:
    certificate = ServingCertificate(tmp_path, NAMES)
    first = certificate.current(NOW)
    assert certificate.current(NOW + timedelta(hours=11)) is first
    authority = (tmp_path / "ca.crt").read_bytes()
    second = certificate.current(NOW + timedelta(hours=13))
    assert second != first
    assert (tmp_path / "ca.crt").read_bytes() == authority


def test_a_restart_takes_over_what_is_there(tmp_path: Path) -> None:
    first = ServingCertificate(tmp_path, NAMES).current(NOW)
    assert ServingCertificate(tmp_path, NAMES).current(NOW) == first
    assert ServingCertificate(tmp_path, (*NAMES, "new.example")).current(NOW) != first


def test_a_leaf_that_does_not_fit_its_key_is_made_anew(tmp_path: Path) -> None:
    ServingCertificate(tmp_path / "a", NAMES).current(NOW)
    ServingCertificate(tmp_path / "b", NAMES).current(NOW)
    (tmp_path / "a" / "tls.key").write_bytes((tmp_path / "b" / "tls.key").read_bytes())
    assert ServingCertificate(tmp_path / "a", NAMES).current(NOW)


def foreign(directory: Path, source: Path) -> None:
    """As cert-manager would: another CA, without its key."""
    ServingCertificate(source, NAMES).current(NOW)
    directory.mkdir(exist_ok=True)
    for name in ("tls.crt", "tls.key", "ca.crt"):
        (directory / name).write_bytes((source / name).read_bytes())


def test_files_of_others_are_never_overwritten_and_read_again_when_they_change(tmp_path: Path) -> None:
    directory = tmp_path / "tls"
    foreign(directory, tmp_path / "one")
    certificate = ServingCertificate(directory, ("another.name",))
    first = certificate.current(NOW + timedelta(days=300))
    assert first.certificate == (tmp_path / "one" / "tls.crt").read_bytes()
    foreign(directory, tmp_path / "two")
    assert certificate.current(NOW).certificate == (tmp_path / "two" / "tls.crt").read_bytes()
    (directory / "tls.key").write_bytes(b"half of a rotation")
    assert certificate.current(NOW).certificate == (tmp_path / "two" / "tls.crt").read_bytes()


def test_a_foreign_ca_alone_is_an_error_that_says_so(tmp_path: Path) -> None:
    ServingCertificate(tmp_path, NAMES).current(NOW)
    other = x509.load_pem_x509_certificate((tmp_path / "tls.crt").read_bytes())
    for path in tmp_path.iterdir():
        path.unlink()
    (tmp_path / "ca.crt").write_bytes(other.public_bytes(Encoding.PEM))
    with pytest.raises(TLSError, match="not ours"):
        ServingCertificate(tmp_path, NAMES).current(NOW)
    assert [path.name for path in tmp_path.iterdir()] == ["ca.crt"]


def test_a_directory_that_cannot_be_made_is_an_error_that_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(TLSError, match="file"):
        ServingCertificate(tmp_path / "file" / "tls", NAMES).current(NOW)


async def test_new_connections_get_the_new_certificate_and_streams_go_on(tmp_path: Path) -> None:
    async with ends.operator("127.0.0.1:0", tls_dir=tmp_path / "tls") as operator:
        operator.set(make.compiled())
        port = int(operator.address.rpartition(":")[2])

        async def served() -> bytes:
            context = ssl.create_default_context(cafile=str(operator.ca_file))
            context.set_alpn_protocols(["h2"])
            _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
            found: bytes = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
            writer.close()
            with contextlib.suppress(ssl.SSLError):  # the server's settings frame may come after our goodbye
                await writer.wait_closed()
            return found

        async with ends.gateway(operator.address, ca_file=operator.ca_file) as gateway:
            await ends.until(lambda: gateway.subscription.connected)
            first = await served()
            (tmp_path / "tls" / "tls.crt").unlink()
            (tmp_path / "tls" / "tls.key").unlink()
            assert await served() != first
            operator.set(make.compiled(make.key("a/k", 1)))
            await ends.until(lambda: gateway.store.snapshot.keys)
            assert gateway.connections == [True]


async def test_many_handshakes_at_once_while_the_certificate_changes(tmp_path: Path) -> None:
    """gRPC asks for the certificate at each of them, on its own threads, and takes a configuration only once."""
    async with ends.operator("127.0.0.1:0", tls_dir=tmp_path / "tls") as operator:
        port = int(operator.address.rpartition(":")[2])
        context = ssl.create_default_context(cafile=str(operator.ca_file))
        context.set_alpn_protocols(["h2"])

        async def shake_hands() -> None:
            _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
            writer.transport.abort()

        for _ in range(10):
            await asyncio.gather(*(shake_hands() for _ in range(50)))
            os.unlink(tmp_path / "tls" / "tls.crt")
            os.unlink(tmp_path / "tls" / "tls.key")


# ---- somebody else's, mounted --------------------------------------------------------------------------------------


def mount(volume: Path, source: Path, generation: str) -> None:
    """As the kubelet does: a new directory, and one rename of ``..data``."""
    data = volume / f"..{generation}"
    data.mkdir(parents=True)
    for name in ("tls.crt", "tls.key", "ca.crt"):
        (data / name).write_bytes((source / name).read_bytes())
        if not (volume / name).is_symlink():
            (volume / name).symlink_to(Path("..data") / name)
    (volume / "..next").symlink_to(data.name)
    (volume / "..next").rename(volume / "..data")


def test_a_mounted_secret_that_is_swapped_is_read_again(tmp_path: Path) -> None:
    for each in ("one", "two"):
        ServingCertificate(tmp_path / each, NAMES).current(NOW)
    volume = tmp_path / "volume"
    mount(volume, tmp_path / "one", "2026_01")
    certificate = ServingCertificate(volume, ("another.name",))
    assert certificate.current(NOW).certificate == (tmp_path / "one" / "tls.crt").read_bytes()
    before = sorted(path.name for path in volume.iterdir())
    mount(volume, tmp_path / "two", "2026_02")
    assert certificate.current(NOW).certificate == (tmp_path / "two" / "tls.crt").read_bytes()
    assert sorted(path.name for path in volume.iterdir()) == sorted([*before, "..2026_02"])  # nothing of ours


def test_somebody_elses_certificate_that_is_about_to_end_is_warned_of(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    directory = tmp_path / "tls"
    directory.mkdir()
    certificates.serving_certificate(directory)  # for two days
    certificate = ServingCertificate(directory, NAMES)
    now = datetime.now(UTC)
    certificate.current(now)
    assert certificate.expires == leaf(directory).not_valid_after_utc
    certificate.current(now + timedelta(hours=35))
    assert not caplog.messages
    for minutes in range(0, 50, 10):
        certificate.current(now + timedelta(hours=37, minutes=minutes))
    (warning,) = caplog.messages
    assert "has not been renewed" in warning
    certificate.current(now + timedelta(hours=39))
    assert len(caplog.messages) == 2
    certificates.serving_certificate(directory)
    certificate.current(now)
    assert len(caplog.messages) == 2
    (directory / "tls.crt").write_bytes(b"half of a rotation")
    assert certificate.current(now + timedelta(hours=2))
    assert len(caplog.messages) == 4  # neither renewed nor read


# ---- the authority that replicas share -----------------------------------------------------------------------------


def test_a_shared_authority_signs_and_its_key_is_not_kept_here(tmp_path: Path) -> None:
    authority = Authority.make(NOW, timedelta(days=365))
    certificate = ServingCertificate(tmp_path / "tls", NAMES, Shared(authority, authority.pems().certificate, ""))
    certificate.current(NOW)
    leaf(tmp_path / "tls").verify_directly_issued_by(authority.certificate)
    assert sorted(path.name for path in (tmp_path / "tls").iterdir()) == ["ca.crt", "tls.crt", "tls.key"]
    assert certificate.issuers() == (authority.certificate,)
    other = Authority.make(NOW, timedelta(days=365))
    bundle = other.pems().certificate + authority.pems().certificate
    certificate.shared = Shared(other, bundle, "")
    certificate.current(NOW)
    leaf(tmp_path / "tls").verify_directly_issued_by(other.certificate)
    assert (tmp_path / "tls" / "ca.crt").read_bytes() == bundle


def test_without_a_signer_the_leaf_that_is_there_serves_on(tmp_path: Path) -> None:
    authority = Authority.make(NOW, timedelta(days=365))
    first = ServingCertificate(tmp_path, NAMES, Shared(authority, authority.pems().certificate, "")).current(NOW)
    certificate = ServingCertificate(tmp_path, NAMES, Shared())
    assert certificate.current(NOW) == first
    assert certificate.current(NOW + timedelta(hours=23)) == first


def test_without_a_signer_and_a_leaf_it_says_why(tmp_path: Path) -> None:
    certificate = ServingCertificate(tmp_path, NAMES, Shared(None, b"", "the Secret is not there"))
    with pytest.raises(TLSError, match="the Secret is not there"):
        certificate.current(NOW)


def test_a_shared_authority_does_not_touch_somebody_elses_files(tmp_path: Path) -> None:
    certificates.serving_certificate(tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    authority = Authority.make(NOW, timedelta(days=365))
    ServingCertificate(tmp_path, NAMES, Shared(authority, authority.pems().certificate, "")).current(NOW)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
