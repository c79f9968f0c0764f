"""What the charts hold of other files is what those files say."""

import importlib.util
import tomllib
from pathlib import Path
from types import ModuleType

import pytest
import yaml

from chart.rendering import CHART, CRD_CHART, REPOSITORY, objects, parse, rendered, template, with_values
from trunkline_protocol.resources import KINDS

CHARTS = CHART.parent
PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]


@pytest.fixture(scope="module")
def generate() -> ModuleType:
    spec = importlib.util.spec_from_file_location("generate_charts", CHARTS / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def crds() -> dict[str, object]:
    sources = [yaml.safe_load(path.read_text(encoding="utf-8")) for path in (REPOSITORY / "crds").glob("*.yaml")]
    return {each["metadata"]["name"]: each for each in sources}


def test_the_generated_files_are_fresh(generate: ModuleType):
    made = generate.outputs()
    stale = [str(path) for path, text in made.items() if not path.exists() or path.read_text(encoding="utf-8") != text]
    left = [str(path) for each in generate.CRD_DIRECTORIES for path in each.iterdir() if path not in made]
    assert (stale, left) == ([], []), "make charts"


@pytest.mark.parametrize(("chart", "settings"), [(CRD_CHART, []), (CHART, ["--set=crds.enabled=true"])])
def test_the_crds_are_those_of_the_repository_and_stay_when_the_chart_goes(chart: Path, settings: list[str]):
    shown = template(*settings, chart=chart)
    found = {each["metadata"]["name"]: each for each in parse(shown) if each["kind"] == "CustomResourceDefinition"}
    for each in found.values():
        assert each["metadata"].pop("annotations") == {"helm.sh/resource-policy": "keep"}
    assert found == crds()
    assert found.keys() == {kind.crd_name for kind in KINDS.values()}


def test_the_main_chart_brings_no_crds_unless_told():
    assert "CustomResourceDefinition" not in rendered("default")


def test_a_value_without_a_comment_is_refused(generate: ModuleType):
    with pytest.raises(ValueError, match=r"says nothing about b\.c"):
        generate.reference("# -- said\na: 1\nb:\n  c: 2\n")


def test_a_crd_that_looks_like_a_template_is_refused(generate: ModuleType):
    with pytest.raises(ValueError, match="braces"):
        generate.kept("kind: X\nmetadata:\n  name: x\ndescription: '{{ }}'\n")


@pytest.mark.parametrize("chart", [CHART, CRD_CHART], ids=lambda chart: chart.name)
def test_the_charts_have_the_version_of_the_project(chart: Path):
    about = yaml.safe_load((chart / "Chart.yaml").read_text(encoding="utf-8"))
    assert (about["version"], about["appVersion"]) == (PROJECT["version"], PROJECT["version"])


def test_the_catalogue_is_told_of_the_images_and_kinds_that_there_are():
    annotations = yaml.safe_load((CHART / "Chart.yaml").read_text(encoding="utf-8"))["annotations"]
    told = {each["image"] for each in yaml.safe_load(annotations["artifacthub.io/images"])}
    used = {
        container["image"]
        for each in objects("default")
        if each["kind"] == "Deployment"
        for container in each["spec"]["template"]["spec"]["containers"]
    }
    assert told == used
    kinds = {each["kind"] for each in yaml.safe_load(annotations["artifacthub.io/crds"])}
    assert kinds == set(KINDS)


def test_the_operator_has_the_rights_to_the_kinds_that_there_are():
    roles = [
        each
        for each in with_values()
        if each["kind"] == "ClusterRole" and each["metadata"]["name"].endswith("operator")
    ]
    resources = {
        name
        for each in roles
        for rule in each["rules"]
        if rule.get("apiGroups") == ["trunkline.dev"]
        for name in rule["resources"]
    }
    plurals = {kind.plural for kind in KINDS.values()}
    assert resources == plurals | {f"{plural}/status" for plural in plurals}
