"""The serving certificate: ``--tls-dir`` with ``tls.crt``, ``tls.key`` and ``ca.crt``.

Where these files are absent the operator makes them: a leaf that it renews at half of its life, signed by a CA of this
directory's own (in ``ca.crt`` and ``ca.key``), or by the one that all replicas share (``--tls-secret``), whose key
never lies in the directory. Files that somebody else made (cert-manager, a mounted Secret) are never overwritten; they
are read again when they change. Gateways are given ``ca.crt``.
"""

import contextlib
import logging
import os
import tempfile
import threading
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final, NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import serialization

from trunkline_operator.publish.authority import (
    CA_COMMON_NAME,
    CA_NAME,
    LEAF_LIFETIME,
    Authority,
    Pair,
    certificates,
    general_names,
    issued,
)

__all__ = ["CA_COMMON_NAME", "Pair", "ServingCertificate", "Shared", "TLSError", "default_names"]

_LOG: Final = logging.getLogger(__name__)

_CA_LIFETIME: Final = timedelta(days=3650)
_WARN_BEFORE_END: Final = timedelta(hours=24)
_WARN_EVERY: Final = timedelta(hours=1)


class TLSError(Exception):
    """The directory cannot be used; a sentence that says why."""


class Shared(NamedTuple):
    """What is known of the authority that all replicas share.

    Attributes:
        signer: Who signs; None: nobody as yet, and a leaf that is there serves on.
        bundle: What gateways trust, as PEM; empty: unknown.
        why_no_signer: In words.
    """

    signer: Authority | None = None
    bundle: bytes = b""
    why_no_signer: str = "the authority that all replicas share has not been read yet"

    def __repr__(self) -> str:
        return f"Shared(signs={self.signer is not None})"


@dataclass(slots=True)
class ServingCertificate:
    """The certificate in ``directory``.

    Attributes:
        directory: Made when absent, mode 0700.
        names: DNS names and IP addresses that the leaf is for.
        shared: The authority of all replicas, to be replaced as it changes; None: the directory has its own.
        expires: When what is served ends; None before the first `current`.
    """

    directory: Path
    names: tuple[str, ...]
    shared: Shared | None = None
    expires: datetime | None = field(default=None, init=False)
    _stamp: tuple[tuple[int, int], ...] = field(default=(), init=False)
    _pair: Pair | None = field(default=None, init=False, repr=False)
    _warned: datetime | None = field(default=None, init=False)
    _foreign: bool = field(default=False, init=False)
    _complaint: str = field(default="", init=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False, repr=False)

    def current(self, now: datetime) -> Pair:
        """What to serve with: made, renewed or read again where due; cheap when nothing has changed; thread-safe.

        Raises:
            TLSError: There is none, and none can be made. A renewal that fails is logged, and the old one serves on.
        """
        with self._lock:
            return self._current(now)

    def issuers(self) -> tuple[x509.Certificate, ...]:
        """The authorities of ours on which that stands what is served; none before the first `current`."""
        chain = certificates(self._pair.certificate) if self._pair is not None else []
        return tuple(each for each in chain[1:] if each.subject == CA_NAME)

    def _current(self, now: datetime) -> Pair:
        try:
            self._renew(now)
        except (OSError, ValueError, TLSError) as error:
            if self._pair is None and not self._path("tls.crt").exists():
                raise TLSError(f"no serving certificate in {self.directory}: {error}") from error
            self._complain(f"Cannot renew the serving certificate in {self.directory}: {error}")
        else:
            self._complaint = ""
        try:
            stamp = tuple((stat.st_mtime_ns, stat.st_ino) for stat in map(os.stat, (self._crt, self._key)))
            if self._pair is None or stamp != self._stamp:
                pair, leaf = self._read()
                self._pair, self._stamp, self.expires = pair, stamp, leaf.not_valid_after_utc
                self._foreign, self._warned = not self._is_ours(), None
        except (OSError, ValueError) as error:
            if self._pair is None:
                raise TLSError(f"cannot read the serving certificate in {self.directory}: {error}") from error
            _LOG.error("Cannot read the serving certificate in %s, the last one serves on: %s", self.directory, error)
        self._warn_of_the_end(now)
        return self._pair

    @property
    def _crt(self) -> Path:
        return self._path("tls.crt")

    @property
    def _key(self) -> Path:
        return self._path("tls.key")

    def _path(self, name: str) -> Path:
        return self.directory / name

    def _read(self) -> tuple[Pair, x509.Certificate]:
        pair = Pair(self._crt.read_bytes(), self._key.read_bytes())
        leaf = x509.load_pem_x509_certificates(pair.certificate)[0]
        key = serialization.load_pem_private_key(pair.key, password=None)
        if key.public_key() != leaf.public_key():
            raise ValueError("tls.key does not belong to tls.crt")
        return pair, leaf

    def _renew(self, now: datetime) -> None:
        if not self._crt.exists() and not self._key.exists():
            self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        elif not self._is_ours():
            if self.shared is not None:
                raise TLSError("it is somebody else's, which does not go together with --tls-secret")
            return
        else:
            self._trust_what_is_shared()
            if self._is_fresh(now):
                return
        authority = self._own_authority(now) if self.shared is None else self._shared_authority(self.shared)
        if authority is None:
            return
        self._trust_what_is_shared()
        leaf = authority.leaf(self.names, now)
        # The key first: a reader between the two sees that they do not fit and keeps what it has.
        _write(self._key, leaf.key, 0o600)
        _write(self._crt, leaf.certificate, 0o644)

    def _is_ours(self) -> bool:
        if not (self._crt.exists() and self._key.exists()):
            return False
        leaf = x509.load_pem_x509_certificates(self._crt.read_bytes())[0]
        return leaf.issuer == CA_NAME and (self.shared is not None or self._path("ca.key").exists())

    def _is_fresh(self, now: datetime) -> bool:
        leaf = x509.load_pem_x509_certificates(self._crt.read_bytes())[0]
        half = leaf.not_valid_before_utc + (leaf.not_valid_after_utc - leaf.not_valid_before_utc) / 2
        names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        if set(names) != set(general_names(self.names)):
            return False
        if self.shared is None:
            authority = x509.load_pem_x509_certificates(self._path("ca.crt").read_bytes())[0]
        elif self.shared.signer is not None:
            authority = self.shared.signer.certificate
        else:
            authority = None
        if authority is not None and not issued(leaf, authority):
            return False
        try:
            self._read()
        except (ValueError, TypeError):
            return False
        return now < half

    def _own_authority(self, now: datetime) -> Authority:
        crt, key_file = self._path("ca.crt"), self._path("ca.key")
        if crt.exists() and x509.load_pem_x509_certificates(crt.read_bytes())[0].subject != CA_NAME:
            raise TLSError("ca.crt is not ours, and there is no tls.crt: either give all three files or none")
        if crt.exists() and key_file.exists():
            with contextlib.suppress(ValueError):
                found = Authority.read(crt.read_bytes(), key_file.read_bytes())
                if now < found.certificate.not_valid_after_utc - LEAF_LIFETIME:
                    return found
        made = Authority.make(now, _CA_LIFETIME)
        _write(key_file, made.pems().key, 0o600)
        _write(crt, made.pems().certificate, 0o644)
        return made

    def _shared_authority(self, shared: Shared) -> Authority | None:
        """Who signs; None: nobody, and what is there serves on."""
        if shared.signer is None and not self._crt.exists():
            raise TLSError(shared.why_no_signer)
        return shared.signer

    def _trust_what_is_shared(self) -> None:
        """``ca.crt`` is for whoever connects from this machine, other replicas' streams among them."""
        bundle, path = self.shared.bundle if self.shared is not None else b"", self._path("ca.crt")
        if bundle and not (path.exists() and path.read_bytes() == bundle):
            _write(path, bundle, 0o644)

    def _complain(self, sentence: str) -> None:
        """Log it once; this is looked at with each connection."""
        if sentence != self._complaint:
            self._complaint = sentence
            _LOG.error("%s", sentence)

    def _warn_of_the_end(self, now: datetime) -> None:
        """Somebody else's certificate ends soon: whoever should have renewed it has not."""
        if self._pair is None or not self._foreign or (self._warned and now - self._warned < _WARN_EVERY):
            return
        self._warned = now
        leaf = certificates(self._pair.certificate)[0]
        left = leaf.not_valid_after_utc - now
        # One that is renewed every day is always about to end.
        lifetime = leaf.not_valid_after_utc - leaf.not_valid_before_utc
        if left < min(_WARN_BEFORE_END, lifetime / 4):
            ends = leaf.not_valid_after_utc.strftime("%Y-%m-%dT%H:%M:%SZ")
            _LOG.warning("The serving certificate in %s ends at %s and has not been renewed", self.directory, ends)


def default_names(namespace: str, service: str = "trunkline-operator", hostname: str = "") -> tuple[str, ...]:
    """What a leaf is for unless told otherwise: the Service by all its names, and this machine."""
    names = [
        service,
        f"{service}.{namespace}",
        f"{service}.{namespace}.svc",
        f"{service}.{namespace}.svc.cluster.local",
    ]
    return (*names, *([hostname] if hostname else []), "localhost", "127.0.0.1", "::1")


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
