"""Reading resources: what they parse into, how errors read, what selectors match."""

import copy
import json
import os
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from protocol.cases import provider_credential, virtual_key, whole
from protocol.cases.case import edited
from trunkline_protocol import resources
from trunkline_protocol.resources import FieldError, InvalidResourceError, LabelSelector, Namespaces, parse, validate

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@pytest.fixture
def contract() -> Path:
    shared = Path(os.environ.get("TRUNKLINE_SHARED", Path(__file__).resolve().parents[3] / "shared"))
    if not shared.is_dir():
        pytest.skip(f"{shared} is not here (TRUNKLINE_SHARED says where it is)")
    return shared / "contract"


def ours(manifest: Path) -> list[dict[str, Any]]:
    documents = yaml.safe_load_all(manifest.read_text(encoding="utf-8"))
    return [document for document in documents if document["kind"] in resources.KINDS]


# ---- parsing --------------------------------------------------------------------------------------------------------


def test_a_credential_parses_with_its_defaults():
    credential = parse(provider_credential.OPENAI)
    assert isinstance(credential, resources.ProviderCredential)
    (key,) = credential.spec.keys
    assert (key.name, key.weight, key.state, key.expiration_time) == ("primary", 1, "Active", None)
    assert credential.spec.endpoint is None
    assert not credential.spec.sends_no_key


def test_a_group_parses_with_its_defaults():
    group = parse({**whole.GROUP, "spec": {"targets": [whole.GROUP["spec"]["targets"][0] | {"model": "a"}]}})
    assert isinstance(group, resources.ModelGroup)
    assert (group.spec.models, group.spec.access, group.spec.visibility) == (None, None, "Public")
    assert group.spec.targets[0].credential_ref.namespace == "platform"


def test_an_entry_of_access_is_about_the_default_group_unless_it_names_others():
    group = parse(edited(whole.GROUP, "spec.access", [{"namespaces": {"from": "All"}}]))
    assert isinstance(group, resources.ModelGroup)
    assert group.spec.access is not None
    assert group.spec.access[0].groups == ("default",)


def test_a_key_parses_with_its_defaults():
    key = parse(virtual_key.BY_HASH)
    assert isinstance(key, resources.VirtualKey)
    assert (key.spec.groups, key.spec.state, key.spec.allowed_cidrs) == (("default",), "Active", None)


def test_every_field_of_a_whole_object_arrives():
    for obj in whole.WHOLE:
        dumped = parse(obj).spec.model_dump(mode="json", by_alias=True, exclude_unset=True)
        assert dumped == obj["spec"]


def test_ranges_of_addresses_are_canonical():
    key = parse(edited(virtual_key.BY_HASH, "spec.allowedCIDRs", ["10.1.2.3/8", "2001:DB8:0::1/32"]))
    assert isinstance(key, resources.VirtualKey)
    assert key.spec.allowed_cidrs == ("10.0.0.0/8", "2001:db8::/32")


def test_status_and_what_else_stands_in_the_metadata_are_ignored():
    obj = {
        **virtual_key.BY_HASH,
        "metadata": {
            "name": "alice",
            "namespace": "team-a",
            "uid": "7",
            "generation": 3,
            "resourceVersion": "42",
            "creationTimestamp": None,
            "labels": {"app.kubernetes.io/name": "x", "empty": ""},
            "annotations": {"a": "b"},
            "managedFields": [{"manager": "kubectl"}],
        },
        "status": {"anything": [1]},
    }
    metadata = parse(obj).metadata
    assert (metadata.name, metadata.namespace, metadata.uid) == ("alice", "team-a", "7")
    assert (metadata.generation, metadata.resource_version, metadata.creation_timestamp) == (3, "42", None)
    assert metadata.labels == {"app.kubernetes.io/name": "x", "empty": ""}


def test_a_mapping_that_is_not_a_dict_parses_too():
    assert parse(MappingProxyType(virtual_key.BY_HASH)) == parse(virtual_key.BY_HASH)


def test_an_object_is_not_changed_by_reading_it():
    obj = edited(virtual_key.BY_HASH, "spec.groups", None)
    before = copy.deepcopy(obj)
    assert validate(obj) == []
    assert obj == before


def test_a_null_is_as_good_as_nothing():
    key = parse(edited(edited(virtual_key.BY_HASH, "spec.groups", None), "spec.state", None))
    assert key == parse(virtual_key.BY_HASH)


def test_a_whole_float_is_an_integer():
    credential = parse(edited(provider_credential.OPENAI, "spec.keys[].weight", 5.0))
    assert isinstance(credential, resources.ProviderCredential)
    assert credential.spec.keys[0].weight == 5
    assert validate(edited(provider_credential.OPENAI, "spec.keys[].weight", 0.5)) == [
        FieldError("spec.keys[0].weight", "must be of type integer")
    ]


def test_a_resource_cannot_be_changed():
    key = parse(virtual_key.BY_HASH)
    with pytest.raises(ValueError, match="frozen"):
        key.spec.state = "Disabled"


@pytest.mark.parametrize(
    ("time", "seconds"),
    [
        ("1970-01-01T00:00:00Z", 0),
        ("2027-06-30T00:00:00Z", 1814313600),
        ("2027-06-30T02:00:00+02:00", 1814313600),
        ("2027-06-30T00:00:00.999999999Z", 1814313600),
        ("9999-12-31T23:59:59-01:00", 253402304399),
    ],
)
def test_a_time_has_unix_seconds(time: str, seconds: int):
    assert resources.unix_seconds(time) == seconds


# ---- errors ---------------------------------------------------------------------------------------------------------


def test_all_errors_come_at_once_with_their_paths():
    spec = {"keyHash": "md5:1", "modles": ["a"], "owner": {"team": "a b"}, "allowedCIDRs": ["10.0.0.0/8", "x"]}
    with pytest.raises(InvalidResourceError) as invalid:
        parse({**virtual_key.BY_HASH, "spec": spec})
    assert [error.path for error in invalid.value.errors] == [
        "spec.keyHash",
        "spec.owner.team",
        "spec.models",
        "spec.allowedCIDRs[1]",
        "spec.modles",
    ]
    assert FieldError("spec.modles", "unknown field; did you mean models?") in invalid.value.errors
    assert "spec.models: Required value; spec.allowedCIDRs[1]: must be a range" in str(invalid.value)


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"apiVersion": "trunkline.dev/v1"}, FieldError("apiVersion", "must be trunkline.dev/v1alpha1")),
        (
            {"kind": "Virtualkey"},
            FieldError(
                "kind", "trunkline.dev has these kinds: ProviderCredential, ModelGroup, RoutePolicy, VirtualKey"
            ),
        ),
        ({"metadata": {}}, FieldError("metadata.name", "Required value")),
        ({"metadata": {"name": "a", "namespace": "A"}}, FieldError("metadata.namespace", "must be a DNS label")),
        ({"metadata": {"name": "Alice"}}, FieldError("metadata.name", "must be the name of an object")),
        ({"metadata": {"name": "a" * 254}}, FieldError("metadata.name", "Too long: may not be more than 253")),
        ({"metadata": {"name": "a", "labels": {"b c": "d"}}}, FieldError("metadata.labels.b c", "must be the key of")),
        ({"metadata": {"name": "a", "labels": {"b": "c d"}}}, FieldError("metadata.labels.b", "must be the value of")),
        ({"spec": None}, FieldError("spec", "Required value")),
        ({"spec": []}, FieldError("spec", "must be of type object")),
        ({"sepc": {}}, FieldError("sepc", "unknown field")),
        ({"spec": {"models": "a", "keyHash": virtual_key.HASH}}, FieldError("spec.models", "must be of type array")),
    ],
)
def test_an_object_that_is_wrong_as_a_whole_says_so(change: dict[str, Any], error: FieldError):
    (found,) = validate({**virtual_key.BY_HASH, **change})
    assert found.path == error.path
    assert found.message.startswith(error.message)


def test_no_message_quotes_a_value():
    obj = edited(whole.CREDENTIAL, "spec.endpoint.proxyURL", "http://user:canary@proxy\n")
    obj = edited(obj, "spec.endpoint.headers[].value", "canary\n")
    obj = edited(obj, "spec.endpoint.baseURL", "https://canary@a")
    obj = edited(obj, "spec.keys[].secretRef.name", "CANARY canary")
    obj = edited(obj, "spec.keys[].state", "canary")
    obj = edited(obj, "spec.keys[].weight", "canary")
    errors = validate(obj)
    assert len(errors) == 6
    assert "canary" not in str(errors).lower()


def test_the_name_of_an_unknown_field_is_cut_and_printable():
    (error,) = validate(edited(virtual_key.BY_HASH, "spec", {**virtual_key.BY_HASH["spec"], "\n" + "x" * 100: 1}))
    assert error.path == "spec.?" + "x" * 63


@given(JSON)
def test_anything_is_judged_without_an_exception(value: Any):
    assert validate(value) != []
    assert validate({**virtual_key.BY_HASH, "spec": value}) != []
    validate({**virtual_key.BY_HASH, "metadata": value})
    validate({**virtual_key.BY_HASH, "status": value})


@given(base=st.sampled_from(whole.WHOLE), value=JSON, data=st.data())
def test_anything_in_any_field_is_judged_without_an_exception(base: dict[str, Any], value: Any, data: st.DataObject):
    path = data.draw(st.sampled_from(sorted({what.partition(" = ")[0] for what, _ in whole.awkward(base)})))
    validate(edited(base, path, value))


@pytest.mark.parametrize("key", ["\ud800", None, 1])
def test_odd_names_of_fields_are_refused(key: Any):
    assert validate({**virtual_key.BY_HASH, "spec": {**virtual_key.BY_HASH["spec"], key: None}}) != []
    assert validate({**virtual_key.BY_HASH, key: 1}) != []


def test_the_basic_manifests_of_the_contract_are_valid(contract: Path):
    found = ours(contract / "basic" / "all.yaml")
    assert len(found) == 5
    assert [validate(obj) for obj in found] == [[]] * 5


def test_fields_that_do_not_work_yet_are_refused_by_name(contract: Path):
    alice, ci = (obj for obj in ours(contract / "tenants" / "all.yaml") if obj["kind"] == "VirtualKey")
    unknown = "unknown field"
    assert validate(alice) == [FieldError(f"spec.{name}", unknown) for name in ("generate", "limits", "budgets")]
    assert validate(ci) == [
        FieldError(f"spec.{name}", unknown) for name in ("previousKeyHashes", "onLimitStoreFailure")
    ]


# ---- selectors ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("requirement", "matching", "other"),
    [
        ({"operator": "In", "values": ["a", "b"]}, [{"team": "b"}], [{"team": "c"}, {}]),
        ({"operator": "NotIn", "values": ["a"]}, [{"team": "b"}, {}], [{"team": "a"}]),
        ({"operator": "Exists"}, [{"team": ""}], [{}]),
        ({"operator": "DoesNotExist"}, [{}, {"app": "a"}], [{"team": ""}]),
    ],
)
def test_an_expression_selects(
    requirement: dict[str, Any], matching: list[dict[str, str]], other: list[dict[str, str]]
):
    selector = LabelSelector.model_validate({"matchExpressions": [{"key": "team", **requirement}]})
    assert all(selector.matches(labels) for labels in matching)
    assert not any(selector.matches(labels) for labels in other)


def test_all_of_a_selector_has_to_match():
    selector = LabelSelector.model_validate(
        {"matchLabels": {"a": "1", "b": "2"}, "matchExpressions": [{"key": "c", "operator": "Exists"}]}
    )
    assert selector.matches({"a": "1", "b": "2", "c": "3", "d": "4"})
    assert not selector.matches({"a": "1", "b": "2"})
    assert not selector.matches({"a": "1", "b": "3", "c": "3"})


@pytest.mark.parametrize(
    ("namespaces", "admitted"),
    [
        ({}, {"own"}),
        ({"from": "Same"}, {"own"}),
        ({"from": "All"}, {"own", "labelled", "other"}),
        ({"from": "Selector", "selector": {"matchLabels": {"llm": "yes"}}}, {"labelled"}),
    ],
)
def test_namespaces_admit(namespaces: dict[str, Any], admitted: set[str]):
    chosen = Namespaces.model_validate(namespaces)
    labels: dict[str, dict[str, str]] = {"own": {}, "labelled": {"llm": "yes"}, "other": {"llm": "no"}}
    assert {name for name in labels if chosen.admits(name, labels[name], own="own")} == admitted


# ---- status ---------------------------------------------------------------------------------------------------------


def test_a_status_dumps_as_kubernetes_spells_it():
    status = resources.ProviderCredentialStatus(
        observed_generation=2,
        conditions=(
            resources.Condition(
                type="Accepted",
                status="True",
                reason="Accepted",
                observed_generation=2,
                last_transition_time="2026-01-01T00:00:00Z",
            ),
        ),
        keys=(resources.KeyStatus(name="a", state="Active"),),
        display=resources.ProviderCredentialDisplay(keys="1/1"),
    )
    assert status.dump() == {
        "observedGeneration": 2,
        "conditions": [
            {
                "type": "Accepted",
                "status": "True",
                "reason": "Accepted",
                "message": "",
                "observedGeneration": 2,
                "lastTransitionTime": "2026-01-01T00:00:00Z",
            }
        ],
        "keys": [{"name": "a", "state": "Active"}],
        "display": {"keys": "1/1"},
    }
    json.dumps(status.dump())
