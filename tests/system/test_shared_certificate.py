"""Several operators, one authority: made once, trusted by every gateway, replaced while everything runs."""

import json
import ssl
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.exceptions import InvalidSignature

from harness.basic import KEY, basic
from harness.kube import ApiServer
from harness.shared_authority import MountedBundle, SharedAuthority, leaf
from harness.system import Operator, System, wait_for
from harness.traffic import Traffic
from harness.upstream import Upstream


@pytest.fixture
def shared_authority(api: ApiServer) -> SharedAuthority:
    return SharedAuthority(api, api.fresh_namespace("certificates"))


@pytest.fixture
def replicas(api: ApiServer, shared_authority: SharedAuthority) -> Iterator[System]:
    with System(api, operator_flags=shared_authority.flags) as running:
        yield running


def start(replicas: System, name: str) -> Operator:
    return replicas.start_operator(tls_dir=replicas.directory / name)


class Connections:
    """New TLS connections all the time, by the bundle of the moment; remembers every one that was not trusted."""

    def __init__(self, operators: list[Operator], bundle: Path) -> None:
        self.failures: list[str] = []
        self.made = 0
        self._operators = operators
        self._bundle = bundle
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> "Connections":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(10)

    def _run(self) -> None:
        while not self._stop.wait(0.05):
            for operator in self._operators:
                try:
                    leaf(operator.grpc_port, self._bundle)
                    self.made += 1
                except ssl.SSLCertVerificationError as error:
                    self.failures.append(f"{time.monotonic()}: {error}")
                except OSError:
                    continue  # one of them is restarted


def test_a_new_authority_reaches_all_replicas_and_gateways_and_nothing_fails(
    replicas: System, shared_authority: SharedAuthority, upstream: Upstream, tmp_path: Path
) -> None:
    operators = [start(replicas, "one"), start(replicas, "two")]
    bundle = tmp_path / "ca.crt"
    with MountedBundle(shared_authority, bundle, lag_seconds=1.0):
        for operator in operators:
            operator.wait_ready()
        wait_for(bundle.exists, 10, "the bundle to be mounted")
        (first,) = x509.load_pem_x509_certificates(bundle.read_bytes())
        for operator in operators:
            served = x509.load_der_x509_certificate(leaf(operator.grpc_port, bundle))
            served.verify_directly_issued_by(first)
            assert not (operator.tls_dir / "ca.key").exists()
            assert operator.metric("trunkline_operator_serving_certificate_expires_seconds") == pytest.approx(
                served.not_valid_after_utc.timestamp()
            )
        assert sum(each.metric("trunkline_operator_authorities_made_total") for each in operators) == 1

        basic(replicas, upstream)
        gateways = [
            replicas.gateway(f"gw-{number}", f"--ca-file={bundle}", operator_port=operator.grpc_port).wait_ready()
            for number, operator in enumerate(operators)
        ]
        wait_for(lambda: all(each.chat("gpt-4o", key=KEY).status == 200 for each in gateways), 10, "answers")
        with Traffic(gateways, KEY, pause_seconds=0.02) as traffic, Connections(operators, bundle) as connections:
            shared_authority.empty_the_secret()
            late = replicas.start_operator(tls_dir=replicas.directory / "late")

            def is_replaced() -> bool:
                newest = x509.load_pem_x509_certificates(shared_authority.bundle().encode())[0]
                if newest == first:
                    return False
                for operator in operators:
                    served = x509.load_der_x509_certificate(leaf(operator.grpc_port, bundle))
                    try:
                        served.verify_directly_issued_by(newest)
                    except InvalidSignature:
                        return False
                return True

            wait_for(is_replaced, 30, "all replicas to serve with the new authority")
            late.wait_ready()
            # One that goes makes its gateway connect anew.
            operators[0].terminate()
            operators[0].start().wait_ready()
            wait_for(lambda: all(each.metric("trunkline_gateway_connected") == 1 for each in gateways), 35, "them back")
    assert traffic.failures == []
    assert traffic.answered > 20
    assert connections.failures == []
    assert connections.made > 20
    newest, old = x509.load_pem_x509_certificates(shared_authority.bundle().encode())
    assert (newest == first, old == first) == (False, True)
    x509.load_der_x509_certificate(leaf(late.grpc_port, bundle)).verify_directly_issued_by(newest)
    for process in (*operators, late, *gateways):
        assert "PRIVATE KEY" not in process.log.read_text(encoding="utf-8")


def test_a_gateway_with_a_stale_bundle_serves_on_says_why_and_comes_back(
    replicas: System, shared_authority: SharedAuthority, upstream: Upstream, tmp_path: Path
) -> None:
    operator = start(replicas, "one").wait_ready()
    bundle = tmp_path / "ca.crt"
    bundle.write_text(shared_authority.bundle(), encoding="ascii")
    basic(replicas, upstream)
    gateway = replicas.gateway("gw-stale", f"--ca-file={bundle}", operator_port=operator.grpc_port).wait_ready()
    wait_for(lambda: gateway.chat("gpt-4o", key=KEY).status == 200, 10, "an answer")
    before = set(x509.load_pem_x509_certificates(bundle.read_bytes()))
    shared_authority.empty_the_secret()

    def newest_signs() -> bool:
        newest = x509.load_pem_x509_certificates(shared_authority.bundle().encode())[0]
        try:
            leaf(operator.grpc_port, bundle)
        except ssl.SSLError:
            return newest not in before
        return False

    wait_for(newest_signs, 30, "a certificate that the stale bundle does not trust")
    operator.kill()
    operator.start().wait_ready()

    def why() -> str:
        return str(gateway.admin("/debug/table").json["last_error"])

    wait_for(lambda: "is not trusted" in why(), 40, "the gateway to say so")
    assert str(bundle) in why()
    assert gateway.is_ready()
    assert gateway.chat("gpt-4o", key=KEY).status == 200
    bundle.write_text(shared_authority.bundle(), encoding="ascii")
    wait_for(lambda: gateway.metric("trunkline_gateway_connected") == 1, 40, "the gateway to be back")
    lines = [json.loads(line) for line in gateway.log.read_text(encoding="utf-8").splitlines() if line[:1] == "{"]
    warned = [line for line in lines if line["level"] == "warning" and "is not trusted" in line["msg"]]
    assert len(warned) <= 1
