"""The CRDs in a real API server: it accepts and refuses what the models accept and refuse, and shows what it should."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from harness.kube import ApiError, ApiServer
from protocol.cases import virtual_key, whole
from protocol.cases.case import Case
from protocol.cases.table import CASES
from trunkline_protocol import resources
from trunkline_protocol.resources import KINDS, status

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def api(api_server: ApiServer) -> ApiServer:
    """The API server with our CRDs, as the repository has them."""
    api_server.kubectl("apply", "--server-side", "-f", str(REPOSITORY / "crds"))
    names = [f"crd/{kind.crd_name}" for kind in KINDS.values()]
    api_server.kubectl("wait", "--for=condition=Established", *names)
    return api_server


@pytest.fixture(scope="module")
def namespace(api: ApiServer) -> str:
    return api.fresh_namespace("crds")


@pytest.fixture
def shared() -> Path:
    directory = Path(os.environ.get("TRUNKLINE_SHARED", REPOSITORY.parent / "shared"))
    if not directory.is_dir():
        pytest.skip(f"{directory} is not here (TRUNKLINE_SHARED says where it is)")
    return directory


def collection(kind: str, namespace: str) -> str:
    return f"/apis/{resources.API_VERSION}/namespaces/{namespace}/{KINDS[kind].plural}"


def refusal(api: ApiServer, namespace: str, obj: Mapping[str, Any]) -> str:
    """What the API server says against creating ``obj``, sent as kubectl sends it; empty: nothing."""
    # kubectl writes the YAML `1.0` as the JSON `1`.
    sent = json.loads(json.dumps(obj), parse_float=lambda text: int(n) if (n := float(text)).is_integer() else n)
    try:
        api.request("POST", collection(obj["kind"], namespace) + "?dryRun=All&fieldValidation=Strict", sent)
    except ApiError as error:
        if error.status not in {400, 422}:
            raise
        message: str = json.loads(error.body)["message"]
        # It writes the value of a label as `labels[app]` or `labels.app`, depending on what is wrong with it.
        return message.replace("[app]", ".app")
    return ""


@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_case_is_accepted_at_its_bound_and_refused_beyond_it(api: ApiServer, namespace: str, case: Case):
    assert refusal(api, namespace, case.accepted) == ""
    message = refusal(api, namespace, case.refused)
    assert f"{case.at}: " in message
    assert case.says in message


@pytest.mark.parametrize("base", whole.WHOLE, ids=lambda base: base["kind"])
def test_whatever_stands_in_a_field_both_judge_it_alike(api: ApiServer, namespace: str, base: dict[str, Any]):
    assert refusal(api, namespace, base) == ""
    differing = [
        (what, errors, refused)
        for what, obj in whole.awkward(base)
        if bool(errors := resources.validate(obj)) != bool(refused := refusal(api, namespace, obj))
    ]
    assert differing == []


def test_the_contract_manifests_apply_unchanged(api: ApiServer, shared: Path):
    namespace = api.fresh_namespace("contract")
    manifest = shared / "contract" / "basic" / "all.yaml"
    api.kubectl("apply", "-n", namespace, "-f", str(manifest))
    shown = api.kubectl("get", "trunkline", "-n", namespace, "-o", "name").stdout.split()
    assert shown == [
        "modelgroup.trunkline.dev/gpt-4o",
        "modelgroup.trunkline.dev/text-embedding-3-small",
        "providercredential.trunkline.dev/main",
        "virtualkey.trunkline.dev/alice",
        "virtualkey.trunkline.dev/bench",
    ]


def test_what_the_api_server_hands_back_parses_to_what_was_sent(api: ApiServer):
    namespace = api.fresh_namespace("round")
    for obj in [*whole.WHOLE[:-1], {**virtual_key.BY_HASH, "metadata": {"name": "hash"}}]:
        stored = api.request("POST", collection(obj["kind"], namespace), obj)
        parsed = resources.parse(stored)
        assert parsed.spec == resources.parse(obj).spec
        assert parsed.metadata.namespace == namespace
        assert parsed.metadata.uid
        assert int(parsed.metadata.resource_version) > 0
        assert parsed.metadata.creation_timestamp
        assert resources.unix_seconds(parsed.metadata.creation_timestamp) > 0


def test_defaults_are_written_into_what_is_stored_but_nothing_else_is(api: ApiServer, namespace: str):
    def stored(obj: Mapping[str, Any]) -> Any:
        return api.request("POST", collection(obj["kind"], namespace) + "?dryRun=All", obj)["spec"]

    key = virtual_key.BY_HASH
    assert stored(key) == {**key["spec"], "groups": ["default"], "state": "Active"}
    group = {**whole.GROUP, "spec": {"targets": [{"name": "a", "credentialRef": {"name": "b"}, "model": "c"}]}}
    assert stored(group) == {
        "visibility": "Public",
        "targets": [{"name": "a", "credentialRef": {"name": "b"}, "model": "c", "weight": 1, "priority": 0}],
    }


STATUSES: dict[str, status.Status] = {
    "ModelGroup": resources.ModelGroupStatus(
        models=("a", "b", "c"),
        display=resources.ModelGroupDisplay(models="3", targets="2/2", policy="default"),
    ),
    "ProviderCredential": resources.ProviderCredentialStatus(
        keys=(resources.KeyStatus(name="primary", state="CoolingDown", reason="429", until="2026-01-01T00:00:00Z"),),
        display=resources.ProviderCredentialDisplay(keys="1/2"),
    ),
    "RoutePolicy": resources.RoutePolicyStatus(
        display=resources.RoutePolicyDisplay(applies="gpt-4o", groups="1"),
    ),
    "VirtualKey": resources.VirtualKeyStatus(display=resources.VirtualKeyDisplay(expires="2027-06-30")),
}

TABLES = {
    "mg": ["NAME MODELS TARGETS POLICY ACCEPTED PROGRAMMED AGE", "whole 3 2/2 default True Unknown"],
    "pcred": ["NAME PROVIDER KEYS ACCEPTED PROGRAMMED AGE", "main openai-compatible 1/2 True Unknown"],
    "rpol": ["NAME FOR GROUPS LOSSY ACCEPTED PROGRAMMED AGE", "strict gpt-4o 1 Allow True Unknown"],
    "vk": ["NAME TEAM USER ACCEPTED PROGRAMMED EXPIRES AGE", "alice a alice True Unknown 2027-06-30"],
}


def condition(type_: str, verdict: Any) -> resources.Condition:
    return resources.Condition(
        type=type_, status=verdict, reason="Because", observed_generation=1, last_transition_time="2026-01-01T00:00:00Z"
    )


def test_kubectl_get_shows_the_status_under_the_short_names(api: ApiServer):
    namespace = api.fresh_namespace("columns")
    conditions = (condition("Accepted", "True"), condition("ResolvedRefs", "True"), condition("Programmed", "Unknown"))
    for obj in whole.WHOLE[:4]:
        path = collection(obj["kind"], namespace)
        api.request("POST", path, obj)
        sent = STATUSES[obj["kind"]].model_copy(update={"conditions": conditions, "observed_generation": 1}).dump()
        stored = api.request("PATCH", f"{path}/{obj['metadata']['name']}/status", {"status": sent})
        assert stored["status"] == sent
    for short_name, (head, row) in TABLES.items():
        lines = api.kubectl("get", short_name, "-n", namespace).stdout.splitlines()
        assert [" ".join(line.split()) for line in lines[:1]] == [head]
        assert " ".join(lines[1].split()).startswith(row)


def test_a_status_at_all_its_bounds_is_stored(api: ApiServer):
    namespace = api.fresh_namespace("status")
    api.request("POST", collection("ModelGroup", namespace), whole.GROUP)
    name = "n" * 250
    full = resources.ModelGroupStatus(
        observed_generation=1,
        conditions=tuple(
            resources.Condition(
                type=f"{'T' * 63}{i}",
                status="False",
                reason="R" * 64,
                message="m" * status.MESSAGE_LENGTH,
                last_transition_time="2026-01-01T00:00:00Z",
            )
            for i in range(8)
        ),
        models=tuple(f"{name}{i}" for i in range(64)),
        display=resources.ModelGroupDisplay(models="6" * 64, targets="6" * 64, policy="p" * 64),
        effective_policy="p" * 253,
    ).dump()
    stored = api.request("PATCH", f"{collection('ModelGroup', namespace)}/whole/status", {"status": full})
    assert stored["status"] == full


def test_two_appliers_may_each_own_an_item_of_a_named_list(api: ApiServer):
    namespace = api.fresh_namespace("appliers")
    for owner in ("a", "b"):
        manifest = {
            **whole.GROUP,
            "spec": {"targets": [{"name": owner, "credentialRef": {"name": "main"}, "model": "m"}]},
        }
        flags = ["--server-side", f"--field-manager={owner}", "-n", namespace, "-f", "-"]
        api.kubectl("apply", *flags, input=yaml.safe_dump(manifest))
    stored = api.request("GET", f"{collection('ModelGroup', namespace)}/whole")
    assert [target["name"] for target in stored["spec"]["targets"]] == ["a", "b"]


@pytest.mark.parametrize("kind", KINDS.values(), ids=lambda kind: kind.kind)
def test_kubectl_explain_describes_the_spec(api: ApiServer, kind: resources.Kind):
    text = api.kubectl("explain", f"{kind.plural}.spec", "--recursive").stdout
    assert all(name in text for name in resources.schema.field_names(kind.kind, ("spec",)))
