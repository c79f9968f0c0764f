"""What ``/v1/models`` says to whom."""

import json
from typing import Any

import pytest
from openai.types import Model

from harness import tables
from trunkline_gateway.catalog import models, shapes
from trunkline_gateway.errors import ModelNotFoundError
from trunkline_gateway.routing.snapshot import Key, Snapshot
from trunkline_protocol.v1 import routing_pb2 as pb

TABLE = [
    tables.echo(direct_models=["tiny", "big-*"]),
    tables.route(models=["zeta", "org/Alpha-1", "glob-*"], display_name="Zeta", description="The last one."),
    tables.route("default/hidden", internal=True),
    tables.route("default/vips", groups=["vip"]),
    tables.route("default/others", namespaces=pb.Namespaces(names=["elsewhere"])),
]


def listed(*models_: str, groups: tuple[str, ...] = ("default",), table: list[pb.Resource] = TABLE) -> list[str]:
    snapshot, key = world(*models_, groups=groups, table=table)
    entries = json.loads(shapes.render_list(models.entries(snapshot, key), "openai_chat", b""))
    assert entries["object"] == "list"
    return [entry["id"] for entry in entries["data"]]


def world(
    *models_: str, groups: tuple[str, ...] = ("default",), table: list[pb.Resource] = TABLE
) -> tuple[Snapshot, Key]:
    snapshot = tables.snapshot([*table, tables.key("k", models=models_ or ("*",), groups=groups)])
    return snapshot, next(iter(snapshot.keys.values()))


def one(name: str, *models_: str) -> dict[str, Any]:
    snapshot, key = world(*models_)
    found: dict[str, Any] = json.loads(shapes.render_one(models.entry(snapshot, key, name), "openai_chat"))
    return found


def test_exact_public_names_that_the_key_may_call_are_listed_sorted() -> None:
    assert listed("*") == ["org/Alpha-1", "zeta"]
    assert listed("*", groups=("default", "vip")) == ["org/Alpha-1", "vips", "zeta"]
    assert listed("Z*") == ["zeta"]
    assert listed("nothing") == []


def test_a_direct_model_is_listed_where_it_is_exact_and_the_key_asks_for_its_prefix() -> None:
    assert listed("*", "echo:*") == ["echo:tiny", "org/Alpha-1", "zeta"]
    assert listed("echo:tiny") == ["echo:tiny"]
    assert listed("echo:big-1") == []


def test_an_entry_has_openais_shape() -> None:
    entry = one("zeta")
    assert entry == {
        "id": "zeta",
        "object": "model",
        "created": 1_700_000_000,
        "owned_by": "echo",
        "name": "Zeta",
        "description": "The last one.",
        "provider": "echo",
        "provider_name": "Zeta",
        "provider_type": "echo",
        "provider_model_id": "zeta",
    }
    Model.model_validate(entry, strict=True)


def test_what_is_not_set_is_left_out() -> None:
    snapshot, key = world("*", groups=("vip",))
    assert "description" not in json.loads(shapes.render_one(models.entry(snapshot, key, "vips"), "openai_chat"))


def test_one_model_is_found_as_in_a_request() -> None:
    assert one("ORG/alpha-1")["id"] == "org/Alpha-1"
    assert one("Glob-Anything")["id"] == "Glob-Anything"
    assert one("echo:big-7", "echo:*") == {
        "id": "echo:big-7",
        "object": "model",
        "created": 0,
        "owned_by": "trunkline",
        "name": "echo:big-7",
        "provider": "echo",
        "provider_name": "echo",
        "provider_type": "echo",
        "provider_model_id": "big-7",
    }


@pytest.mark.parametrize("name", ["nothing", "vips", "hidden", "others", "echo:tiny", "echo:"])
def test_unknown_and_forbidden_are_the_same(name: str) -> None:
    with pytest.raises(ModelNotFoundError) as refused:
        one(name)
    assert str(refused.value) == str(ModelNotFoundError(name))
