"""The authority that replicas share, on a real API server: what is missing is named, and nothing gives up."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from harness import ports
from harness.kube import ApiServer
from harness.shared_authority import SharedAuthority, leaf
from harness.system import Operator, System, wait_for


@pytest.fixture
def shared_authority(api_server: ApiServer) -> SharedAuthority:
    return SharedAuthority(api_server, api_server.fresh_namespace("certificates"), delay="1s")


@pytest.fixture
def account(api_server: ApiServer, shared_authority: SharedAuthority) -> Path:
    """A kubeconfig with the chart's rights: two verbs on two names, beside those to watch."""
    api_server.kubectl("apply", "-f", str(Path(__file__).with_name("operator-rbac.yaml")))
    namespace = shared_authority.namespace
    api_server.kubectl("create", "-n", namespace, "serviceaccount", "operator")
    binding = f"--serviceaccount={namespace}:operator"
    api_server.kubectl("create", "clusterrolebinding", namespace, "--clusterrole=trunkline-operator", binding)
    names = ("--resource-name=trunkline-operator-tls", "--resource-name=trunkline-operator-ca")
    resources = "--resource=secrets,configmaps"
    api_server.kubectl("create", "-n", namespace, "role", "shared", "--verb=get,patch", resources, *names)
    api_server.kubectl("create", "-n", namespace, "rolebinding", "shared", "--role=shared", binding)
    return api_server.kubeconfig_for(namespace, "operator")


@pytest.fixture
def system(api_server: ApiServer, shared_authority: SharedAuthority, account: Path) -> Iterator[System]:
    with System(api_server, operator_flags=[*shared_authority.flags, f"--kubeconfig={account}"]) as running:
        yield running


def served(operator: Operator, shared: SharedAuthority, path: Path) -> x509.Certificate:
    """The leaf, which the published bundle trusts."""
    path.write_text(shared.bundle(), encoding="ascii")
    return x509.load_der_x509_certificate(leaf(operator.grpc_port, path))


def logged(operator: Operator, level: str) -> list[str]:
    lines = operator.log.read_text(encoding="utf-8").splitlines()
    return [each["msg"] for each in map(json.loads, lines) if each["level"] == level]


def not_ready(operator: Operator, *words: str) -> bool:
    try:
        reply = operator.admin("/readyz")
    except OSError:
        return False
    return reply.status == 503 and all(word in reply.body.decode() for word in words)


def test_two_verbs_on_two_names_are_enough(system: System, shared_authority: SharedAuthority, tmp_path: Path) -> None:
    operator = system.start_operator().wait_ready()
    assert set(shared_authority.secret()) == {"ca.crt", "ca.key"}
    authority = x509.load_pem_x509_certificate(shared_authority.secret()["ca.crt"])
    served(operator, shared_authority, tmp_path / "ca.crt").verify_directly_issued_by(authority)
    assert shared_authority.bundle() in operator.tls_dir.joinpath("ca.crt").read_text(encoding="ascii")
    assert not any("trunkline-operator-tls" in each for each in logged(operator, "warning"))


def test_without_the_objects_it_waits_says_so_once_and_goes_on_when_they_come(
    system: System, shared_authority: SharedAuthority
) -> None:
    shared_authority.delete_the_secret()
    operator = system.start_operator()
    wait_for(lambda: not_ready(operator, "does not exist", "trunkline-operator-tls"), 15, "it to say so")
    assert operator.admin("/healthz").status == 200
    shared_authority.api.request(
        "DELETE", f"/api/v1/namespaces/{shared_authority.namespace}/configmaps/trunkline-operator-ca"
    )
    shared_authority.create()
    operator.wait_ready(20)
    assert len([each for each in logged(operator, "warning") if "tls-secret) does not exist" in each]) == 1


def test_a_deleted_secret_costs_nothing_and_an_empty_one_in_its_place_becomes_a_new_authority(
    system: System, shared_authority: SharedAuthority, tmp_path: Path
) -> None:
    operator = system.start_operator().wait_ready()
    first = shared_authority.secret()["ca.crt"]
    shared_authority.delete_the_secret()
    wait_for(lambda: any("does not exist" in each for each in logged(operator, "warning")), 15, "it to say so")
    assert operator.is_ready()
    served(operator, shared_authority, tmp_path / "ca.crt")
    body = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "trunkline-operator-tls"}}
    system.api.request("POST", f"/api/v1/namespaces/{shared_authority.namespace}/secrets", body)
    wait_for(lambda: shared_authority.secret().get("ca.crt", first) != first, 15, "a new authority")
    wait_for(lambda: shared_authority.bundle().count("BEGIN") == 2, 15, "both to be published")
    served(operator, shared_authority, tmp_path / "ca.crt")


def test_somebody_elses_authority_is_never_overwritten(system: System, shared_authority: SharedAuthority) -> None:
    key = rsa.generate_private_key(65537, 2048)
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    path = f"/api/v1/namespaces/{shared_authority.namespace}/secrets/trunkline-operator-tls"
    system.api.request("PATCH", path, {"stringData": {"ca.crt": "not a certificate", "ca.key": pem}})
    operator = system.start_operator()
    wait_for(lambda: not_ready(operator, "cannot be used", "not overwritten"), 15, "it to say so")
    assert shared_authority.secret()["ca.crt"] == b"not a certificate"
    assert "PRIVATE" not in operator.log.read_text(encoding="utf-8")
    shared_authority.empty_the_secret()
    operator.wait_ready(20)
    made = x509.load_pem_x509_certificate(shared_authority.secret()["ca.crt"])
    assert isinstance(made.public_key(), ec.EllipticCurvePublicKey)


def test_rights_to_neither_object_are_named(system: System, shared_authority: SharedAuthority) -> None:
    namespace = shared_authority.namespace
    system.api.kubectl("delete", "-n", namespace, "rolebinding", "shared")
    operator = system.start_operator()
    who = f"ServiceAccount {namespace}/operator may not"
    wait_for(lambda: not_ready(operator, who, "trunkline-operator-ca", f"in namespace {namespace}"), 15, "it to say so")
    binding = f"--serviceaccount={namespace}:operator"
    system.api.kubectl("create", "-n", namespace, "rolebinding", "shared", "--role=shared", binding)
    operator.wait_ready(30)


def test_it_starts_with_what_it_has_while_the_api_server_is_away(
    system: System, shared_authority: SharedAuthority
) -> None:
    operator = system.start_operator().wait_ready()
    before = operator.tls_dir.joinpath("tls.crt").read_bytes()
    operator.kill()
    (nowhere,) = ports.free_ports(1)
    text = next(Path(flag.partition("=")[2]) for flag in system.operator_flags if flag.startswith("--kubeconfig="))
    relayed = system.directory / "away.kubeconfig"
    relayed.write_text(text.read_text().replace(system.api.url, f"https://127.0.0.1:{nowhere}"))
    flags = system.operator_flags
    system.operator_flags = [*flags, f"--kubeconfig={relayed}"]
    with_leaf = system.start_operator(tls_dir=operator.tls_dir)
    without = system.start_operator(tls_dir=system.directory / "nothing")
    system.operator_flags = flags

    def listens() -> bool:
        try:
            return bool(leaf(with_leaf.grpc_port, operator.tls_dir / "ca.crt"))
        except OSError:
            return False

    wait_for(listens, 20, "it to serve with the leaf that it has")
    assert operator.tls_dir.joinpath("tls.crt").read_bytes() == before
    wait_for(lambda: not_ready(without, "cannot be read"), 20, "the other to say why it waits")
    without.terminate()
    assert "Stopped" in logged(without, "info")
