"""What a target's ``parameters`` change in a request: pure.

Names are those of OpenAI's chat completions. Where a request goes through the exchange they are looked up there,
whatever dialects it comes and goes in; where its bytes are passed on, the dialect's own table says where they stand in
its body. What begins with ``/`` is a JSON Pointer (RFC 6901) into the body as the upstream gets it, either way.

The order is fixed: rename, defaults, overrides, clamp, drop.
"""

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Final

import msgspec

from trunkline_gateway import exchange, registry
from trunkline_gateway.dialect import Target
from trunkline_gateway.envelope import Request
from trunkline_gateway.errors import InvalidRequestError
from trunkline_gateway.routing.snapshot import Clamp, Parameters

_json: Final = msgspec.json.Decoder()
_members: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])
_encoder: Final = msgspec.json.Encoder()
_MISSING: Final = object()
_CAPITAL: Final = re.compile("[A-Z]")
_CHAT: Final = "openai_chat"
_LENGTHS: Final = ("/max_tokens", "/max_completion_tokens")
_NOTHING_SAID: Final = msgspec.Raw(b'[{"role":"user","content":""}]')
_NAMES: Final = frozenset(exchange.Parameters.__struct_fields__)
_PLAIN: Final = (bool, int, float, str, tuple, dict)
"""Values that chat completions, and with it whoever has a field of his own for them, have as they are."""
_NOWHERE: Final[Mapping[str, object]] = {}


def stand_in_body(parameters: Parameters, dialect: str, places: Mapping[str, str]) -> bool:
    """Whether bytes can be passed on: each name has a place in a body of ``dialect``, or there is no word for it."""
    if dialect == _CHAT:
        return True
    names = (*parameters.defaults, *parameters.overrides, *parameters.drop, *(each.name for each in parameters.clamp))
    return all(name.startswith("/") or name in places or not can_say(dialect, name) for name in names)


@lru_cache(maxsize=1024)
def can_say(dialect: str, name: str) -> bool:
    """Whether ``dialect`` has any way to say what chat completions call ``name``: found by trying."""
    side = registry.UPSTREAM.get((dialect, "chat"))
    raw = _SAMPLES.get(name)
    if side is None or raw is None:
        return True
    changed = neutral(_ASKED, Parameters(overrides={name: msgspec.Raw(raw)}))
    return name not in side.encode(changed, Target(model="m")).lost


_ASKED: Final = exchange.ChatRequest(
    model="m", turns=(exchange.Turn(role="user", parts=(exchange.Text(text="Hi"),)),), include_usage=True
)
_SAMPLES: Final[Mapping[str, bytes]] = {
    **dict.fromkeys(("seed", "n", "top_k", "top_logprobs"), b"2"),
    **dict.fromkeys(("min_p", "presence_penalty", "frequency_penalty", "repetition_penalty"), b"0.5"),
    **dict.fromkeys(("user", "safety_identifier", "prompt_cache_key"), b'"u"'),
    "stop": b'["s"]',
    "logit_bias": b'{"1":1}',
    "logprobs": b"true",
    "verbosity": b'"low"',
    "prompt_cache_retention": b'"24h"',
    "store": b"true",
    "metadata": b'{"a":"b"}',
    "prediction": b'{"type":"content","content":"p"}',
}
"""Of parameters that some dialect has no word for. The others are taken to be sayable: then all is written anew."""


def passed_on(request: Request, parameters: Parameters, places: Mapping[str, str]) -> Request:
    """A request whose bytes are passed on: only the members that change are written anew."""
    body = _Body(request.fields)
    _change(body, parameters, _chat_places(request.fields, places) if request.dialect == _CHAT else places)
    return body.rewritten(request)


def neutral(request: exchange.Request, parameters: Parameters) -> exchange.Request:
    """A request in the exchange, with what is named changed. Pointers have to wait for `pointed`."""
    if not isinstance(request, exchange.ChatRequest):
        return request
    changed: dict[str, object] = {}
    said = request.parameters
    for name, value in parameters.defaults.items():
        if name in _NAMES and getattr(said, name) is None:
            changed[name] = _value(name, bytes(value))
    for name, value in parameters.overrides.items():
        if name in _NAMES:
            changed[name] = _value(name, bytes(value))
    for clamp in parameters.clamp:
        if clamp.name in _NAMES:
            number = changed.get(clamp.name, getattr(said, clamp.name))
            if isinstance(number, int | float) and not isinstance(number, bool):
                changed[clamp.name] = _clamped(number, clamp)
    changed |= {name: None for name in parameters.drop if name in _NAMES}
    if not changed:
        return request
    return msgspec.structs.replace(request, parameters=msgspec.structs.replace(said, **changed))


def added(before: exchange.Request, after: exchange.Request) -> frozenset[str]:
    """Names of what a target asks for and the client did not: no word of the client's is lost with them."""
    if not (isinstance(before, exchange.ChatRequest) and isinstance(after, exchange.ChatRequest)):
        return frozenset()
    said, now = before.parameters, after.parameters
    return frozenset(name for name in _NAMES if getattr(said, name) is None and getattr(now, name) is not None)


def moved(request: exchange.Request, parameters: Parameters, places: Mapping[str, str]) -> Mapping[str, object]:
    """Names that a client used and the dialect has no place for, but the target has: by a rename to a pointer."""
    if not parameters.rename or not isinstance(request, exchange.ChatRequest):
        return {}
    names = [old for old, new in parameters.rename if new.startswith("/") and old in _NAMES and old not in places]
    said = {name: getattr(request.parameters, name) for name in names}
    return {name: value for name, value in said.items() if isinstance(value, _PLAIN)}


def pointed(
    body: bytes, parameters: Parameters, places: Mapping[str, str], elsewhere: Mapping[str, object] = _NOWHERE
) -> bytes:
    """A body that was written for an upstream, with what pointers, and renames, change.

    Args:
        body: As the dialect wrote it.
        parameters: Of the target.
        places: Where the dialect has its parameters.
        elsewhere: What `moved` found.
    """
    named = (*parameters.defaults, *parameters.overrides, *parameters.drop, *(each.name for each in parameters.clamp))
    if not parameters.rename and not any(name.startswith("/") for name in named):
        return body
    tree = _Body(_members.decode(body))
    for old, new in parameters.rename:
        if old in elsewhere:
            tree.set(new, elsewhere[old])
    only = Parameters(
        defaults={name: value for name, value in parameters.defaults.items() if name.startswith("/")},
        overrides={name: value for name, value in parameters.overrides.items() if name.startswith("/")},
        drop=tuple(name for name in parameters.drop if name.startswith("/")),
        rename=parameters.rename,
        clamp=tuple(each for each in parameters.clamp if each.name.startswith("/")),
    )
    _change(tree, only, places)
    return tree.encode()


def _change(body: "_Body", parameters: Parameters, places: Mapping[str, str]) -> None:
    for old, new in parameters.rename:
        source, target = _place(old, places, body), _place(new, places, body)
        if source is not None and target is not None and (value := body.get(source)) is not _MISSING:
            body.remove(source)
            body.set(target, value)
    for name, raw in parameters.defaults.items():
        place = _place(name, places, body)
        if place is not None and body.get(place) in (_MISSING, None):
            body.set(place, _json.decode(raw))
    for name, raw in parameters.overrides.items():
        if (place := _place(name, places, body)) is not None:
            body.set(place, _json.decode(raw))
    for clamp in parameters.clamp:
        place = _place(clamp.name, places, body)
        number = _MISSING if place is None else body.get(place)
        if place is not None and isinstance(number, int | float) and not isinstance(number, bool):
            clamped = _clamped(number, clamp)
            if clamped != number:
                body.set(place, clamped)
    for name in parameters.drop:
        if (place := _place(name, places, body)) is not None:
            body.remove(place)


def _place(name: str, places: Mapping[str, str], body: "_Body") -> str | None:
    if name.startswith("/"):
        return name
    place = places.get(name)
    return None if place is None else body.as_written(place)


def _chat_places(fields: Mapping[str, object], places: Mapping[str, str]) -> Mapping[str, str]:
    """Every name stands at the top; the length of the answer has two names, of which a client uses one."""
    given = next((place for place in _LENGTHS if place[1:] in fields), None)
    own = {name: f"/{name}" for name in _NAMES} | dict(places)
    return own if given is None else {**own, "max_tokens": given}


def _clamped(number: float, clamp: Clamp) -> float:
    if clamp.min is not None and number < clamp.min:
        return clamp.min
    if clamp.max is not None and number > clamp.max:
        return clamp.max
    return number


@lru_cache(maxsize=1024)
def _value(name: str, raw: bytes) -> object:
    """A value as chat completions say it, in the neutral form; None where it is none. Fixed by the table."""
    fields = {"model": msgspec.Raw(b'"m"'), "messages": _NOTHING_SAID, name: msgspec.Raw(raw)}
    try:
        request = registry.INGRESS[_CHAT, "chat"].decode(fields, "m", False, b"")
    except InvalidRequestError:
        return None
    return getattr(request.parameters, name) if isinstance(request, exchange.ChatRequest) else None


class _Body:
    """A JSON object of which only the members that are touched are decoded, and written anew."""

    def __init__(self, fields: Mapping[str, msgspec.Raw]) -> None:
        self._fields = fields
        self._trees: dict[str, object] = {}
        self._changed: set[str] = set()

    def get(self, pointer: str) -> object:
        """What stands there, or `_MISSING`."""
        name, *rest = _tokens(pointer)
        value = self._tree(name)
        for token in rest:
            value = _child(value, token)
        return value

    def as_written(self, pointer: str) -> str:
        """The same place in the client's spelling: proto JSON is read in ``snake_case``, too."""
        if pointer == pointer.lower():
            return pointer
        written: list[str] = []
        node: object = _MISSING
        for token in _tokens(pointer):
            other = _CAPITAL.sub(r"_\g<0>", token).lower()
            here, there = (_child(node, each) if written else self._tree(each) for each in (token, other))
            written.append(other if here is _MISSING and there is not _MISSING else token)
            node = there if here is _MISSING else here
        return "/" + "/".join(written)

    def set(self, pointer: str, value: object) -> None:
        """Put ``value`` there; objects on the way are made. Nothing happens where something else is in the way."""
        name, *rest = _tokens(pointer)
        if not rest:
            self._put(name, value)
            return
        root = self._tree(name)
        if root is _MISSING or root is None:
            root = {}
        node = root
        for token in rest[:-1]:
            below = _child(node, token)
            if (below is _MISSING or below is None) and isinstance(node, dict):
                below = node[token] = {}
            node = below
        if isinstance(node, dict):
            node[rest[-1]] = value
        elif isinstance(node, list) and (index := _index(rest[-1], len(node))) is not None:
            node[index : index + 1] = [value]
        else:
            return
        self._put(name, root)

    def remove(self, pointer: str) -> None:
        """Take out what stands there."""
        name, *rest = _tokens(pointer)
        root = self._tree(name)
        if root is _MISSING:
            return
        if not rest:
            self._put(name, _MISSING)
            return
        node = root
        for token in rest[:-1]:
            node = _child(node, token)
        if isinstance(node, dict) and rest[-1] in node:
            del node[rest[-1]]
        elif isinstance(node, list) and (index := _index(rest[-1], len(node))) is not None and index < len(node):
            del node[index]
        else:
            return
        self._put(name, root)

    def rewritten(self, request: Request) -> Request:
        """The request with this body."""
        if not self._changed:
            return request
        body = self.encode()
        return msgspec.structs.replace(request, body=body, fields=_members.decode(body), spaces=None)

    def encode(self) -> bytes:
        """Write it; members that were not touched keep their bytes."""
        members = {name: bytes(value) for name, value in self._fields.items()}
        for name in sorted(self._changed):
            tree = self._trees[name]
            if tree is _MISSING:
                members.pop(name, None)
            else:
                members[name] = _encoder.encode(tree)
        return b"{" + b",".join([_encoder.encode(name) + b":" + value for name, value in members.items()]) + b"}"

    def _tree(self, name: str) -> object:
        if name not in self._trees:
            raw = self._fields.get(name)
            try:
                self._trees[name] = _MISSING if raw is None else _json.decode(raw)
            except (msgspec.DecodeError, UnicodeDecodeError) as error:
                message = f"The field '{name}' is not valid JSON: {error}."
                raise InvalidRequestError(message, param=name) from None
        return self._trees[name]

    def _put(self, name: str, value: object) -> None:
        self._trees[name] = value
        self._changed.add(name)


def _tokens(pointer: str) -> list[str]:
    return [token.replace("~1", "/").replace("~0", "~") for token in pointer[1:].split("/")]


def _child(node: object, token: str) -> object:
    if isinstance(node, dict):
        return node.get(token, _MISSING)
    if isinstance(node, list) and (index := _index(token, len(node))) is not None and index < len(node):
        return node[index]
    return _MISSING


def _index(token: str, length: int) -> int | None:
    """A place in an array; its length is the one behind its end."""
    if token == "-":  # noqa: S105  # of a JSON Pointer
        return length
    if not token.isascii() or not token.isdigit() or len(token) > 6:
        return None
    index = int(token)
    return index if index <= length else None
