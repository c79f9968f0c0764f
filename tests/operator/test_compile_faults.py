"""A bug that one object meets takes no other object down, and no revocation with it."""

import pytest

from builders import world as gen
from trunkline_operator.compile import credentials, groups, keys, policies
from trunkline_operator.compile.compiler import compile as compile_world
from trunkline_operator.watch.world import Ref
from trunkline_protocol.table import Name
from trunkline_protocol.v1 import routing_pb2 as pb


@pytest.mark.parametrize(
    ("module", "function"),
    [(credentials, "account"), (groups, "routed"), (keys, "mint"), (policies, "policed")],
)
def test_an_object_that_breaks_the_compiler_breaks_nothing_else(
    monkeypatch: pytest.MonkeyPatch, module: object, function: str
) -> None:
    real = getattr(module, function)

    def fragile(ref: Ref, *rest: object) -> object:
        # Only what is valid meets the bug, as bugs are wont to do.
        if ref.name == "odd" and not any(
            isinstance(each, tuple) and each and hasattr(each[0], "path") for each in rest
        ):
            raise ZeroDivisionError("canary")
        return real(ref, *rest)

    monkeypatch.setattr(module, function, fragile)
    world = gen.world(
        gen.credential("main"),
        gen.credential("odd"),
        gen.group("main"),
        gen.group("odd"),
        gen.key("main"),
        gen.key("odd", digit="1"),
        gen.policy("main", groups=["main"]),
        gen.policy("odd", groups=["odd"]),
    )
    compiled = compile_world(world)
    kind = {"account": "ProviderCredential", "routed": "ModelGroup", "mint": "VirtualKey", "policed": "RoutePolicy"}[
        function
    ]
    odd = compiled.verdicts[Ref(kind, "team", "odd")]
    assert (odd.accepted.ok, odd.accepted.reason) == (False, "Invalid")
    assert "ZeroDivisionError" in odd.accepted.message
    assert "canary" not in odd.accepted.message
    for sort in (pb.TYPE_ROUTE, pb.TYPE_UPSTREAM, pb.TYPE_KEY, pb.TYPE_POLICY):
        assert Name(sort, "team/main") in compiled.resources
