"""Certificates as values: an authority, the leaves that it signs, how both are read from PEM. No files, no clock."""

import ipaddress
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final, NamedTuple, Self

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

CA_COMMON_NAME: Final = "trunkline-operator-ca"
CA_NAME: Final = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, CA_COMMON_NAME)])
LEAF_LIFETIME: Final = timedelta(hours=24)
_SKEW: Final = timedelta(minutes=5)
_CERTIFICATE: Final = re.compile(rb"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)


class Pair(NamedTuple):
    """A certificate chain and its key, as PEM."""

    certificate: bytes
    key: bytes

    def __repr__(self) -> str:
        return "Pair(…)"


@dataclass(frozen=True, slots=True)
class Authority:
    """A CA of ours that can sign."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey = field(repr=False)

    @classmethod
    def make(cls, now: datetime, lifetime: timedelta) -> Self:
        """Make a new one."""
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = (
            _builder(CA_NAME, key.public_key(), now, lifetime)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_usage(signs=True), critical=True)
            # All our authorities have one name; by this and the leaves' own identifier a verifier tells them apart.
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .sign(key, hashes.SHA256())
        )
        return cls(certificate, key)

    @classmethod
    def read(cls, certificate: bytes, key: bytes) -> Self:
        """Read both from PEM.

        Raises:
            ValueError: They cannot be read, do not fit each other, or are not of our making.
        """
        try:
            found = x509.load_pem_x509_certificate(certificate)
            private = serialization.load_pem_private_key(key, password=None)
        except (ValueError, TypeError):
            # The library's own words could quote what they could not read.
            raise ValueError("the certificate or its key is not PEM") from None
        if found.subject != CA_NAME:
            raise ValueError("the certificate is not of an authority that the operator has made")
        if not isinstance(private, ec.EllipticCurvePrivateKey) or private.public_key() != found.public_key():
            raise ValueError("the key does not belong to the certificate")
        return cls(found, private)

    def pems(self) -> Pair:
        """Both as PEM."""
        return Pair(pem(self.certificate), key_pem(self.key))

    def leaf(self, names: Sequence[str], now: datetime) -> Pair:
        """Sign a serving certificate for DNS names and IP addresses, with a new key; the chain ends with this CA."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "trunkline-operator")])
        issuer_id = x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key())
        signed = (
            _builder(subject, key.public_key(), now, LEAF_LIFETIME)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_usage(signs=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
            .add_extension(x509.SubjectAlternativeName(general_names(names)), critical=False)
            .add_extension(issuer_id, critical=False)
            .sign(self.key, hashes.SHA256())
        )
        return Pair(pem(signed) + pem(self.certificate), key_pem(key))


def fingerprint(certificate: x509.Certificate) -> str:
    """What an authority is told apart by: 32 hexadecimal digits of the certificate's SHA-256."""
    return certificate.fingerprint(hashes.SHA256()).hex()[:32]


def issued(leaf: x509.Certificate, authority: x509.Certificate) -> bool:
    """Whether ``authority`` has signed ``leaf``."""
    try:
        leaf.verify_directly_issued_by(authority)
    except (InvalidSignature, ValueError, TypeError):
        return False
    return True


def certificates(bundle: bytes) -> list[x509.Certificate]:
    """The certificates of a PEM bundle; what is none of them is left out."""
    found = []
    for block in _CERTIFICATE.findall(bundle):
        try:
            found.append(x509.load_pem_x509_certificate(block))
        except ValueError:
            continue
    return found


def bundle(found: Iterable[x509.Certificate]) -> bytes:
    """Certificates as one PEM bundle."""
    return b"".join(map(pem, found))


def pem(certificate: x509.Certificate) -> bytes:
    """A certificate as PEM."""
    return certificate.public_bytes(serialization.Encoding.PEM)


def key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    """A private key as PEM (PKCS #8, not encrypted)."""
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def general_names(names: Iterable[str]) -> list[x509.GeneralName]:
    """DNS names and IP addresses as a certificate has them."""
    general: list[x509.GeneralName] = []
    for name in dict.fromkeys(names):
        try:
            general.append(x509.IPAddress(ipaddress.ip_address(name)))
        except ValueError:
            general.append(x509.DNSName(name))
    return general


def _builder(
    subject: x509.Name, public_key: ec.EllipticCurvePublicKey, now: datetime, lifetime: timedelta
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(CA_NAME)
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
