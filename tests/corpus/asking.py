"""Two requests compared by what they say (`saying`), and what an encoder names as lost allowed for."""

import base64
import hashlib
import re
from collections.abc import Iterable, Mapping
from typing import Final

from corpus.saying import Sheet
from trunkline_gateway.exchange import losses

EXCUSES: Final[Mapping[str, tuple[str, ...]]] = {
    "system": ("system_position", "developer_role", "response_format"),
    "turns": ("system_position", "assistant_prefill"),
    "tools": ("tools", "tools.custom", "tools.namespace"),
    "thinking": ("reasoning_effort", "reasoning_budget", "reasoning_summary"),
    "tool_choice": ("tool_choice.allowed_tools", "toolConfig.functionCallingConfig.mode"),
    "user": ("safety_identifier",),
}
"""A part of the sheet → names beside its own that say it is lost, or partly."""

PART_EXCUSES: Final[Mapping[str, tuple[str, ...]]] = {
    "reasoning": ("reasoning", "reasoning_signature", "reasoning_encrypted"),
    "image": ("image", "image_url", "image_file", "file_id", "tool_result_image"),
    "audio": ("audio_input", "file", "tool_result_file"),
    "video": ("video",),
    "file": ("file", "file_url", "file_id", "tool_result_file", "file_context"),
    "refusal": ("refusal",),
    "other": ("hosted_step", "unknown", "web_search", "code_execution"),
}
"""Kinds of parts → names that say they are lost."""


def compare(want: Sheet, got: Sheet, lost: Iterable[str]) -> dict[str, str]:
    """What differs, by the sheet's names, and is not named as lost."""
    names = set(lost)
    found = {}
    want = _with_allowed_tools(want, got)
    if _others(want) > _others(got) and not names - (losses.FEATURES.keys() - {"hosted_step"}):
        found["others"] = "steps of the provider's own tools, or unknown parts, are gone, and nothing is named"
    for key in sorted({*want, *got}):
        left, right = want.get(key), got.get(key)
        if key == "turns":
            left, right = _turns(left, names), _turns(right, names)
            left, right = _with_same_notes(left, right)
        if left == right or (not left and not right):
            continue
        if key in names or names & set(EXCUSES.get(key, ())) or _is_the_same(key, want, got):
            continue
        if isinstance(left, dict) and isinstance(right, dict):
            left, right = (
                {name: each.get(name) for name in sorted({*left, *right}) if left.get(name) != right.get(name)}
                for each in (left, right)
            )
        found[key] = f"{_cut(left, right)} became {_cut(right, left)}"
    return found


def _with_allowed_tools(want: Sheet, got: Sheet) -> Sheet:
    """Where one cannot say which tools are allowed, only those are sent."""
    allowed, tools = want.get("allowed"), want.get("tools")
    if not isinstance(allowed, list) or "allowed" in got or not isinstance(tools, dict):
        return want
    kept = {name: tool for name, tool in tools.items() if name in allowed}
    return {key: kept if key == "tools" else value for key, value in want.items() if key != "allowed"}


def _others(sheet: Sheet) -> int:
    turns = sheet["turns"]
    assert isinstance(turns, list)
    return sum(part[0] == "other" for _, parts in turns for part in parts)


def _is_the_same(key: str, want: Sheet, got: Sheet) -> bool:
    """Other ways of saying it."""
    if key in ("tools", "tool_choice") and want.get("tool_choice") == "none" and not got.get("tools"):
        return True  # without tools none is called
    if key == "response_format":
        return _open(want.get(key)) == _open(got.get(key))  # some take only objects that say they are closed
    if key == "tools" and _are_in_namespaces(want.get(key), got.get(key)):
        return True
    if key == "user":
        return got.get(key) == hashlib.sha256(str(want.get(key)).encode()).hexdigest()  # OpenAI takes 64 characters
    if key == "tools" and not want.get("tools"):
        return "call" in str(want["turns"])  # some want the tools declared that were called before
    return key == "thinking" and want.get(key) == "off" and key not in got  # nobody has to be told not to


def _open(schema: object) -> str:
    return re.sub(r'"additionalProperties": false(, )?', "", str(schema)).replace(", }", "}")


def _are_in_namespaces(want: object, got: object) -> bool:
    """The same tools, but that what is said of a namespace is said of each of its tools."""
    if not isinstance(want, dict) or not isinstance(got, dict):
        return False
    if want.keys() != got.keys():
        # Where names are bare, unless two of them are the same.
        want = {name if name in got else name.rpartition("__")[2]: tool for name, tool in want.items()}
        return want.keys() == got.keys() and all(got[name][0].endswith(tool[0]) for name, tool in want.items())
    return all(
        tool == got[name] or ("__" in name and tool[1] == got[name][1] and got[name][0].endswith(tool[0]))
        for name, tool in want.items()
    )


_Turns = list[tuple[str, list[tuple[object, ...]]]]


def _turns(turns: object, lost: set[str]) -> _Turns:
    """Turns without the parts that are lost, or were never to be kept."""
    drop = {kind for kind, names in PART_EXCUSES.items() if lost & set(names)} | {"other"}
    assert isinstance(turns, list)
    made: _Turns = []
    for role, parts in turns:
        kept: list[tuple[object, ...]] = []
        for part in map(_text_of_file, parts):
            if part[0] in drop or part == ("text", ""):
                continue
            if kept and part[0] == "text" and kept[-1][0] == "text":
                kept[-1] = ("text", f"{kept[-1][1]}{part[1]}")
            else:
                kept.append(part)
        if kept and made and made[-1][0] == role:
            before = made[-1][1]
            if before[-1][0] == kept[0][0] == "text":
                before[-1] = ("text", f"{before[-1][1]}{kept.pop(0)[1]}")
            before.extend(kept)
        elif kept:
            made.append((role, kept))
    return made


def _text_of_file(part: tuple[object, ...]) -> tuple[object, ...]:
    """A text document may as well be a text."""
    if part[:2] != ("file", "text/plain"):
        return part
    return ("text", re.sub(r"\s+", "", base64.b64decode(str(part[2])).decode("utf-8", "replace")))


def _with_same_notes(want: _Turns, got: _Turns) -> tuple[_Turns, _Turns]:
    """Some do not take an empty result, or a model's turn as the first: a word is put there."""
    if got and got[0][0] == "user" and len(got) == len(want) + 1 and not (want and want[0][0] == "user"):
        got = got[1:]
    if len(got) == len(want):
        for (_, left), (_, right) in zip(want, got, strict=True):
            for index, (one, two) in enumerate(zip(left, right, strict=False)):
                if one[1:] == two[1:] and "://" in str(one[-1]):
                    right[index] = one  # of an address without an extension nobody knows what is there
                if one[0] == two[0] == "result" and not one[2] and str(two[2]).startswith("("):
                    right[index] = one
    return want, got


def _cut(value: object, other: object) -> str:
    """What is about the first difference."""
    shown, beside = repr(value), repr(other)
    at = next((index for index, (one, two) in enumerate(zip(shown, beside, strict=False)) if one != two), 0)
    start = max(at - 60, 0)
    return ("…" if start else "") + shown[start : at + 140]
