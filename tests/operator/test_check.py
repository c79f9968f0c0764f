"""`trunkline validate`: everything that is wrong, where it stands."""

import json
from pathlib import Path

import pytest

from protocol.cases.case import Case
from protocol.cases.table import CASES
from trunkline_operator.check import check


def said(path: Path, text: str, **environ: str) -> list[str]:
    (path / "a.yaml").write_text(text, encoding="utf-8")
    return [str(problem).removeprefix(f"{path}/") for problem in check(path, environ)]


HEAD = "apiVersion: trunkline.dev/v1alpha1\nkind: "


def test_what_is_in_order_has_no_problems() -> None:
    assert check(Path(__file__).parents[2] / "manifests" / "quickstart", {}) == []


def test_field_errors_stand_at_their_lines_and_are_told_once(tmp_path: Path) -> None:
    text = HEAD + "ModelGroup\nmetadata: {name: a}\nspec:\n  modles: [a]\n  targets:\n  - name: A\n"
    assert [each.partition(": must")[0] for each in said(tmp_path, text)] == [
        "a.yaml:5: spec.modles: unknown field; did you mean models?",
        "a.yaml:7: spec.targets[0].credentialRef: Required value",
        "a.yaml:7: spec.targets[0].model: Required value",
        "a.yaml:7: spec.targets[0].name",
    ]


def test_what_the_compiler_would_not_serve_stands_at_the_line_of_its_document(tmp_path: Path) -> None:
    text = (
        HEAD
        + "ModelGroup\nmetadata: {name: a}\nspec: {targets: [{name: a, credentialRef: {name: gone}, model: a}]}\n---\n"
        + HEAD
        + "ProviderCredential\nmetadata: {name: b}\nspec: {provider: nobody, auth: {type: None}}\n"
    )
    first, second = said(tmp_path, text)
    assert first.startswith("a.yaml:1: CredentialNotFound: ProviderCredential default/gone not found")
    assert second.startswith('a.yaml:6: UnknownProvider: provider "nobody" is not known')


def test_an_invalid_object_is_told_about_its_references_too(tmp_path: Path) -> None:
    text = HEAD + "VirtualKey\nmetadata: {name: a}\nspec:\n  models: []\n  secretRef: {name: gone, key: key}\n"
    assert said(tmp_path, text) == [
        'a.yaml:1: SecretNotFound: secret "gone" not found in namespace "default"',
        "a.yaml:5: spec.models: should have at least 1 items",
    ]


def test_variables_come_from_the_environment(tmp_path: Path) -> None:
    text = "apiVersion: v1\nkind: Secret\nmetadata: {name: a}\nstringData: {a: '${KEY}'}\n"
    assert said(tmp_path, text) == ["a.yaml:4: stringData.a: environment variable KEY is not set"]
    assert said(tmp_path, text, KEY="x") == []


@pytest.mark.parametrize("case", CASES, ids=str)
def test_it_accepts_and_refuses_what_the_api_server_does(tmp_path: Path, case: Case) -> None:
    """The same table of cases is applied to a real API server."""
    manifest = tmp_path / "a.yaml"
    manifest.write_text(json.dumps(case.accepted), encoding="utf-8")
    fields = [each for each in check(tmp_path, {}) if each.message.startswith(("spec", "metadata"))]
    assert fields == []
    manifest.write_text(json.dumps(case.refused), encoding="utf-8")
    assert [each for each in check(tmp_path, {}) if each.message.startswith(case.at) and case.says in each.message]
