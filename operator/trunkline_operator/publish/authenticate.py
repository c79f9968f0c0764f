"""Who may have the table: the gateway's own ServiceAccount and nobody else. The stream carries every provider key.

A gateway sends a projected token with audience ``trunkline``. The API server judges it (TokenReview); while that cannot
be reached, the token is checked here against the API server's public keys, as last fetched. No token is ever logged.

Whoever reaches the port can make tokens up, and each review costs the API server a request. So what cannot be right is
refused here: another audience, another account, a signature that is not of the key it names. What may be right is
reviewed, in two lanes (`reviews`): tokens that the API server has signed as far as we can tell, and all others, of
which there are only so many a second.
"""

import asyncio
import contextlib
import hashlib
import logging
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol

import grpc
import jwt

from trunkline_operator.publish.reviews import Lane, TooManyError

_LOG: Final = logging.getLogger(__name__)

AUDIENCE: Final = "trunkline"
_CACHE_SECONDS: Final = 300.0
_REFUSED_SECONDS: Final = 10.0
_MAX_CACHED: Final = 4096
_MAX_TOKEN: Final = 16 << 10
_KEYS_SECONDS: Final = 3600.0
_KEYS_RETRY_SECONDS: Final = 30.0
_LEEWAY_SECONDS: Final = 30.0
_END_OF_TIME: Final = 1e12
# What an API server signs with: https://kubernetes.io/docs/reference/command-line-tools-reference/kube-apiserver/
_ALGORITHMS: Final = ("RS256", "ES256", "ES384", "ES512")
_SIGNED_AT_ONCE: Final = 64
_UNKNOWN_AT_ONCE: Final = 8
_UNKNOWN_PER_SECOND: Final = 20.0
_UNKNOWN_BURST: Final = 50


class UnavailableError(Exception):
    """The API server gave no answer. `Review` and `KeySource` raise it for whatever is not a verdict."""


class RefusedError(Exception):
    """The stream is not let in; the message is for the gateway's log and holds no part of the token."""

    def __init__(self, code: grpc.StatusCode, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


@dataclass(frozen=True, slots=True)
class Reviewed:
    """What TokenReview said. ``pod_name`` is empty for a token that is not bound to a pod."""

    authenticated: bool
    username: str = ""
    audiences: tuple[str, ...] = ()
    pod_name: str = ""


class Review(Protocol):
    """Asks the API server."""

    async def __call__(self, token: str) -> Reviewed:
        """Review ``token`` with audience ``trunkline``.

        Raises:
            UnavailableError: No answer, or a 5xx, 429, 403: nothing that judges the token.
        """
        ...


KeySource = Callable[[], Awaitable[Mapping[str, Any]]]
"""Fetches the JWKS (``/openid/v1/jwks``), with ``issuer`` in it where that is known; raises UnavailableError."""


@dataclass(frozen=True, slots=True)
class Identity:
    """Somebody who may have the table.

    Attributes:
        pod_name: Empty where the token does not say.
        expires: Unix seconds; the stream must end then.
    """

    username: str
    pod_name: str
    expires: float


class Authenticator(Protocol):
    """Judges a stream."""

    async def authenticate(self, authorization: str | None) -> Identity | None:
        """Judge by the value of the ``authorization`` metadata; None: anybody may come in, for ever.

        Raises:
            RefusedError: not let in.
        """
        ...


class Anybody:
    """For a Unix socket, where the file system lets in."""

    async def authenticate(self, authorization: str | None) -> None:
        """Let in."""


class Nobody:
    """For a service that was given nobody to let in."""

    def __init__(self, why: str) -> None:
        self._why = why

    async def authenticate(self, authorization: str | None) -> None:
        """Refuse."""
        raise RefusedError(grpc.StatusCode.PERMISSION_DENIED, self._why)


class ServiceAccountTokens:
    """Lets in one ServiceAccount.

    ``refresh_keys`` is a task for the whole life of the operator; without it tokens are judged by TokenReview only.
    """

    def __init__(
        self,
        account: tuple[str, str],
        review: Review,
        *,
        clock: Callable[[], float],
        keys: KeySource | None = None,
        issuer: str = "",
        may: str = "have the table (--gateway-service-account)",
    ) -> None:
        """Make one.

        Args:
            account: Namespace and name of ``--gateway-service-account``, or of whoever may come in.
            review: TokenReview.
            clock: Unix seconds.
            keys: Fetches the API server's public keys.
            issuer: The cluster's issuer; empty: learnt with the keys, or from the tokens that TokenReview accepts.
            may: What the account may do, and which flag says so; for the message to whoever is refused.
        """
        self._may = may
        self._namespace, self._name = account
        self._username = f"system:serviceaccount:{account[0]}:{account[1]}"
        self._review = review
        self._clock = clock
        self._key_source = keys
        self._keys: dict[str, jwt.PyJWK] = {}
        self._issuer = issuer
        self._want_keys = asyncio.Event()
        self._signed = Lane(_SIGNED_AT_ONCE)
        self._unknown = Lane(_UNKNOWN_AT_ONCE, per_second=_UNKNOWN_PER_SECOND, burst=_UNKNOWN_BURST)
        # Of what was reviewed; what is refused without a review costs nothing, and must not push others out.
        # SHA-256 of a token → until when the verdict stands, and the verdict.
        self._cache: OrderedDict[bytes, tuple[float, Identity | RefusedError]] = OrderedDict()

    async def authenticate(self, authorization: str | None) -> Identity:
        """See `Authenticator`."""
        scheme, _, token = (authorization or "").partition(" ")
        if scheme.lower() != "bearer" or not token or len(token) > _MAX_TOKEN:
            raise RefusedError(
                grpc.StatusCode.UNAUTHENTICATED,
                "a ServiceAccount token for audience trunkline is needed (--token-file)",
            )
        now = self._clock()
        digest = hashlib.sha256(token.encode()).digest()
        if (cached := self._cache.get(digest)) is not None and now < cached[0]:
            return _unwrap(cached[1])
        expires = self._plausible(token, now)
        verdict: Identity | RefusedError
        try:
            verdict = await self._judge(token, expires, now)
            until = min(now + _CACHE_SECONDS, verdict.expires)
        except RefusedError as refused:
            verdict, until = refused, now + _REFUSED_SECONDS
            if refused.code not in (grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.PERMISSION_DENIED):
                raise
        self._cache[digest] = (until, verdict)
        self._cache.move_to_end(digest)
        if len(self._cache) > _MAX_CACHED:
            self._cache.popitem(last=False)
        return _unwrap(verdict)

    async def refresh_keys(self) -> None:
        """Fetch the public keys now, every hour, and soon after a good token of an unknown key; never returns."""
        while self._key_source is not None:
            try:
                self.set_keys(await self._key_source())
                self._want_keys.clear()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(_KEYS_SECONDS):
                        await self._want_keys.wait()
                # An API server may take tokens of keys that it does not publish.
                await asyncio.sleep(_KEYS_RETRY_SECONDS)
            except UnavailableError as error:
                _LOG.debug("Cannot fetch the API server's public keys: %s", error)
                await asyncio.sleep(_KEYS_RETRY_SECONDS)

    def set_keys(self, jwks: Mapping[str, Any]) -> None:
        """Take over a JWKS; keys of kinds that we do not take are left out, an empty set changes nothing."""
        keys: dict[str, jwt.PyJWK] = {}
        for each in jwks.get("keys", ()):
            try:
                key = jwt.PyJWK(each)
            except jwt.PyJWTError:
                continue
            if key.key_id and key.algorithm_name in _ALGORITHMS:
                keys[key.key_id] = key
        self._keys = keys or self._keys
        self._issuer = jwks.get("issuer") or self._issuer

    def _plausible(self, token: str, now: float) -> float:
        """Refuse what no review is needed for; until when the token is good, in Unix seconds."""
        claims = _unverified(token)
        expires = _number(claims.get("exp"))
        if not expires or expires <= now:
            raise RefusedError(grpc.StatusCode.UNAUTHENTICATED, "the token has expired, or never expires")
        audiences = claims.get("aud")
        if audiences != AUDIENCE and not (isinstance(audiences, list) and AUDIENCE in audiences):
            raise RefusedError(grpc.StatusCode.UNAUTHENTICATED, f"the token is not for audience {AUDIENCE}")
        # The API server's own tokens have the user's name as their subject.
        if claims.get("sub") != self._username:
            raise self._another_account()
        if self._is_signed(token) is False:
            raise RefusedError(grpc.StatusCode.UNAUTHENTICATED, "the token is not signed by the API server")
        return expires

    async def _judge(self, token: str, expires: float, now: float) -> Identity:
        signed = self._is_signed(token)
        try:
            async with (self._signed if signed else self._unknown).place():
                reviewed = await self._review(token)
        except TooManyError:
            raise RefusedError(
                grpc.StatusCode.RESOURCE_EXHAUSTED, "too many unknown tokens are brought at the moment; try again"
            ) from None
        except UnavailableError:
            reviewed = self._check_locally(token, now)
        else:
            if reviewed.authenticated:
                self._issuer = str(_unverified(token).get("iss") or self._issuer)
                if signed is None:
                    self._want_keys.set()
        if not reviewed.authenticated:
            raise RefusedError(grpc.StatusCode.UNAUTHENTICATED, "the token is not accepted by the API server")
        if AUDIENCE not in reviewed.audiences:
            raise RefusedError(grpc.StatusCode.UNAUTHENTICATED, f"the token is not for audience {AUDIENCE}")
        if reviewed.username != self._username:
            raise self._another_account()
        return Identity(reviewed.username, reviewed.pod_name, expires)

    def _another_account(self) -> RefusedError:
        return RefusedError(
            grpc.StatusCode.PERMISSION_DENIED, f"only ServiceAccount {self._namespace}/{self._name} may {self._may}"
        )

    def _key_of(self, token: str) -> jwt.PyJWK | None:
        return self._keys.get(str(jwt.get_unverified_header(token).get("kid")))

    def _is_signed(self, token: str) -> bool | None:
        """Whether the signature is that of the key which it names; None: we have no such key."""
        try:
            key = self._key_of(token)
            if key is None:
                return None
            # Claims are looked at elsewhere.
            jwt.PyJWS().decode(token, key, algorithms=[key.algorithm_name or ""])
        except jwt.PyJWTError:
            return False
        return True

    def _check_locally(self, token: str, now: float) -> Reviewed:
        if not self._keys or not self._issuer:
            raise RefusedError(
                grpc.StatusCode.UNAVAILABLE, "the API server, which judges tokens, cannot be reached; try again"
            )
        try:
            key = self._key_of(token)
            if key is None:
                raise jwt.InvalidTokenError
            # Times are compared with our own clock, below.
            claims = jwt.decode(
                token,
                key,
                algorithms=[key.algorithm_name or ""],
                audience=AUDIENCE,
                issuer=self._issuer,
                options={
                    "require": ["exp", "iss", "aud", "sub"],
                    "verify_exp": False,
                    "verify_nbf": False,
                    "verify_iat": False,
                },
            )
        except jwt.PyJWTError:
            return Reviewed(False)
        bound = claims.get("kubernetes.io")
        account = bound.get("serviceaccount") if isinstance(bound, dict) else None
        if not isinstance(bound, dict) or not isinstance(account, dict):
            return Reviewed(False)
        subject = f"system:serviceaccount:{bound.get('namespace')}:{account.get('name')}"
        if claims["sub"] != subject or _number(claims["exp"]) <= now:
            return Reviewed(False)
        if _number(claims.get("nbf")) > now + _LEEWAY_SECONDS:
            return Reviewed(False)
        pod = bound.get("pod")
        pod_name = str(pod.get("name") or "") if isinstance(pod, dict) else ""
        return Reviewed(True, subject, (AUDIENCE,), pod_name)


def _unwrap(verdict: Identity | RefusedError) -> Identity:
    if isinstance(verdict, RefusedError):
        raise RefusedError(verdict.code, verdict.message)
    return verdict


def _unverified(token: str) -> Mapping[str, Any]:
    try:
        claims: Mapping[str, Any] = jwt.decode(token, options={"verify_signature": False})
    except (jwt.PyJWTError, RecursionError):  # of a JSON text that is only brackets
        raise RefusedError(grpc.StatusCode.UNAUTHENTICATED, "this is not a ServiceAccount token") from None
    return claims


def _number(value: object) -> float:
    """0 for what is no point in time."""
    usable = isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < _END_OF_TIME
    return float(value) if usable else 0.0  # type: ignore[arg-type]  # usable says that it is a number
