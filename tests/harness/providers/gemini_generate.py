"""Google's Gemini API: what the SDK's own strict models refuse, and the order of calls and results.

https://ai.google.dev/api/generate-content, https://ai.google.dev/gemini-api/docs/thought-signatures
"""

from __future__ import annotations

import base64
import binascii
import json
import re
import warnings
from collections.abc import Iterator
from functools import cache
from typing import Any

from pydantic import TypeAdapter, ValidationError

from harness.answers import Answer
from harness.providers import script, strict
from harness.providers.script import RefusedError, Said, Script, Turn
from harness.wire import Request

_SEAL = b"sealed by the generate double "
# What Google's manual names for calls that another model made.
_ANY_SEAL = ("skip_thought_signature_validator", "context_engineering_is_the_way_to_go")
_FIELDS = "systemInstruction tools toolConfig safetySettings generationConfig cachedContent labels serviceTier store"
_FREE = (
    "args", "response", "parametersJsonSchema", "responseJsonSchema", "responseSchema", "parameters", "properties",
    "labels",
)  # fmt: skip


@cache
def _adapter(name: str) -> TypeAdapter[Any]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from google.genai import types
    return TypeAdapter(getattr(types, name))


def answer(request: Request, model: Script, name: str, *, stream: bool) -> Answer:
    """Answer ``:generateContent`` and ``:streamGenerateContent``, a list without ``alt=sse``."""
    asked = canonical(strict.body(request))
    turn = read(asked, signed=model.insists and name.startswith("gemini-3"))
    said = model.answer(turn, "")
    thinking = (asked.get("generationConfig") or {}).get("thinkingConfig") or {}
    parts = _parts(said, model, thoughts=bool(thinking.get("includeThoughts")))
    head = {"modelVersion": name, "responseId": model.new_id("")}
    if not stream:
        return Answer.json(_piece(head, parts, finish=True))
    events = list(_stream(head, parts))
    if request.query.get("alt") == "sse":
        return Answer.sse(b"data: " + json.dumps(each).encode() + b"\r\n\r\n" for each in events)
    return Answer.json(events)


def count(request: Request, model: Script, name: str) -> Answer:
    """Answer ``:countTokens``."""
    asked = strict.fields(canonical(strict.body(request)), "body", "", "contents generateContentRequest")
    inner = asked.get("generateContentRequest", asked)
    if inner is not asked:
        strict.string(inner.pop("model", None), "generateContentRequest.model", pattern="models/.+")
    read(inner, signed=False)
    return Answer.json({"totalTokens": script.INPUT_TOKENS})


def embed(request: Request, model: Script, name: str, *, batch: bool) -> Answer:
    """Answer ``:embedContent`` and ``:batchEmbedContents``."""
    asked = canonical(strict.body(request))
    requests = strict.fields(asked, "body", "requests")["requests"] if batch else [asked]
    vectors = []
    for path, each in strict.items(requests, "requests", at_least=1):
        known = "model taskType title outputDimensionality embedContentConfig"
        strict.fields(each, path, "content" + (" model" if batch else ""), known)
        if "model" in each:
            strict.string(each["model"], f"{path}.model", pattern=f"models/{name}")
        _validate("Content", each["content"], f"{path}.content")
        vectors.append({"values": [1.0] + [0.0] * (each.get("outputDimensionality", 8) - 1)})
    return Answer.json({"embeddings": vectors} if batch else {"embedding": vectors[0]})


def read(asked: dict[str, Any], *, signed: bool) -> Turn:
    """Check a body, and tell what it comes to. ``signed``: calls have to be, as of the third generation.

    Raises:
        RefusedError: a strict provider would not take it.
    """
    strict.fields(asked, "body", "contents", _FIELDS)
    for field, kind, listed in (
        ("contents", "Content", True), ("systemInstruction", "Content", False), ("tools", "Tool", True),
        ("toolConfig", "ToolConfig", False), ("safetySettings", "SafetySetting", True),
        ("generationConfig", "GenerationConfig", False),
    ):  # fmt: skip
        values = strict.items(asked[field], field) if listed and field in asked else [(field, asked.get(field))]
        for path, value in values if field in asked else []:
            _validate(kind, value, path)
    tools = _tools(asked)
    calling = (asked.get("toolConfig") or {}).get("functionCallingConfig") or {}
    mode = calling.get("mode", "AUTO")
    allowed = calling.get("allowedFunctionNames") or tools
    if calling.get("allowedFunctionNames") and mode not in ("ANY", "VALIDATED"):
        raise RefusedError("Allowed function names should be set only when the function calling mode is ANY.")
    if any(each not in tools for each in allowed):
        raise RefusedError(f"toolConfig: {allowed} are not among the functions")
    results = _contents(asked["contents"], signed=signed)
    forced = allowed[0] if mode == "ANY" and allowed else ""
    called = sum("functionCall" in part for content in asked["contents"] for part in content["parts"])
    return Turn(tools=tools, results=results, forced=forced, may_call=mode != "NONE", called=called)


def canonical(value: Any) -> Any:
    """The names as JSON has them: Google's SDK for Python writes some with underscores, and both are theirs.

    https://protobuf.dev/programming-guides/json/ — parsers accept both. What is free JSON stays as it is.
    """
    if isinstance(value, list):
        return [canonical(each) for each in value]
    if not isinstance(value, dict):
        return value
    made = {}
    for name, item in value.items():
        camel = re.sub(r"_([a-z])", lambda found: found[1].upper(), name)
        made[camel] = item if camel in _FREE else canonical(item)
    if len(made) != len(value):
        raise RefusedError(f"{sorted(value)}: a field is there twice")
    return made


def _validate(kind: str, value: object, path: str) -> None:
    try:
        _adapter(kind).validate_json(json.dumps(value))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise RefusedError(f"Invalid JSON payload received. {path}.{where}: {first['msg']}") from None
    _no_null(value, path)


def _no_null(value: object, path: str) -> None:
    if value is None:
        raise RefusedError(f"{path}: null")
    if isinstance(value, dict):
        for name, item in value.items():
            if name not in _FREE:
                _no_null(item, f"{path}.{name}")
    elif isinstance(value, list):
        for index, item in enumerate(value):
            _no_null(item, f"{path}[{index}]")


def _tools(asked: dict[str, Any]) -> list[str]:
    names = []
    for path, tool in strict.items(asked.get("tools", []), "tools"):
        for each_path, each in strict.items(tool.get("functionDeclarations", []), f"{path}.functionDeclarations"):
            names.append(strict.string(each.get("name"), f"{each_path}.name", pattern=r"[A-Za-z_][\w.:-]{0,127}"))
            if "parameters" in each and "parametersJsonSchema" in each:
                raise RefusedError(f"{each_path}: parameters and parametersJsonSchema are mutually exclusive")
            # An object without properties is refused; no parameters at all is how that is said.
            if each.get("parameters", {}).get("type") == "OBJECT" and each["parameters"].get("properties") == {}:
                raise RefusedError(f"{each_path}.parameters.properties: should be non-empty for OBJECT type")
    strict.distinct(names, "tools")
    return names


def _contents(contents: list[dict[str, Any]], *, signed: bool) -> list[str]:
    if not contents:
        raise RefusedError("contents are required")
    calls: list[dict[str, Any]] = []
    results: list[str] = []
    for index, content in enumerate(contents):
        path = f"contents[{index}]"
        parts = content.get("parts") or []
        role = content.get("role", "user")
        strict.one_of(role, f"{path}.role", "user model function")
        if not parts:
            raise RefusedError(f"{path}.parts: must not be empty")
        for number, part in enumerate(parts):
            if not {*part} - {"thought", "thoughtSignature", "videoMetadata", "mediaResolution", "partMetadata"}:
                raise RefusedError(
                    f"{path}.parts[{number}]: required oneof field 'data' must have one initialized field"
                )
            _seal(part, f"{path}.parts[{number}]")
        answered = [part["functionResponse"] for part in parts if "functionResponse" in part]
        if len(answered) != len(calls):
            raise RefusedError(f"{path}: {len(answered)} function responses for {len(calls)} function calls")
        _match(calls, answered, path)
        results = [json.dumps(each.get("response"), ensure_ascii=False) for each in answered]
        calls = [part["functionCall"] for part in parts if "functionCall" in part]
        if calls and (role != "model" or index == 0):
            raise RefusedError("a function call turn comes immediately after a user turn or a function response turn")
        first = next((part for part in parts if "functionCall" in part), None)
        if signed and first is not None and "thoughtSignature" not in first:
            raise RefusedError(
                f"{path}: Function call `{first['functionCall'].get('name')}` is missing a thought_signature"
            )
    if calls or contents[-1].get("role") == "model":
        raise RefusedError("contents: the last turn must be the user's")
    return results


def _match(calls: list[dict[str, Any]], answered: list[dict[str, Any]], path: str) -> None:
    strict.same([each.get("name", "") for each in calls], [each.get("name", "") for each in answered], path)
    ids = {each["id"] for each in calls if each.get("id")}
    for each in answered:
        if each.get("id") and each["id"] not in ids:
            raise RefusedError(f"{path}: no function call has the id {each['id']}")
        if not isinstance(each.get("response"), dict):
            raise RefusedError(f"{path}: functionResponse.response must be an object")


def _seal(part: dict[str, Any], path: str) -> None:
    sealed = part.get("thoughtSignature")
    if sealed is None:
        return
    try:
        raw = _decoded(sealed)
    except (binascii.Error, ValueError):
        raise RefusedError(f"{path}.thoughtSignature: Base64 decoding failed") from None
    if not raw.startswith(_SEAL) and raw not in map(_decoded, _ANY_SEAL):
        raise RefusedError(f"{path}: Corrupted thought signature.")


def _decoded(sealed: str) -> bytes:
    """Of either alphabet: the SDK decodes what it gets, and encodes it anew."""
    return base64.b64decode(sealed.replace("-", "+").replace("_", "/") + "=" * (-len(sealed) % 4), validate=True)


def _parts(said: Said, model: Script, *, thoughts: bool) -> list[dict[str, Any]]:
    parts: list[dict[str, Any]] = []
    if said.thought and thoughts:
        parts.append({"text": said.thought, "thought": True})
    parts.append({"text": said.text})
    for number, call in enumerate(said.calls):
        part: dict[str, Any] = {"functionCall": {"name": call.name, "args": call.arguments}}  # no id, as of old
        if number == 0:  # of parallel calls only the first is signed
            model.count += 1
            part["thoughtSignature"] = base64.b64encode(_SEAL + str(model.count).encode()).decode()
        parts.append(part)
    return parts


def _usage(parts: list[dict[str, Any]]) -> dict[str, Any]:
    thought = script.REASONING_TOKENS if any("functionCall" in part for part in parts) else 0
    usage = {
        "promptTokenCount": script.INPUT_TOKENS,
        "candidatesTokenCount": script.OUTPUT_TOKENS - thought,
        "totalTokenCount": script.INPUT_TOKENS + script.OUTPUT_TOKENS,
        "cachedContentTokenCount": script.CACHED_TOKENS,
        "promptTokensDetails": [{"modality": "TEXT", "tokenCount": script.INPUT_TOKENS}],
    }
    return usage | ({"thoughtsTokenCount": thought} if thought else {})


def _piece(head: dict[str, Any], parts: list[dict[str, Any]], *, finish: bool) -> dict[str, Any]:
    candidate: dict[str, Any] = {"content": {"role": "model", "parts": parts}, "index": 0}
    if finish:
        candidate["finishReason"] = "STOP"
    return {"candidates": [candidate], "usageMetadata": _usage(parts), **head}


def _stream(head: dict[str, Any], parts: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for part in parts:
        if "text" in part:
            for piece in script.pieces(part["text"]):
                yield _piece(head, [{**part, "text": piece}], finish=False)
        else:
            yield _piece(head, [part], finish=False)
    # The last piece carries the finish and an empty text, as theirs does.
    last = _piece(head, [{"text": ""}], finish=True)
    yield {**last, "usageMetadata": _usage(parts)}
