"""What a target says beside where it leads: dialect, parameters, capabilities.

What CEL cannot look into is judged here: the members of ``defaults`` and ``overrides``, and what depends on the
provider.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from difflib import get_close_matches
from typing import Final

from trunkline_protocol import models, parameters, resources
from trunkline_protocol.accounts import Dialect
from trunkline_protocol.v1 import routing_pb2 as pb

MAX_BYTES: Final = 16 << 10
"""Of the values of one target's ``defaults`` or ``overrides``."""

MAX_DEPTH: Final = 32

_SHOWN: Final[Mapping[Dialect, str]] = {ours: said for said, ours in resources.DIALECTS.items()}
_WANTED: Final[Mapping[parameters.Kind, str]] = {
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "string": "a string",
    "strings": "a string or a list of strings",
    "list": "a list",
    "object": "an object",
    "choice": "a string or an object",
}


def problems(targets: Sequence[resources.Target]) -> tuple[resources.FieldError, ...]:
    """What is wrong with the parameters of targets that are valid as far as their schema goes."""
    found: list[resources.FieldError] = []
    for place, target in enumerate(targets):
        if target.parameters is not None:
            for field in ("defaults", "overrides"):
                path = f"spec.targets[{place}].parameters.{field}"
                found.extend(_free_form(path, getattr(target.parameters, field)))
    return tuple(found)


def _free_form(path: str, members: Mapping[str, object]) -> Iterator[resources.FieldError]:
    for name, value in members.items():
        if (said := _problem(name, value)) is not None:
            shown = "".join(char if char.isprintable() else "?" for char in name[:64])
            yield resources.FieldError(f"{path}.{shown}", said)
    try:
        size = len(_json(members).encode())
    except (TypeError, ValueError, RecursionError):
        yield resources.FieldError(path, "must be JSON, without numbers that are none and not nested too deep")
    else:
        if size > MAX_BYTES:
            yield resources.FieldError(path, f"Too long: may not be more than {MAX_BYTES} bytes as JSON")


def _problem(name: str, value: object) -> str | None:
    if _depth(value) > MAX_DEPTH:
        return f"must not be nested deeper than {MAX_DEPTH}"
    if name.startswith("/"):
        if parameters.is_pointer(name):
            return None
        return "must be a JSON Pointer that does not point at model or stream, which the gateway says itself"
    if name not in parameters.PARAMETERS:
        meant = get_close_matches(name[:64], parameters.PARAMETERS, n=1)
        hint = f"; did you mean {meant[0]}?" if meant else ""
        return f"unknown parameter{hint or ': what is not known by name is reached by a JSON Pointer, such as /name'}"
    if not parameters.fits(name, value):
        return f"must be {_WANTED[parameters.PARAMETERS[name]]}"
    return None


def _depth(value: object) -> int:
    depth, level = 0, [value]
    while level and depth <= MAX_DEPTH:
        depth += 1
        level = [
            inner
            for each in level
            if isinstance(each, dict | list)
            for inner in (each.values() if isinstance(each, dict) else each)
        ]
    return depth


def _json(members: Mapping[str, object]) -> str:
    """The same for the same members, whatever order they came in: the API server keeps none."""
    return json.dumps(members, ensure_ascii=False, allow_nan=False, separators=(",", ":"), sort_keys=True)


def dialect_problem(
    place: int, target: resources.Target, provider: str, speaks: tuple[Dialect, ...] | None
) -> resources.FieldError | None:
    """Whether a target is pinned to a dialect that its provider does not speak; ``speaks`` None: not known."""
    if target.dialect is None or speaks is None or resources.DIALECTS[target.dialect] in speaks:
        return None
    known = ", ".join(_SHOWN[each] for each in speaks)
    return resources.FieldError(
        f"spec.targets[{place}].dialect", f"provider {provider} does not speak {target.dialect}; it speaks {known}"
    )


def wire_parameters(given: resources.Parameters | None) -> pb.Parameters | None:
    """Parameters as they travel; None: there are none."""
    if given is None:
        return None
    body = pb.Parameters(
        defaults=_json(given.defaults) if given.defaults else "",
        overrides=_json(given.overrides) if given.overrides else "",
        drop=given.drop,
        rename=[pb.Rename(name=each.from_, to=each.to) for each in given.rename],
        clamp=[pb.Clamp(name=each.name, min=each.min or "", max=each.max or "") for each in given.clamp],
    )
    return body if body.ByteSize() else None


def wire_capabilities(given: resources.Capabilities | None, provider: str, model: str) -> pb.Capabilities | None:
    """What is said of a model, and else what the table of models knows; None: nothing."""
    facts = asdict(models.known(provider, model))
    if given is not None:
        facts.update(given.model_dump(exclude_none=True))
    known = {name: fact for name, fact in facts.items() if fact is not None}
    return pb.Capabilities(**known) if known else None
