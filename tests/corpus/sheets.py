"""The sheet of what a request says, and how its parts are made equal. See `saying`."""

import base64
import json
import re
from collections.abc import Mapping, Sequence
from typing import Final, TypeAlias

from corpus.loose import as_dict, as_str
from corpus.reading import canonical

Sheet: TypeAlias = dict[str, object]
Part: TypeAlias = tuple[object, ...]


class Turns:
    """Turns as they are read."""

    def __init__(self) -> None:
        self.system: list[str] = []
        self.turns: list[tuple[str, list[Part]]] = []
        self._calls: dict[str, int] = {}
        self._names: dict[str, list[int]] = {}
        self._count = 0

    def say_system(self, text: str) -> None:
        if self.turns:
            self.add("system", [("text", tight(text))])
        else:
            self.system.append(tight(text))

    def add(self, role: str, parts: Sequence[Part]) -> None:
        parts = [part for part in parts if part != ("text", "")]
        if not parts:
            return
        if not self.turns or self.turns[-1][0] != role:
            self.turns.append((role, []))
        into = self.turns[-1][1]
        for part in parts:
            if into and part[0] in ("text", "reasoning") and into[-1][0] == part[0] and len(part) == 2:
                into[-1] = (part[0], f"{into[-1][1]}{part[1]}")
            else:
                into.append(part)

    def call(self, call_id: object, name: str, arguments: object) -> Part:
        number = self._count
        self._count += 1
        if call_id:
            self._calls[str(call_id)] = number
        self._names.setdefault(name, []).append(number)
        return ("call", number, name, canonical(arguments))

    def result(self, call_id: object, name: str, text: str) -> Part:
        text = _unwrapped(text)
        number: object = self._calls.get(str(call_id)) if call_id else None
        if number is None and self._names.get(name):
            number = self._names[name].pop(0)
        elif isinstance(number, int):
            for numbers in self._names.values():
                if number in numbers:
                    numbers.remove(number)
        return ("result", "?" if number is None else number, tight(text))

    def sheet(self) -> Sheet:
        for _, parts in self.turns:  # some dialects want all results first, some call in any order
            parts.sort(key=lambda part: (part[0] != "result", 0))
        return {
            "system": "".join(self.system),
            "turns": [(role, parts) for role, parts in self.turns],
        }


_DEFAULTS: Final[Mapping[str, tuple[object, ...]]] = {
    "n": (1.0,),
    "logprobs": (False,),
    "top_logprobs": (0.0,),
    "parallel_tool_calls": (True,),
    "tool_choice": ("auto",),
    "service_tier": ("auto", "default", "standard_only", "on_demand"),
    "store": (False,),
    "presence_penalty": (0.0,),
    "frequency_penalty": (0.0,),
}


def without_defaults(sheet: Sheet) -> Sheet:
    if "safety_identifier" in sheet:
        sheet.setdefault("user", sheet.pop("safety_identifier"))
    if sheet.get("tool_choice") == "any":
        sheet["tool_choice"] = "required"
    return {
        key: value
        for key, value in sheet.items()
        if not any(value == default and type(value) is type(default) for default in _DEFAULTS.get(key, ()))
    }


_ATTACHED: Final = re.compile(r"Attachments of the result[^\n]*:\n?|See the attached document\.?")
"""Notes that stand where a dialect takes no pictures in results, or no file without a word."""


def tight(text: str) -> str:
    return re.sub(r"\s+", "", _ATTACHED.sub("", text))


def _unwrapped(text: str) -> str:
    """A result in canonical JSON; of an object with one of the usual names, what it holds."""
    try:
        value = json.loads(text)
    except ValueError:
        return text
    if isinstance(value, dict) and len(value) == 1:
        ((name, inner),) = value.items()
        if name in ("output", "result", "content", "error", "text", "tool_result", "return_value"):
            value = inner
    return _unwrapped(value) if isinstance(value, str) else canonical(value)


def media_of(url: str) -> Part:
    """Of a data URL or another: what it is and where."""
    if match := re.match(r"data:([^;,]*)[^,]*,(.*)", url, re.DOTALL):
        return match[1], match[2]
    return "", url


def kind_of(media: str) -> Part:
    """What a file is, by its media type: a file of sound is sound."""
    kind = media.partition("/")[0]
    if kind == "audio":
        return kind, media.partition("/")[2]
    return kind if kind in ("image", "video") else "file", media


def file_part(media: str, where: str) -> Part:
    kind, media = kind_of(media)
    return (kind, media, where)


def named_media(media: str, where: str) -> Part:
    """What is elsewhere is known by its address; base64 in one alphabet."""
    if "://" in where[:12]:
        return "", where
    where = where.replace("-", "+").replace("_", "/")
    return media, where + "=" * (-len(where) % 4)


def json_text(value: object) -> str:
    return value if isinstance(value, str) else canonical(value)


_GEMINI_TYPES: Final = {1: "string", 2: "number", 3: "integer", 4: "boolean", 5: "array", 6: "object", 7: "null"}


def schema_in_text(value: object) -> object:
    """A JSON Schema that may be JSON in a text."""
    return schema_of(json.loads(value) if isinstance(value, str) else value)


def schema_of(value: object) -> object:
    """A JSON Schema, however its types are spelt."""
    match value:
        case dict():
            made = {
                key: schema_of(each) if key not in ("enum", "const", "default", "example") else each
                for key, each in value.items()
                if key not in ("$schema", "propertyOrdering", "property_ordering")
            }
            if isinstance(made.get("type"), str):
                made["type"] = made["type"].lower()
            if made.pop("nullable", False) and isinstance(made.get("type"), str):
                made["type"] = [made["type"], "null"]
                if isinstance(made.get("enum"), list) and None not in made["enum"]:
                    made["enum"] = [*made["enum"], None]
            if isinstance(made.get("type"), int):
                made["type"] = _GEMINI_TYPES.get(made["type"], made["type"])
            for key in ("minItems", "maxItems", "minLength", "maxLength", "minProperties", "maxProperties"):
                if isinstance(made.get(key), str):
                    made[key] = int(made[key])
            return made
        case list():
            return [schema_of(each) for each in value]
        case _:
            return value


FREE_TEXT: Final = {"free": "text"}


def tool_of(description: object, schema: object) -> object:
    found = schema_of(schema)
    if found in (None, {}, {"type": "object"}, {"type": "object", "properties": {}}):
        found = {"type": "object", "properties": {}}
    elif list(as_dict(as_dict(found).get("properties"))) == ["input"]:
        found = FREE_TEXT
    return (as_str(description), canonical(found))


def put(sheet: Sheet, body: Mapping[str, object], names: Mapping[str, str]) -> None:
    for theirs, ours in names.items():
        if body.get(theirs) is not None:
            value = body[theirs]
            sheet[ours] = float(value) if isinstance(value, int | float) and not isinstance(value, bool) else value


def effort_of(word: object) -> str:
    return "off" if word == "none" else "on"


SAMPLING: Final = {name: name for name in (
    "temperature", "top_p", "top_k", "seed", "presence_penalty", "frequency_penalty", "n", "logprobs", "top_logprobs",
    "logit_bias", "user", "service_tier", "parallel_tool_calls", "store", "metadata", "prompt_cache_key", "verbosity",
    "safety_identifier",
)}  # fmt: skip


def encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()
