"""The serving certificate: ``--tls-dir`` with ``tls.crt``, ``tls.key`` and ``ca.crt``.

Where these files are absent the operator makes them: a CA of its own (in ``ca.crt`` and ``ca.key``) and a leaf that it
renews at half of its life. Files that somebody else made (cert-manager, a mounted Secret) are never overwritten; they
are read again when they change. Gateways are given ``ca.crt``.
"""

import contextlib
import ipaddress
import logging
import os
import tempfile
import threading
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final, NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

_LOG: Final = logging.getLogger(__name__)

CA_COMMON_NAME: Final = "trunkline-operator-ca"
_CA_LIFETIME: Final = timedelta(days=3650)
_LEAF_LIFETIME: Final = timedelta(hours=24)
_SKEW: Final = timedelta(minutes=5)


class TLSError(Exception):
    """The directory cannot be used; a sentence that says why."""


class Pair(NamedTuple):
    """A certificate chain and its key, as PEM."""

    certificate: bytes
    key: bytes

    def __repr__(self) -> str:
        return "Pair(…)"


@dataclass(slots=True)
class ServingCertificate:
    """The certificate in ``directory``.

    Attributes:
        directory: Made when absent, mode 0700.
        names: DNS names and IP addresses that the leaf is for.
    """

    directory: Path
    names: tuple[str, ...]
    _stamp: tuple[tuple[int, int], ...] = field(default=(), init=False)
    _pair: Pair | None = field(default=None, init=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False, repr=False)

    def current(self, now: datetime) -> Pair:
        """What to serve with: made, renewed or read again where due; cheap when nothing has changed; thread-safe.

        Raises:
            TLSError: There is none, and none can be made. A renewal that fails is logged, and the old one serves on.
        """
        with self._lock:
            return self._current(now)

    def _current(self, now: datetime) -> Pair:
        try:
            self._renew(now)
        except (OSError, ValueError, TLSError) as error:
            if self._pair is None and not self._path("tls.crt").exists():
                raise TLSError(f"no serving certificate in {self.directory}: {error}") from error
            _LOG.error("Cannot renew the serving certificate in %s: %s", self.directory, error)
        try:
            stamp = tuple((stat.st_mtime_ns, stat.st_ino) for stat in map(os.stat, (self._crt, self._key)))
            if self._pair is None or stamp != self._stamp:
                self._pair, self._stamp = self._read(), stamp
        except (OSError, ValueError) as error:
            if self._pair is None:
                raise TLSError(f"cannot read the serving certificate in {self.directory}: {error}") from error
            _LOG.error("Cannot read the serving certificate in %s, the last one serves on: %s", self.directory, error)
        return self._pair

    @property
    def _crt(self) -> Path:
        return self._path("tls.crt")

    @property
    def _key(self) -> Path:
        return self._path("tls.key")

    def _path(self, name: str) -> Path:
        return self.directory / name

    def _read(self) -> Pair:
        pair = Pair(self._crt.read_bytes(), self._key.read_bytes())
        leaf = x509.load_pem_x509_certificates(pair.certificate)[0]
        key = serialization.load_pem_private_key(pair.key, password=None)
        if key.public_key() != leaf.public_key():
            raise ValueError("tls.key does not belong to tls.crt")
        return pair

    def _renew(self, now: datetime) -> None:
        if not self._crt.exists() and not self._key.exists():
            self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        elif not self._is_ours() or self._is_fresh(now):
            return
        authority, authority_key = self._authority(now)
        key = ec.generate_private_key(ec.SECP256R1())
        leaf = _leaf(self.names, key, authority, authority_key, now)
        # The key first: a reader between the two sees that they do not fit and keeps what it has.
        _write(self._key, _key_pem(key), 0o600)
        _write(self._crt, _pem(leaf) + _pem(authority), 0o644)

    def _is_ours(self) -> bool:
        if not (self._crt.exists() and self._key.exists()):
            return False
        leaf = x509.load_pem_x509_certificates(self._crt.read_bytes())[0]
        return leaf.issuer == _CA_NAME and self._path("ca.key").exists()

    def _is_fresh(self, now: datetime) -> bool:
        leaf = x509.load_pem_x509_certificates(self._crt.read_bytes())[0]
        half = leaf.not_valid_before_utc + (leaf.not_valid_after_utc - leaf.not_valid_before_utc) / 2
        names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        if set(names) != set(_general_names(self.names)):
            return False
        authority = x509.load_pem_x509_certificates(self._path("ca.crt").read_bytes())[0]
        try:
            leaf.verify_directly_issued_by(authority)
            self._read()
        except Exception:  # noqa: BLE001 - InvalidSignature, ValueError, TypeError: it is not fresh whatever is wrong
            return False
        return now < half

    def _authority(self, now: datetime) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
        crt, key_file = self._path("ca.crt"), self._path("ca.key")
        if crt.exists() and key_file.exists():
            authority = x509.load_pem_x509_certificates(crt.read_bytes())[0]
            key = serialization.load_pem_private_key(key_file.read_bytes(), password=None)
            if authority.subject != _CA_NAME:
                raise TLSError("ca.crt is not ours, and there is no tls.crt: either give all three files or none")
            lasts = now < authority.not_valid_after_utc - _LEAF_LIFETIME
            if lasts and isinstance(key, ec.EllipticCurvePrivateKey) and key.public_key() == authority.public_key():
                return authority, key
        elif crt.exists() and x509.load_pem_x509_certificates(crt.read_bytes())[0].subject != _CA_NAME:
            raise TLSError("ca.crt is not ours, and there is no tls.crt: either give all three files or none")
        fresh = ec.generate_private_key(ec.SECP256R1())
        authority = _ca(fresh, now)
        _write(key_file, _key_pem(fresh), 0o600)
        _write(crt, _pem(authority), 0o644)
        return authority, fresh


def default_names(namespace: str, service: str = "trunkline-operator", hostname: str = "") -> tuple[str, ...]:
    """What a leaf is for unless told otherwise: the Service by all its names, and this machine."""
    names = [
        service,
        f"{service}.{namespace}",
        f"{service}.{namespace}.svc",
        f"{service}.{namespace}.svc.cluster.local",
    ]
    return (*names, *([hostname] if hostname else []), "localhost", "127.0.0.1", "::1")


_CA_NAME: Final = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, CA_COMMON_NAME)])


def _ca(key: ec.EllipticCurvePrivateKey, now: datetime) -> x509.Certificate:
    return (
        _builder(_CA_NAME, key.public_key(), now, _CA_LIFETIME)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )


def _leaf(
    names: tuple[str, ...],
    key: ec.EllipticCurvePrivateKey,
    authority: x509.Certificate,
    authority_key: ec.EllipticCurvePrivateKey,
    now: datetime,
) -> x509.Certificate:
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "trunkline-operator")])
    issuer_id = x509.AuthorityKeyIdentifier.from_issuer_public_key(authority_key.public_key())
    return (
        _builder(subject, key.public_key(), now, _LEAF_LIFETIME)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectAlternativeName(_general_names(names)), critical=False)
        .add_extension(issuer_id, critical=False)
        .sign(authority_key, hashes.SHA256())
    )


def _builder(
    subject: x509.Name, public_key: ec.EllipticCurvePublicKey, now: datetime, lifetime: timedelta
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(_CA_NAME)
        .public_key(public_key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _SKEW)
        .not_valid_after(now + lifetime)
    )


def _usage(*, signs: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs,
        crl_sign=signs,
        encipher_only=False,
        decipher_only=False,
    )


def _general_names(names: Iterable[str]) -> list[x509.GeneralName]:
    general: list[x509.GeneralName] = []
    for name in dict.fromkeys(names):
        try:
            general.append(x509.IPAddress(ipaddress.ip_address(name)))
        except ValueError:
            general.append(x509.DNSName(name))
    return general


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def _key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _write(path: Path, content: bytes, mode: int) -> None:
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "wb") as file:
            os.fchmod(file.fileno(), mode)
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise
