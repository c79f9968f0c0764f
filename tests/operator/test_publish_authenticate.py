"""Only the gateway's ServiceAccount gets the table, with the API server there and away."""

import contextlib
import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import grpc
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from jwt.algorithms import ECAlgorithm, RSAAlgorithm

from builders import wire as make
from builders import wire_ends as ends
from trunkline_operator.publish.authenticate import RefusedError, Reviewed, ServiceAccountTokens, UnavailableError

ACCOUNT = ("trunkline-system", "trunkline-gateway")
USERNAME = "system:serviceaccount:trunkline-system:trunkline-gateway"
ISSUER = "https://kubernetes.default.svc"
RSA = rsa.generate_private_key(public_exponent=65537, key_size=2048)
EC = ec.generate_private_key(ec.SECP256R1())
OTHER = rsa.generate_private_key(public_exponent=65537, key_size=2048)
JWKS = {
    "keys": [
        {**json.loads(RSAAlgorithm.to_jwk(RSA.public_key())), "kid": "r", "alg": "RS256", "use": "sig"},
        {**json.loads(ECAlgorithm.to_jwk(EC.public_key())), "kid": "e", "alg": "ES256", "use": "sig"},
        {"kty": "oct", "k": "c2VjcmV0", "kid": "h", "alg": "HS256"},
        {"kty": "what", "kid": "w"},
    ]
}


class ApiServer:
    """TokenReview, as far as it is needed; ``away``: no answer."""

    def __init__(self) -> None:
        self.away = False
        self.reviewed = 0

    async def __call__(self, token: str) -> Reviewed:
        if self.away:
            raise UnavailableError("connection refused")
        self.reviewed += 1
        try:
            claims = jwt.decode(token, RSA.public_key(), ["RS256"], options={"verify_aud": False, "verify_exp": False})
        except jwt.PyJWTError:
            return Reviewed(False)
        pod = claims["kubernetes.io"].get("pod", {}).get("name", "")
        audiences = tuple(set(claims["aud"]) & {"trunkline"})
        return Reviewed(bool(audiences), claims["sub"], audiences, pod)


class Clock:
    now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


def token(
    clock: Clock | None = None, *, key: Any = RSA, kid: str = "r", algorithm: str = "RS256", **changes: Any
) -> str:
    now = int(clock() if clock else ends.unix_seconds())
    claims: dict[str, Any] = {
        "iss": ISSUER,
        "aud": ["trunkline"],
        "sub": USERNAME,
        "exp": now + 3600,
        "nbf": now,
        "iat": now,
        "kubernetes.io": {
            "namespace": ACCOUNT[0],
            "serviceaccount": {"name": ACCOUNT[1], "uid": "u"},
        },
        **changes,
    }
    claims = {name: value for name, value in claims.items() if value is not None}
    return jwt.encode(claims, key, algorithm, headers={"kid": kid})


def bearer(text: str) -> str:
    return f"Bearer {text}"


def tokens(
    api: ApiServer, clock: Clock, *, issuer: str = ISSUER, jwks: Mapping[str, Any] = JWKS
) -> ServiceAccountTokens:
    made = ServiceAccountTokens(ACCOUNT, api, clock=clock, issuer=issuer)
    made.set_keys(jwks)
    return made


async def code(tokens: ServiceAccountTokens, authorization: str | None) -> grpc.StatusCode:
    with pytest.raises(RefusedError) as refused:
        await tokens.authenticate(authorization)
    assert len(refused.value.message) > 15
    return refused.value.code


@pytest.mark.parametrize("away", [False, True])
async def test_the_gateways_own_account_is_let_in(away: bool) -> None:
    api, clock = ApiServer(), Clock()
    api.away = away
    bound = {"namespace": ACCOUNT[0], "serviceaccount": {"name": ACCOUNT[1]}, "pod": {"name": "gw-0"}}
    identity = await tokens(api, clock).authenticate(bearer(token(clock, **{"kubernetes.io": bound})))
    assert (identity.username, identity.pod_name, identity.expires) == (USERNAME, "gw-0", clock.now + 3600)


async def test_es256_is_taken_too() -> None:
    api, clock = ApiServer(), Clock()
    api.away = True
    assert await tokens(api, clock).authenticate(bearer(token(clock, key=EC, kid="e", algorithm="ES256")))


DENIED = grpc.StatusCode.PERMISSION_DENIED
UNKNOWN = grpc.StatusCode.UNAUTHENTICATED
OTHER_ACCOUNT = {
    "sub": "system:serviceaccount:default:minter",
    "kubernetes.io": {"namespace": "default", "serviceaccount": {"name": "minter"}},
}


@pytest.mark.parametrize("away", [False, True])
@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        (OTHER_ACCOUNT, DENIED),
        ({"aud": ["https://kubernetes.default.svc"]}, UNKNOWN),
        ({"exp": 999_999}, UNKNOWN),
        ({"exp": None}, UNKNOWN),
        ({"key": OTHER}, UNKNOWN),
    ],
    ids=["another account", "another audience", "expired", "never expires", "forged"],
)
async def test_others_are_not(changes: dict[str, Any], expected: grpc.StatusCode, away: bool) -> None:
    api, clock = ApiServer(), Clock()
    api.away = away
    assert await code(tokens(api, clock), bearer(token(clock, **changes))) is expected


@pytest.mark.parametrize(
    "changes",
    [
        {"iss": "https://other"},
        {"kubernetes.io": None},
        {"kubernetes.io": {"namespace": "x", "serviceaccount": {"name": ACCOUNT[1]}}},
        {"nbf": 1_000_100},
        {"kid": "unknown"},
        {"kid": "h", "key": "secret" * 8, "algorithm": "HS256"},
        {"kid": "e"},
    ],
    ids=["issuer", "no claims", "other claims", "not yet", "key id", "symmetric", "key of another kind"],
)
async def test_a_local_check_is_strict(changes: dict[str, Any]) -> None:
    api, clock = ApiServer(), Clock()
    api.away = True
    assert await code(tokens(api, clock), bearer(token(clock, **changes))) is UNKNOWN


@pytest.mark.parametrize("authorization", [None, "", "Bearer", "Basic eDp5", "Bearer x.y.z", "Bearer " + "x" * 20_000])
async def test_what_is_no_token_is_refused(authorization: str | None) -> None:
    assert await code(tokens(ApiServer(), Clock()), authorization) is UNKNOWN


async def test_without_keys_or_issuer_nobody_is_let_in_while_the_api_server_is_away() -> None:
    api, clock = ApiServer(), Clock()
    api.away = True
    assert await code(tokens(api, clock, jwks={}), bearer(token(clock))) is grpc.StatusCode.UNAVAILABLE
    assert await code(tokens(api, clock, issuer=""), bearer(token(clock))) is grpc.StatusCode.UNAVAILABLE


async def test_the_issuer_is_learnt_from_a_token_that_the_api_server_accepts() -> None:
    api, clock = ApiServer(), Clock()
    made = tokens(api, clock, issuer="")
    await made.authenticate(bearer(token(clock)))
    api.away = True
    assert await made.authenticate(bearer(token(clock, jti="another")))


async def test_a_verdict_is_cached_for_five_minutes_and_never_longer_than_the_token() -> None:
    api, clock = ApiServer(), Clock()
    made = tokens(api, clock)
    text = bearer(token(clock, exp=int(clock.now) + 400))
    for _ in range(3):
        await made.authenticate(text)
    assert api.reviewed == 1
    clock.now += 301
    await made.authenticate(text)
    assert api.reviewed == 2
    clock.now += 100
    assert await code(made, text) is UNKNOWN


async def test_a_refusal_is_cached_only_briefly() -> None:
    api, clock = ApiServer(), Clock()
    made = tokens(api, clock)
    text = bearer(token(clock, key=OTHER, kid="unknown"))
    for _ in range(3):
        assert await code(made, text) is UNKNOWN
    assert api.reviewed == 1
    clock.now += 11
    assert await code(made, text) is UNKNOWN
    assert api.reviewed == 2


async def test_an_empty_key_set_does_not_replace_a_good_one() -> None:
    api, clock = ApiServer(), Clock()
    api.away = True
    made = tokens(api, clock)
    made.set_keys({"keys": []})
    assert await made.authenticate(bearer(token(clock)))


async def test_over_the_wire_a_mint_of_tokens_that_is_not_the_gateway_gets_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "good").write_text(token() + "\n")
    (tmp_path / "bad").write_text(canary := token(**OTHER_ACCOUNT))
    made = ServiceAccountTokens(ACCOUNT, ApiServer(), clock=ends.unix_seconds)
    with caplog.at_level(logging.DEBUG):
        async with ends.operator("127.0.0.1:0", tls_dir=tmp_path / "tls", authenticator=made) as operator:
            operator.set(make.compiled(make.secret("a/s", 1, "canary-secret")))
            ca = operator.ca_file
            async with contextlib.AsyncExitStack() as stack:
                bad = await stack.enter_async_context(
                    ends.gateway(operator.address, "bad", ca_file=ca, token_file=tmp_path / "bad")
                )
                none = await stack.enter_async_context(ends.gateway(operator.address, "none", ca_file=ca))
                good = await stack.enter_async_context(
                    ends.gateway(operator.address, "good", ca_file=ca, token_file=tmp_path / "good")
                )
                await ends.until(lambda: good.snapshots)
                await ends.until(lambda: "PERMISSION_DENIED" in bad.subscription.last_error)
                await ends.until(lambda: "UNAUTHENTICATED" in none.subscription.last_error)
                assert bad.store.received == none.store.received == 0
                assert operator.servicer.counts.refused["PERMISSION_DENIED"] >= 1
                assert [each.node for each in operator.fleet.gateways()] == ["good"]
    assert canary not in caplog.text
    assert canary.rpartition(".")[2] not in caplog.text


async def test_a_token_file_is_read_again_at_each_connect_and_a_missing_one_is_said(tmp_path: Path) -> None:
    made = ServiceAccountTokens(ACCOUNT, ApiServer(), clock=ends.unix_seconds)
    address = f"unix:{tmp_path / 'run' / 's'}"
    async with ends.operator(address, authenticator=made) as operator:
        operator.set(make.compiled())
        async with ends.gateway(address, token_file=tmp_path / "token") as gateway:
            await ends.until(lambda: "token file" in gateway.subscription.last_error)
            (tmp_path / "token").write_text(token())
            await ends.until(lambda: gateway.subscription.connected)


async def test_a_stream_ends_with_its_token(tmp_path: Path) -> None:
    (tmp_path / "token").write_text(token(exp=int(ends.unix_seconds()) + 31))
    made = ServiceAccountTokens(ACCOUNT, ApiServer(), clock=ends.unix_seconds)
    address = f"unix:{tmp_path / 'run' / 's'}"
    async with ends.operator(address, authenticator=made) as operator:
        operator.set(make.compiled())
        async with ends.gateway(address, token_file=tmp_path / "token") as gateway:
            await ends.until(lambda: gateway.connections[:2] == [True, False])


async def test_a_pod_cannot_claim_to_be_another(tmp_path: Path) -> None:
    bound = {"namespace": ACCOUNT[0], "serviceaccount": {"name": ACCOUNT[1]}, "pod": {"name": "gw-7"}}
    (tmp_path / "token").write_text(token(**{"kubernetes.io": bound}))
    made = ServiceAccountTokens(ACCOUNT, ApiServer(), clock=ends.unix_seconds)
    address = f"unix:{tmp_path / 'run' / 's'}"
    async with ends.operator(address, authenticator=made) as operator:
        operator.set(make.compiled())
        async with ends.gateway(address, "gw-8", token_file=tmp_path / "token") as gateway:
            await ends.until(lambda: "belongs to pod gw-7" in gateway.subscription.last_error)
        async with ends.gateway(address, "gw-7", token_file=tmp_path / "token") as gateway:
            await ends.until(lambda: gateway.subscription.connected)
