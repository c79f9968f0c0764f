"""What a field must satisfy, said once for both doors: the API server (schema and CEL) and this process (pydantic).

The classes here stand in ``Annotated`` beside a type, or in ``Block.rules`` of a model. Each puts its check into the
validator, and its CEL or list keywords into the JSON schema from which `crd` makes the CRDs.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, ClassVar, Final, Self, TypeAlias, TypeVar

from pydantic import BaseModel, ConfigDict, GetCoreSchemaHandler, GetJsonSchemaHandler, model_validator
from pydantic.alias_generators import to_camel
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

ERROR_TYPE: Final = "trunkline_rule"
"""The type of a pydantic error whose context holds `Failure`s under ``failures``."""

Failure: TypeAlias = tuple[str, str]
"""Where below the value (``.endpoint.baseURL``, ``[1]``, or empty), and what to write instead."""

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """A condition that the keywords of a schema cannot say.

    Attributes:
        cel: For the API server: true is good, ``self`` is the value. What it reads is bounded, and so is its cost.
        check: The same in Python, on the parsed value. ``Any``: a rule may stand beside any type.
        message: What to write instead. It never quotes the value, which may be a secret.
        field: The culprit below ``self``, such as ``.endpoint.baseURL``; empty: ``self``.
        reason: One that Kubernetes knows for field errors; empty: ``FieldValueInvalid``.
    """

    cel: str
    check: Callable[[Any], bool]
    message: str
    field: str = ""
    reason: str = ""

    def __get_pydantic_core_schema__(self, source: object, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_after_validator_function(self._enforce, handler(source))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return _with_validations(handler(schema), [self])

    def _enforce(self, value: _T) -> _T:
        if not self.check(value):
            raise _failed([(self.field, self.message)])
        return value


@dataclass(frozen=True, slots=True)
class Pattern:
    """A regular expression for a whole string, in the syntax that RE2 (CEL) and Rust (pydantic) share.

    It is a CEL rule rather than the keyword ``pattern``, whose refusal would only quote the expression.
    """

    regex: str
    message: str

    def __get_pydantic_core_schema__(self, source: object, handler: GetCoreSchemaHandler) -> CoreSchema:
        matches = core_schema.custom_error_schema(
            core_schema.str_schema(pattern=self.regex, strict=True),
            custom_error_type=ERROR_TYPE,
            custom_error_message="{failures}",
            custom_error_context={"failures": [("", self.message)]},
        )
        return core_schema.chain_schema([handler(source), matches])

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        quote = '"' if "'" in self.regex else "'"
        cel = f"self.matches(r{quote}{self.regex}{quote})"
        return _with_validations(handler(schema), [Rule(cel=cel, check=bool, message=self.message)])


@dataclass(frozen=True, slots=True)
class Items:
    """The bounds of a list, which parses into a tuple.

    Attributes:
        at_most: Greatest number of items.
        at_least: Least number of items.
        key: The field that names an item: the list is then a map of Kubernetes (``listType=map``), each name once.
            Empty: the list is replaced as a whole.
    """

    at_most: int
    at_least: int = 0
    key: str = ""

    def __get_pydantic_core_schema__(self, source: object, handler: GetCoreSchemaHandler) -> CoreSchema:
        # Strict mode would ask for a tuple, and YAML has lists. The items stay strict.
        bounds: dict[str, object] = {"strict": False, "max_length": self.at_most}
        if self.at_least:
            bounds["min_length"] = self.at_least
        schema: CoreSchema = {**handler(source), **bounds}
        if not self.key:
            return schema
        return core_schema.no_info_after_validator_function(self._each_once, schema)

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        json_schema = handler(schema)
        json_schema["x-kubernetes-list-type"] = "map" if self.key else "atomic"
        if self.key:
            json_schema["x-kubernetes-list-map-keys"] = [self.key]
        return json_schema

    def _each_once(self, items: tuple[_T, ...]) -> tuple[_T, ...]:
        first: dict[object, int] = {}
        twice = [i for i, item in enumerate(items) if first.setdefault(getattr(item, self.key), i) != i]
        if twice:
            raise _failed([(f"[{i}]", f"Duplicate value: give each item a {self.key} of its own") for i in twice])
        return items


@dataclass(frozen=True, slots=True)
class FreeForm:
    """A JSON object of any shape, beside ``dict[str, object]``. CEL cannot look into it; the compiler does.

    Attributes:
        at_most: Greatest number of members.
    """

    at_most: int

    def __get_pydantic_core_schema__(self, source: object, handler: GetCoreSchemaHandler) -> CoreSchema:
        schema: CoreSchema = {**handler(source), "max_length": self.at_most}
        return schema

    def __get_pydantic_json_schema__(self, _schema: CoreSchema, _handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return {"type": "object", "maxProperties": self.at_most, "x-kubernetes-preserve-unknown-fields": True}


class Block(BaseModel):
    """An object that users write: strict, closed, immutable, camelCase outside and snake_case inside.

    Attributes:
        rules: What concerns several of its fields.
    """

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid", alias_generator=to_camel)

    rules: ClassVar[tuple[Rule, ...]] = ()

    @model_validator(mode="after")
    def _keep_rules(self) -> Self:
        failures = [(rule.field, rule.message) for rule in self.rules if not rule.check(self)]
        if failures:
            raise _failed(failures)
        return self

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        json_schema = handler(schema)
        _with_validations(handler.resolve_ref_schema(json_schema), cls.rules)
        return json_schema


class StatusBlock(BaseModel):
    """An object that only the operator writes: fields are set by their Python names and dumped by their aliases."""

    model_config = ConfigDict(
        strict=True,
        frozen=True,
        extra="forbid",
        alias_generator=to_camel,
        validate_by_name=True,
        validate_by_alias=True,
    )


def _failed(failures: list[Failure]) -> PydanticCustomError:
    return PydanticCustomError(ERROR_TYPE, "{failures}", {"failures": failures})


def _with_validations(json_schema: JsonSchemaValue, rules: Iterable[Rule]) -> JsonSchemaValue:
    for rule in rules:
        entry = {"rule": rule.cel, "message": rule.message, "fieldPath": rule.field, "reason": rule.reason}
        validations = json_schema.setdefault("x-kubernetes-validations", [])
        validations.append({key: text for key, text in entry.items() if text})
    return json_schema
