"""One object that is nested as deep as the API server allows must not blind the operator for all others."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from harness.kube import ApiServer
from harness.system import System, our_object, wait_for

DEEP = (60, 500, 2_000, 9_000)


@pytest.fixture
def system(api_server: ApiServer) -> Iterator[System]:
    with System(api_server) as running:
        running.operator.wait_ready()
        running.create("ProviderCredential", "main", {"provider": "echo"})
        yield running


def group(**target: object) -> dict:
    return {"targets": [{"name": "main", "credentialRef": {"name": "main"}, "model": "m", **target}]}


def create_deep(system: System, name: str, depth: int) -> None:
    """By hand: what deep values do to Python's encoder is what this is about."""
    lists, objects = "[" * depth + "]" * depth, '{"a":' * depth + "1" + "}" * depth
    whole = our_object("ModelGroup", name, group(parameters={"defaults": {"/a": "LISTS", "/b": "OBJECTS"}}))
    text = str(whole).replace("'LISTS'", lists).replace("'OBJECTS'", objects).replace("'", '"')
    system.api.kubectl("create", "-n", system.namespace, "-f", "-", input=text)


def accepted(system: System, name: str) -> str:
    """The message of the condition; Python could not decode the object."""
    path = 'jsonpath={.status.conditions[?(@.type=="Accepted")].message}'
    return system.api.kubectl("get", "-n", system.namespace, "modelgroup", name, "-o", path).stdout


def test_a_deep_object_is_invalid_and_all_others_are_served(system: System) -> None:
    for depth in DEEP:
        create_deep(system, f"deep-{depth}", depth)
    system.create("ModelGroup", "after", group())

    def told() -> None:
        for depth in DEEP:
            wait_for(lambda name=f"deep-{depth}": "nested deeper than 32" in accepted(system, name), 10, "the verdict")
        system.wait_condition("ModelGroup", "after", "Accepted", "True")

    told()
    assert system.operator.admin("/debug/relist", "POST").status == 200
    system.operator.terminate()  # it gives the Lease back
    system.operator.start().wait_ready()
    system.create("ModelGroup", "later", group())
    system.wait_condition("ModelGroup", "later", "Accepted", "True")
    told()
    system.delete("ModelGroup", "later")
    restarts = system.operator.metric("trunkline_operator_watch_restarts_total")
    wait_for(lambda: restarts == 0, 1, "no watch to have died")
