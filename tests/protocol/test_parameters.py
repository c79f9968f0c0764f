"""The parameters that targets may set are those that the gateway has a neutral form of."""

import pytest

from trunkline_gateway import exchange
from trunkline_gateway.exchange.request import Parameters
from trunkline_protocol.parameters import NUMBERS, PARAMETERS, fits, is_pointer

NUMERIC = ("integer", "number")


def test_the_names_are_those_of_the_exchange() -> None:
    assert set(PARAMETERS) == set(Parameters.__struct_fields__)
    assert list(PARAMETERS) == sorted(PARAMETERS)


def test_numbers_are_numbers_there_too() -> None:
    hints = {name: str(Parameters.__annotations__[name]) for name in PARAMETERS}
    assert {name for name, hint in hints.items() if hint in ("int | None", "float | None")} == set(NUMBERS)
    assert exchange.Operation


@pytest.mark.parametrize(
    ("name", "good", "bad"),
    [
        ("max_tokens", 1, 1.5),
        ("max_tokens", 0, True),
        ("temperature", 1, "1"),
        ("temperature", 0.5, None),
        ("temperature", 0.5, False),
        ("logprobs", True, 1),
        ("user", "a", {}),
        ("stop", "a", 1),
        ("stop", ["a"], {}),
        ("metadata", {}, []),
        ("safety_settings", [], {}),
        ("tool_choice", "auto", []),
        ("tool_choice", {"type": "function"}, None),
    ],
)
def test_a_value_is_of_the_parameters_kind(name: str, good: object, bad: object) -> None:
    assert fits(name, good)
    assert not fits(name, bad)


def test_a_pointer_may_point_at_anything_but_what_the_gateway_says() -> None:
    assert all(is_pointer(name) for name in ("/a", "/a/0", "/a~1b", "/", "/models", "/a/model"))
    assert not any(is_pointer(name) for name in ("a", "", "/model", "/model/x", "/stream", "/a~", "/a~2"))
