"""A request for the API, to be answered or only to be counted.

https://docs.anthropic.com/en/api/messages, https://docs.anthropic.com/en/api/messages-count-tokens
"""

from collections.abc import Iterable, Sequence
from operator import attrgetter
from typing import Final

import msgspec

from trunkline_gateway.dialect import Encoded, Target, require_something
from trunkline_gateway.dialects.anthropic_messages import models, names, schema, thinking
from trunkline_gateway.dialects.anthropic_messages.encode_content import Block, Blocks, Lost
from trunkline_gateway.dialects.anthropic_messages.encode_tools import MAX_CACHE_MARKS, Tools
from trunkline_gateway.errors import InvalidRequestError
from trunkline_gateway.exchange import ChatRequest, JsonSchema, Parameters, ReasoningEffort, Request, Turn, effort

DEFAULT_MAX_TOKENS: Final = 4096
"""Where neither the request nor the target's capabilities say how long an answer may be."""

MAX_USER_CHARACTERS: Final = 512

_encoder: Final = msgspec.json.Encoder()

_JSON_ONLY: Final = "Answer with one JSON object and nothing else: no explanation, no Markdown."
_OPENING: Final = "."
"""What a user is made to say where the conversation begins with the assistant, which the API does not take."""
_GO_ON: Final = "Continue."

_TIERS: Final = {"auto": "auto", "default": "standard_only", "standard": "standard_only"}

# Parameters that the API has no word for, and what they may be without anything being lost.
_UNKNOWN: Final[tuple[tuple[str, tuple[object, ...]], ...]] = (
    ("min_p", (0,)),
    ("seed", ()),
    ("presence_penalty", (0,)),
    ("frequency_penalty", (0,)),
    ("repetition_penalty", (1,)),
    ("logit_bias", ({},)),
    ("logprobs", (False,)),
    ("top_logprobs", (0,)),
    ("n", (1,)),
    ("verbosity", ("medium",)),
    ("metadata", ({},)),
    ("safety_settings", ()),
    ("prompt_cache_key", ()),
    ("prompt_cache_retention", ()),
    ("store", (False,)),
    ("modalities", (("text",), ())),
    ("audio", ()),
    ("prediction", ()),
)


_unknown_of: Final = attrgetter(*(name for name, _ in _UNKNOWN))
_NONE_UNKNOWN: Final = (None,) * len(_UNKNOWN)


def encode(request: Request, target: Target) -> Encoded:
    """A request for an answer.

    ``max_tokens`` is required there: that of the request, else all that the target's model can, else
    `DEFAULT_MAX_TOKENS`. With thinking it may be raised, and ``lost`` says so.
    """
    return _Writer(target, counts=False).write(_chat(request))


def encode_count(request: Request, target: Target) -> Encoded:
    """The same for its count, which has no place for what does not count."""
    return _Writer(target, counts=True).write(_chat(request))


def _chat(request: Request) -> ChatRequest:
    if not isinstance(request, ChatRequest):
        raise InvalidRequestError("The Messages API answers only to conversations.")
    return request


class _Writer:
    def __init__(self, target: Target, *, counts: bool) -> None:
        self._target = target
        self._counts = counts
        self._lost: Lost = {}

    def write(self, request: ChatRequest) -> Encoded:
        target, asked, lost = self._target, request.parameters, self._lost
        tool_names = names.ToolNames(request)
        system, messages = self._conversation(request.turns, Blocks(tool_names, target, lost))
        most = asked.max_tokens
        if most is None:
            most = target.capabilities.max_output_tokens or DEFAULT_MAX_TOKENS
        how = self._thinking(asked.reasoning_effort, most, messages)
        tools = Tools(tool_names, target, lost)
        tools.write(request.tools, asked, thinks=how.on)
        config = self._output_config(asked, how, system)
        if models.takes_no_prefill(target) and _is_prefilled(messages):
            lost["assistant_prefill"] = None
            messages.append({"role": "user", "content": [{"type": "text", "text": _GO_ON}]})
        self._limit_cache_marks([*tools.tools, *system, *_blocks(messages)])

        body: Block = {"model": target.model}
        if not self._counts:
            body["max_tokens"] = how.max_tokens
        if system:
            body["system"] = system
        body["messages"] = messages
        if tools.tools:
            body["tools"] = tools.tools
        if tools.mcp_servers:
            body["mcp_servers"] = tools.mcp_servers
        if tools.choice is not None:
            body["tool_choice"] = tools.choice
        if how.thinking is not None:
            body["thinking"] = how.thinking
        if config:
            body["output_config"] = config
        if not self._counts:
            self._settings(body, request, how)
        return Encoded(_encoder.encode(body), tuple(lost))

    # ---- turns ---------------------------------------------------------------------------------------------------

    def _conversation(self, turns: Sequence[Turn], blocks: Blocks) -> tuple[list[Block], list[Block]]:
        """What the system says, and the messages: neighbours of one role are one, none is empty."""
        system: list[Block] = []
        messages: list[Block] = []
        began = False
        for turn in turns:
            if turn.name is not None:
                self._lost["message_name"] = None
            if turn.role in ("system", "developer"):
                said = blocks.of_system(turn)
                if said and self._stays(messages):
                    _add(messages, "system", said)
                    continue
                if began and said:
                    self._lost["system_position"] = None
                system += said
            else:
                began = True
                _add(messages, turn.role, blocks.of_turn(turn))
        if not messages:
            require_something(turns, self._lost, instructed=bool(system))
        for message in messages:
            # Results of tools come first, also those of a second turn of the user's.
            _content(message).sort(key=lambda block: block.get("type") != "tool_result")
        if not messages or messages[0]["role"] != "user":
            messages.insert(0, {"role": "user", "content": [{"type": "text", "text": _OPENING}]})
        _trim_prefill(messages)
        return system, messages

    def _stays(self, messages: Sequence[Block]) -> bool:
        """Whether the system may speak now: after the user, and only to some models."""
        return bool(messages) and messages[-1]["role"] != "assistant" and models.takes_system_turns(self._target)

    def _limit_cache_marks(self, blocks: Sequence[Block]) -> None:
        """The API takes four: the first is kept, for what never changes, and the last, for what came last."""
        marked = [block for block in blocks if "cache_control" in block]
        for block in marked[1 : len(marked) - MAX_CACHE_MARKS + 1]:
            del block["cache_control"]
            self._lost["cache_control"] = None

    # ---- parameters ----------------------------------------------------------------------------------------------

    def _thinking(self, asked: ReasoningEffort | None, max_tokens: int, messages: Sequence[Block]) -> thinking.Said:
        if (
            asked is not None
            and not effort.is_off(asked)
            and not thinking.is_adaptive(asked, self._target)
            and not _may_think(messages)
        ):
            self._lost["reasoning_effort"] = None
            asked = None
        return thinking.write(asked, self._target, max_tokens, self._lost, counts=self._counts)

    def _output_config(self, asked: Parameters, how: thinking.Said, system: list[Block]) -> Block:
        config: Block = {}
        if how.effort is not None:
            config["effort"] = how.effort
        wanted = asked.response_format
        if wanted is None:
            return config
        said = schema.of_answer(wanted.schema) if isinstance(wanted, JsonSchema) and wanted.schema else None
        if said is not None and models.takes_schema(self._target):
            config["format"] = {"type": "json_schema", "schema": said[0]}
            if said[1]:
                self._lost["response_format.strict"] = None
            return config
        self._lost["response_format"] = None
        sentence = _JSON_ONLY
        if isinstance(wanted, JsonSchema) and wanted.schema:
            sentence += " It must fit this JSON Schema:\n" + bytes(wanted.schema).decode("utf-8", "replace")
        system.append({"type": "text", "text": sentence})
        return config

    def _settings(self, body: Block, request: ChatRequest, how: thinking.Said) -> None:
        asked = request.parameters
        self._sampling(body, asked, how)
        if asked.stop:
            stop = [each for each in asked.stop if each and not each.isspace()]
            if stop:
                body["stop_sequences"] = stop
            if len(stop) < len(asked.stop):
                self._lost["stop"] = None
        user = asked.user if asked.user is not None else asked.safety_identifier
        if user is not None:
            if len(user) <= MAX_USER_CHARACTERS:
                body["metadata"] = {"user_id": user}
            else:
                self._lost["user"] = None
        if asked.safety_identifier is not None and asked.safety_identifier != user:
            self._lost["safety_identifier"] = None
        if asked.service_tier is not None:
            tier = _TIERS.get(asked.service_tier)
            if tier is None:
                self._lost["service_tier"] = None
            else:
                body["service_tier"] = tier
        if request.stream:
            body["stream"] = True
        unknown = _unknown_of(asked)
        if unknown != _NONE_UNKNOWN:
            self._note_unknown(unknown)

    def _note_unknown(self, values: tuple[object, ...]) -> None:
        for (name, harmless), value in zip(_UNKNOWN, values, strict=True):
            if value is not None and value not in harmless:
                self._lost[name] = None

    def _sampling(self, body: Block, asked: Parameters, how: thinking.Said) -> None:
        """https://docs.anthropic.com/en/docs/build-with-claude/extended-thinking#feature-compatibility ."""
        temperature, top_p, top_k = asked.temperature, asked.top_p, asked.top_k
        if temperature is not None and not 0 <= temperature <= 1:
            temperature = min(max(temperature, 0), 1)
            self._lost["temperature"] = None
        none = models.takes_no_sampling(self._target)
        if temperature is not None and temperature != 1 and (none or how.on):
            self._lost["temperature"] = None
            temperature = None
        if top_p is not None and top_p != 1 and (none or (how.on and top_p < 0.95)):
            self._lost["top_p"] = None
            top_p = None
        if top_k is not None and (none or how.on):
            self._lost["top_k"] = None
            top_k = None
        both = temperature is not None and top_p is not None
        if both and models.takes_one_of_temperature_and_top_p(self._target):
            if top_p != 1:
                self._lost["top_p"] = None
            top_p = None
        for name, value in (("temperature", temperature), ("top_p", top_p), ("top_k", top_k)):
            if value is not None:
                body[name] = value


def _add(messages: list[Block], role: str, blocks: list[Block]) -> None:
    if not blocks:
        return
    if messages and messages[-1]["role"] == role:
        before = _content(messages[-1])
        before += blocks
    else:
        messages.append({"role": role, "content": blocks})


def _content(message: Block) -> list[Block]:
    content = message.get("content")
    return content if isinstance(content, list) else []


def _blocks(messages: Iterable[Block]) -> Iterable[Block]:
    for message in messages:
        for block in _content(message):
            if block.get("type") == "tool_result":
                yield from _content(block)  # what a result holds may be marked, too
            yield block


def _trim_prefill(messages: list[Block]) -> None:
    """An assistant's last message must not end in spaces."""
    if _is_prefilled(messages):
        block = _content(messages[-1])[-1]
        text = block["text"]
        if isinstance(text, str):
            block["text"] = text.rstrip()


def _is_prefilled(messages: Sequence[Block]) -> bool:
    """Whether the assistant is to go on with its own text; a turn of hosted tools that was paused is none."""
    return messages[-1]["role"] == "assistant" and _content(messages[-1])[-1].get("type") == "text"


def _may_think(messages: Sequence[Block]) -> bool:
    """Whether the API lets a budget be given: not for the rest of a turn that began without thinking.

    Expected `thinking` or `redacted_thinking`, but found `tool_use`. When `thinking` is enabled, a final `assistant`
    message must start with a thinking block.
    """
    last = messages[-1]
    if last["role"] == "user":
        if len(messages) < 2 or _content(last)[0].get("type") != "tool_result":
            return True
        last = messages[-2]
    if last["role"] != "assistant":
        return True
    return _content(last)[0].get("type") in ("thinking", "redacted_thinking")
