"""A small JSON value that fits a JSON schema, the same one every time.

Covers what function parameters and structured outputs use; ``pattern``, ``not``, ``if`` and the like are not obeyed.
Everything is bounded: the schema comes from a request.
"""

import math
from collections.abc import Mapping

_MAX_DEPTH = 24
_MAX_NODES = 2_000
_MAX_ITEMS = 64
_MAX_LENGTH = 1_024

_FORMATS: Mapping[str, str] = {
    "date": "2025-01-01",
    "date-time": "2025-01-01T00:00:00Z",
    "duration": "PT1S",
    "email": "echo@example.com",
    "hostname": "example.com",
    "ipv4": "192.0.2.1",
    "ipv6": "2001:db8::1",
    "time": "00:00:00Z",
    "uri": "https://example.com/",
    "uuid": "00000000-0000-4000-8000-000000000000",
}


def instance(schema: Mapping[str, object]) -> object:
    """The least value that the schema admits: required properties, first choices, least numbers and lengths."""
    return _Writer(schema).value(schema, 0)


class _Writer:
    def __init__(self, root: Mapping[str, object]) -> None:
        self._root = root
        self._nodes = 0

    def value(self, schema: object, depth: int) -> object:
        self._nodes += 1
        if not isinstance(schema, Mapping) or depth > _MAX_DEPTH or self._nodes > _MAX_NODES:
            return None
        if "const" in schema:
            return schema["const"]
        if isinstance(options := schema.get("enum"), list) and options:
            return options[0]
        if isinstance(reference := schema.get("$ref"), str):
            return self.value(self._resolve(reference), depth + 1)
        for key in ("anyOf", "oneOf"):
            if isinstance(choices := schema.get(key), list) and choices:
                return self.value(_simplest(choices, depth), depth + 1)
        if isinstance(parts := schema.get("allOf"), list) and parts:
            return self.value(self._merged(schema, parts), depth + 1)
        return self._of_type(schema, depth)

    def _of_type(self, schema: Mapping[str, object], depth: int) -> object:
        match _type(schema):
            case "object":
                return self._object(schema, depth)
            case "array":
                count = min(_integer(schema.get("minItems"), 0), _MAX_ITEMS)
                return [self.value(schema.get("items", {}), depth + 1) for _ in range(count)]
            case "string":
                return _string(schema)
            case "integer":
                return _number(schema, whole=True)
            case "number":
                return _number(schema, whole=False)
            case "boolean":
                return False
        return None

    def _object(self, schema: Mapping[str, object], depth: int) -> dict[str, object]:
        properties = schema.get("properties")
        known = properties if isinstance(properties, Mapping) else {}
        required = schema.get("required")
        names = [name for name in required if isinstance(name, str)] if isinstance(required, list) else []
        return {name: self.value(known.get(name, {"type": "string"}), depth + 1) for name in names}

    def _resolve(self, reference: str) -> object:
        found: object = self._root
        for step in reference.removeprefix("#").split("/")[1:]:
            name = step.replace("~1", "/").replace("~0", "~")
            found = found.get(name) if isinstance(found, Mapping) else None
        return found

    def _merged(self, schema: Mapping[str, object], parts: list[object]) -> dict[str, object]:
        merged: dict[str, object] = {key: value for key, value in schema.items() if key != "allOf"}
        for each in parts:
            reference = each.get("$ref") if isinstance(each, Mapping) else None
            part = self._resolve(reference) if isinstance(reference, str) else each
            for key, value in part.items() if isinstance(part, Mapping) else ():
                before = merged.get(key)
                if key == "properties" and isinstance(before, Mapping) and isinstance(value, Mapping):
                    merged[key] = {**before, **value}
                elif key == "required" and isinstance(before, list) and isinstance(value, list):
                    merged[key] = [*before, *(name for name in value if name not in before)]
                else:
                    merged[key] = value
        return merged


def _simplest(choices: list[object], depth: int) -> object:
    """The first choice, or deep down one that ends a recursion."""
    if depth > _MAX_DEPTH // 4:
        for choice in choices:
            if isinstance(choice, Mapping) and _type(choice) not in ("object", "array", None):
                return choice
    return choices[0]


def _type(schema: Mapping[str, object]) -> str | None:
    kind = schema.get("type")
    if isinstance(kind, list):
        kind = kind[0] if kind else None
    if isinstance(kind, str):
        return kind
    if "properties" in schema:
        return "object"
    if "items" in schema:
        return "array"
    return None


def _integer(value: object, default: int) -> int:
    return int(value) if isinstance(value, int | float) and math.isfinite(value) and value > 0 else default


def _string(schema: Mapping[str, object]) -> str:
    if isinstance(kind := schema.get("format"), str) and kind in _FORMATS:
        return _FORMATS[kind]
    least = min(_integer(schema.get("minLength"), 0), _MAX_LENGTH)
    most = _integer(schema.get("maxLength"), _MAX_LENGTH) if schema.get("maxLength") != 0 else 0
    return "echo"[:most].ljust(least, ".")


def _number(schema: Mapping[str, object], *, whole: bool) -> int | float:
    def bound(key: str) -> float | None:
        value = schema.get(key)
        usable = isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 2**53
        return value if usable else None  # type: ignore[return-value]  # `usable` says that it is a number

    step = bound("multipleOf") or 1
    low, above = bound("minimum"), bound("exclusiveMinimum")
    high, below = bound("maximum"), bound("exclusiveMaximum")
    if above is not None and (low is None or above >= low):
        low = (math.floor(above / step) + 1) * step
        if not whole and below is not None and low >= below:
            low = (above + below) / 2
    value: float = 0
    if low is not None and value < low:
        value = math.ceil(low / step) * step if whole or "multipleOf" in schema else low
    elif high is not None and value > high:
        value = math.floor(high / step) * step if whole or "multipleOf" in schema else high
    elif below is not None and value >= below:
        value = (math.ceil(below / step) - 1) * step
    return int(value) if whole else value
