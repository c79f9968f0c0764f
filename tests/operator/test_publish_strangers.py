"""Whoever reaches the port and has no good token costs next to nothing: no review, no line of the log, no place."""

import asyncio
import base64
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
from jwt.algorithms import ECAlgorithm

from builders import wire_ends as ends
from trunkline_operator.publish.authenticate import Nobody, RefusedError, Reviewed, ServiceAccountTokens
from trunkline_operator.publish.refusals import QUIET_SECONDS, Refusals
from trunkline_protocol.v1.routing_pb2_grpc import RoutingStub

ACCOUNT = ("trunkline-system", "trunkline-gateway")
USERNAME = "system:serviceaccount:trunkline-system:trunkline-gateway"
ISSUER = "https://kubernetes.default.svc"
KEY = ec.generate_private_key(ec.SECP256R1())
LONG_KEY = ec.generate_private_key(ec.SECP384R1())
STRANGERS = ec.generate_private_key(ec.SECP256R1())
RSA = rsa.generate_private_key(public_exponent=65537, key_size=2048)
JWKS = {
    "issuer": ISSUER,
    "keys": [
        {**json.loads(ECAlgorithm.to_jwk(KEY.public_key())), "kid": "k", "alg": "ES256", "use": "sig"},
        {**json.loads(ECAlgorithm.to_jwk(LONG_KEY.public_key())), "kid": "l", "alg": "ES384", "use": "sig"},
    ],
}


class ApiServer:
    """Accepts what its keys have signed; while ``hold`` is not set it takes its time."""

    def __init__(self) -> None:
        self.reviewed = 0
        self.at_once = 0
        self.most_at_once = 0
        self.hold = asyncio.Event()
        self.hold.set()
        self.revoked: set[str] = set()
        self.asked_for_keys = 0

    async def __call__(self, token: str) -> Reviewed:
        self.reviewed += 1
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        signed = any(_is_signed_by(token, key.public_key()) for key in (KEY, LONG_KEY, RSA))
        try:
            if not signed:
                await self.hold.wait()
        finally:
            self.at_once -= 1
        accepted = signed and token not in self.revoked
        return Reviewed(accepted, USERNAME if accepted else "", ("trunkline",) if accepted else ())

    async def keys(self) -> Mapping[str, Any]:
        self.asked_for_keys += 1
        return JWKS


def _is_signed_by(token: str, key: Any) -> bool:
    options = {"verify_aud": False, "verify_exp": False}
    try:
        return bool(jwt.decode(token, key, ["ES256", "ES384", "RS256"], options=options))
    except (jwt.PyJWTError, TypeError):
        return False


def token(*, key: Any = KEY, kid: str = "k", algorithm: str = "ES256", **changes: Any) -> str:
    claims = {
        "iss": ISSUER,
        "aud": ["trunkline"],
        "sub": USERNAME,
        "exp": int(ends.unix_seconds()) + 3600,
        "kubernetes.io": {"namespace": ACCOUNT[0], "serviceaccount": {"name": ACCOUNT[1], "uid": "u"}},
        **changes,
    }
    return jwt.encode(claims, key, algorithm, headers={"kid": kid})


def unknown(number: int) -> str:
    """A token of a key that nobody knows, different each time."""
    return token(key=STRANGERS, kid=f"unknown-{number}", n=number)


def tokens(api: ApiServer, *, keys: bool = True) -> ServiceAccountTokens:
    made = ServiceAccountTokens(ACCOUNT, api, clock=ends.unix_seconds, keys=api.keys)
    if keys:
        made.set_keys(JWKS)
    return made


async def outcome(tokens: ServiceAccountTokens, text: str) -> str:
    try:
        await tokens.authenticate(f"Bearer {text}")
    except RefusedError as refused:
        return refused.code.name
    return "OK"


def forged(claims: str, header: str = '{"alg":"ES256","kid":"k"}') -> str:
    return ".".join(base64.urlsafe_b64encode(each.encode()).rstrip(b"=").decode() for each in (header, claims, "x"))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (token(aud=["https://kubernetes.default.svc"]), "UNAUTHENTICATED"),
        (token(aud=None), "UNAUTHENTICATED"),
        (token(sub="system:serviceaccount:default:minter"), "PERMISSION_DENIED"),
        (token(exp=1), "UNAUTHENTICATED"),
        (token(key=STRANGERS), "UNAUTHENTICATED"),
        (token(kid="l"), "UNAUTHENTICATED"),
        (forged('{"exp":' + "9" * 400 + "}"), "UNAUTHENTICATED"),
        (forged('{"exp":NaN}'), "UNAUTHENTICATED"),
        (forged("[" * 6000), "UNAUTHENTICATED"),
        (forged("[]"), "UNAUTHENTICATED"),
        (forged("{}", header="[" * 6000), "UNAUTHENTICATED"),
        (forged("{}", header='{"alg":"ES256","kid":7}'), "UNAUTHENTICATED"),
        ("opaque", "UNAUTHENTICATED"),
    ],
    ids=[
        "another audience",
        "no audience",
        "another account",
        "expired",
        "signed by another key",
        "key of another kind",
        "endless number",
        "no number",
        "deep",
        "list",
        "deep header",
        "odd key id",
        "opaque",
    ],
)
async def test_what_cannot_be_right_is_refused_without_a_review(text: str, expected: str) -> None:
    api = ApiServer()
    assert await outcome(tokens(api), text) == expected
    assert api.reviewed == 0


@pytest.mark.parametrize(("key", "kid", "algorithm"), [(KEY, "k", "ES256"), (LONG_KEY, "l", "ES384")])
async def test_what_the_api_server_has_signed_is_reviewed_all_the_same(key: Any, kid: str, algorithm: str) -> None:
    api = ApiServer()
    text = token(key=key, kid=kid, algorithm=algorithm)
    api.revoked.add(text)  # its pod is gone
    assert await outcome(tokens(api), text) == "UNAUTHENTICATED"
    assert api.reviewed == 1


async def test_a_flood_of_unknown_tokens_costs_a_bounded_number_of_reviews() -> None:
    api = ApiServer()
    made = tokens(api)
    outcomes = await asyncio.gather(*(outcome(made, unknown(number)) for number in range(500)))
    assert set(outcomes) == {"UNAUTHENTICATED", "RESOURCE_EXHAUSTED"}
    assert 50 <= api.reviewed <= 70
    assert api.most_at_once <= 8


async def test_a_gateway_comes_in_while_strangers_hold_up_every_review_of_theirs() -> None:
    api = ApiServer()
    made = tokens(api)
    api.hold.clear()
    flood = [asyncio.create_task(outcome(made, unknown(number))) for number in range(500)]
    await ends.until(lambda: api.at_once >= 8)
    assert await outcome(made, token()) == "OK"
    assert api.at_once == 8
    api.hold.set()
    await asyncio.gather(*flood)


async def test_a_flood_pushes_no_verdict_about_a_gateway_out() -> None:
    api = ApiServer()
    made = tokens(api)
    good = token()
    assert await outcome(made, good) == "OK"
    for number in range(5000):
        await outcome(made, forged(json.dumps({"exp": 1e11, "n": number})))
    assert await outcome(made, good) == "OK"
    assert api.reviewed == 1


async def test_without_keys_tokens_of_the_api_server_are_accepted_as_they_come() -> None:
    api = ApiServer()
    made = tokens(api, keys=False)
    assert set(await asyncio.gather(*(outcome(made, token(n=number)) for number in range(40)))) == {"OK"}


async def test_a_good_token_of_an_unknown_key_has_the_keys_fetched_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trunkline_operator.publish.authenticate._KEYS_RETRY_SECONDS", 0.01)
    api = ApiServer()
    made = tokens(api)
    refreshing = asyncio.create_task(made.refresh_keys())
    await ends.until(lambda: api.asked_for_keys == 1)
    assert await outcome(made, unknown(1)) == "UNAUTHENTICATED"
    assert await outcome(made, token()) == "OK"
    assert api.asked_for_keys == 1
    assert await outcome(made, token(key=RSA, kid="rotated", algorithm="RS256")) == "OK"
    await ends.until(lambda: api.asked_for_keys == 2)
    refreshing.cancel()
    await asyncio.gather(refreshing, return_exceptions=True)


def test_refusals_are_counted_each_and_said_now_and_then(caplog: pytest.LogCaptureFixture) -> None:
    now, counted = [0.0], dict[str, int]()
    refusals = Refusals(logging.getLogger("test"), "a gateway", counted, clock=lambda: now[0])
    nobody = RefusedError(grpc.StatusCode.UNAUTHENTICATED, "who are you")
    for _ in range(300):
        refusals.refused(nobody, "ipv4:192.0.2.1:1")
    refusals.refused(RefusedError(grpc.StatusCode.PERMISSION_DENIED, "not you"), "ipv4:192.0.2.1:1")
    now[0] += QUIET_SECONDS
    refusals.refused(nobody, "ipv4:192.0.2.1:1")
    assert caplog.messages == [
        "Refused a gateway: who are you",
        "Refused a gateway: not you",
        "Refused a gateway: who are you",
    ]
    assert [vars(each)["fields"]["left_out"] for each in caplog.records] == [0, 0, 299]
    assert counted == {"UNAUTHENTICATED": 301, "PERMISSION_DENIED": 1}


async def test_over_the_wire_a_hundred_strangers_are_one_line(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    address = f"unix:{tmp_path / 'run' / 's'}"
    async with ends.operator(address, authenticator=Nobody("nobody may come in")) as operator:
        async with grpc.aio.insecure_channel(address) as channel:
            for _ in range(100):
                with contextlib.suppress(grpc.aio.AioRpcError):
                    await RoutingStub(channel).Stream().read()
        await ends.until(lambda: operator.servicer.counts.refused.get("PERMISSION_DENIED") == 100)
    assert len([each for each in caplog.messages if "Refused" in each]) == 1
