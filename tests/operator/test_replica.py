"""One replica of several: nothing is written without the Lease, and what the flags mean."""

import asyncio
import socket
from pathlib import Path

import jwt
import pytest

from builders.wire_ends import until
from trunkline_operator import kube, replica, settings
from trunkline_operator.replica import Replica, own_account, own_address
from trunkline_operator.watch.world import Ref

ACCOUNT = "--gateway-service-account=system/gateway"
OBJECT = Ref("ModelGroup", "a", "m")


class ApiServer:
    """Has one Lease; answers as the API server does, as far as the elector asks."""

    def __init__(self) -> None:
        self.lease: dict = {}
        self.answers = asyncio.Event()
        self.answers.set()

    async def request(self, method: str, path: str, body: dict | None = None, **_: object) -> dict:
        await self.answers.wait()
        if method == "GET" and not self.lease:
            raise kube.ApiError(404, "NotFound", path)
        if body is not None:
            revision = int(self.lease.get("metadata", {}).get("resourceVersion", 0))
            self.lease = {**body, "metadata": {**body["metadata"], "resourceVersion": str(revision + 1)}}
        return self.lease


async def test_nothing_is_written_before_the_lease_is_held_and_nothing_once_it_is_given_back() -> None:
    server = ApiServer()
    one = Replica(server, ("system", "lease"), "10.0.0.1:8443")  # type: ignore[arg-type]
    written = []

    async def patch(ref: Ref, body: object) -> int:
        written.append(ref)
        return 7

    guarded = one.guarded(patch)
    with pytest.raises(kube.UnavailableError, match="Lease"):
        await guarded(OBJECT, {})
    campaign = asyncio.create_task(one.background[0]())
    await until(lambda: one.page()["isWriter"])
    assert await guarded(OBJECT, {}) == 7
    assert server.lease["spec"]["holderIdentity"] == one.page()["identity"]
    assert server.lease["metadata"]["annotations"] == {"trunkline.dev/peer-address": "10.0.0.1:8443"}
    campaign.cancel()
    with pytest.raises(asyncio.CancelledError):
        await campaign
    with pytest.raises(kube.UnavailableError, match="Lease"):
        await guarded(OBJECT, {})
    assert server.lease["spec"]["holderIdentity"] is None
    assert server.lease["metadata"]["annotations"] == {}
    assert written == [OBJECT]


async def test_what_others_have_written_on_the_lease_stays() -> None:
    server = ApiServer()
    server.lease = {
        "metadata": {"name": "lease", "labels": {"app": "x"}, "annotations": {"a": "b"}, "resourceVersion": "5"},
        "spec": {},
    }
    one = Replica(server, ("system", "lease"), "")  # type: ignore[arg-type]
    campaign = asyncio.create_task(one.background[0]())
    await until(lambda: one.page()["isWriter"])
    assert server.lease["metadata"]["labels"] == {"app": "x"}
    assert server.lease["metadata"]["annotations"] == {"a": "b"}
    campaign.cancel()
    await asyncio.gather(campaign, return_exceptions=True)


async def test_a_write_that_gets_no_answer_is_given_up_before_another_writer_may_begin(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(replica, "PATCH_SECONDS", 0.05)
    one = Replica(ApiServer(), ("system", "lease"), "")  # type: ignore[arg-type]
    campaign = asyncio.create_task(one.background[0]())

    async def never(ref: Ref, body: object) -> int:
        await asyncio.Event().wait()
        return 0

    await until(lambda: one.page()["isWriter"])
    with pytest.raises(kube.UnavailableError, match="no answer"):
        await one.guarded(never)(OBJECT, {})
    campaign.cancel()
    await asyncio.gather(campaign, return_exceptions=True)


async def test_a_lease_whose_count_is_at_its_end_is_taken_all_the_same() -> None:
    server = ApiServer()
    spec = {"leaseTransitions": 2**31 - 1, "acquireTime": "2026-05-01T00:00:00.000000Z", "leaseDurationSeconds": 1}
    server.lease = {"metadata": {"name": "lease", "resourceVersion": "5"}, "spec": spec}
    one = Replica(server, ("system", "lease"), "")  # type: ignore[arg-type]
    campaign = asyncio.create_task(one.background[0]())
    await until(lambda: one.page()["isWriter"])
    assert server.lease["spec"]["leaseTransitions"] == 0
    campaign.cancel()
    await asyncio.gather(campaign, return_exceptions=True)


async def test_a_lease_that_may_not_be_used_is_told_of_once() -> None:
    class Refusing(ApiServer):
        async def request(self, *_: object, **__: object) -> dict:
            raise kube.ApiError(403, "Forbidden", "may not")

    told: list[tuple[str, str]] = []
    one = Replica(Refusing(), ("system", "lease"), "", lambda *each: told.append(each))  # type: ignore[arg-type]
    campaign = asyncio.create_task(one.background[0]())
    await until(lambda: told)
    assert told[0][0] == "lease system/lease"
    assert "get, create and update" in told[0][1]
    campaign.cancel()
    await asyncio.gather(campaign, return_exceptions=True)


def test_the_account_of_a_token_is_known_without_asking(tmp_path: Path) -> None:
    token = tmp_path / "token"
    assert own_account(None) is None
    assert own_account(token) is None
    for claims, expected in (
        ({"sub": "system:serviceaccount:system:operator"}, ("system", "operator")),
        ({"sub": "system:node:n1"}, None),
        ({"sub": "serviceaccount:system:operator"}, None),
        ({}, None),
    ):
        token.write_text(jwt.encode(claims, "k" * 32))
        assert own_account(token) == expected
    token.write_text("no token")
    assert own_account(token) is None


@pytest.mark.parametrize(
    ("resolved", "address"),
    [
        (["10.1.2.3"], "10.1.2.3:8443"),
        (["fd00::7"], "[fd00::7]:8443"),
        (["127.0.1.1", "::1"], ""),
        (["::1", "10.1.2.3"], "10.1.2.3:8443"),
    ],
)
def test_a_pod_knows_its_own_address(monkeypatch: pytest.MonkeyPatch, resolved: list[str], address: str) -> None:
    answer = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (each, 8443)) for each in resolved]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: answer)
    assert own_address(8443) == address


def test_the_lease_is_on_unless_a_program_leaves_it_out() -> None:
    given = settings.read([ACCOUNT], {})
    assert given.lease == (settings.own_namespace() or "system", "trunkline-operator")
    assert settings.read([ACCOUNT, "--lease=other/name"], {}).lease == ("other", "name")
    assert settings.Settings(gateway_service_account=("a", "b")).lease is None


@pytest.mark.parametrize(
    ("given", "taken"),
    [
        ("10.0.0.1:8443", "10.0.0.1:8443"),
        ("fd00::1:8443", "[fd00::1]:8443"),
        ("[fd00::1]:8443", "[fd00::1]:8443"),
        ("operator-0.operator:8443", "operator-0.operator:8443"),
    ],
)
def test_a_peer_address_may_be_an_ipv6_one_without_brackets(given: str, taken: str) -> None:
    assert settings.read([ACCOUNT, f"--peer-address={given}"], {}).peer_address == taken


@pytest.mark.parametrize("given", ["10.0.0.1", ":8443", "host:port"])
def test_a_peer_address_that_is_none_is_refused(given: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        settings.read([ACCOUNT, f"--peer-address={given}"], {})
    assert ended.value.code == 2
    assert "--peer-address" in capsys.readouterr().err
