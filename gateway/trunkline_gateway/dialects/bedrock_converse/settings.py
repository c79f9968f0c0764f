"""What a request asks for beside its turns and tools.

https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_InferenceConfiguration.html
"""

import re
from collections.abc import Mapping, Sequence
from typing import Final

from trunkline_gateway.dialects.bedrock_converse import names, reading
from trunkline_gateway.dialects.bedrock_converse.thinking import Thinking
from trunkline_gateway.dialects.bedrock_converse.writing import Block, Writing
from trunkline_gateway.exchange import JsonSchema, Parameters, ResponseFormat

STOP_SEQUENCE: Final = "/stop_sequence"
"""Where Claude says which stop sequence it came to, as a pointer into its own answer."""

_JSON_ONLY: Final = "Answer with one JSON object and nothing else: no explanation, no Markdown."

_MAX_METADATA: Final = 16
_METADATA_KEY: Final = re.compile(r"[a-zA-Z0-9\s:_@$#=/+,.-]{1,256}")
_METADATA_VALUE: Final = re.compile(r"[a-zA-Z0-9\s:_@$#=/+,.-]{0,256}")
_LEAST_TOP_P_OF_THOUGHT: Final = 0.95

# OpenAI's, Anthropic's and Bedrock's own words for a tier; empty: as if nothing were said.
_TIERS: Final[Mapping[str, str]] = {
    "auto": "",
    "default": "default",
    "standard": "default",
    "standard_only": "default",
    "flex": "flex",
    "priority": "priority",
    "reserved": "reserved",
}

# Parameters that Converse has no word for, and those of their values that ask for nothing.
UNSAYABLE: Final[Mapping[str, tuple[object, ...]]] = {
    "min_p": (0,),
    "seed": (),
    "presence_penalty": (0,),
    "frequency_penalty": (0,),
    "repetition_penalty": (1,),
    "logit_bias": ({},),
    "logprobs": (False,),
    "top_logprobs": (0,),
    "n": (1,),
    "verbosity": (),
    "parallel_tool_calls": (True,),
    "user": (),
    "safety_identifier": (),
    "safety_settings": (),
    "prompt_cache_key": (),
    "prompt_cache_retention": (),
    "store": (False,),
    "modalities": (("text",), ()),
    "audio": (),
    "prediction": (),
}


def of(parameters: Parameters, thought: Thinking, writing: Writing) -> Mapping[str, object]:
    """Members of the request."""
    said: dict[str, object] = {}
    inference = _inference(parameters, thought, writing)
    if inference:
        said["inferenceConfig"] = inference
    output = _output(parameters, thought, writing)
    if output:
        said["outputConfig"] = output
    if "stopSequences" in inference and writing.model.tells_stop_sequence:
        said["additionalModelResponseFieldPaths"] = [STOP_SEQUENCE]
    tier = _tier(parameters.service_tier, writing)
    if tier:
        said["serviceTier"] = {"type": tier}
    metadata = _metadata(parameters.metadata, writing)
    if metadata:
        said["requestMetadata"] = metadata
    for name, nothing in UNSAYABLE.items():
        value = getattr(parameters, name)
        if value is not None and value not in nothing:
            writing.lose(name)
    return said


def instruction(parameters: Parameters, writing: Writing) -> Sequence[Block]:
    """The form of the answer in words, for the system to say, where Converse has no member for it."""
    format = parameters.response_format
    if format is None or _schema(format, writing) is not None:
        return ()
    writing.lose("response_format")
    sentence = _JSON_ONLY
    if isinstance(format, JsonSchema) and format.schema is not None:
        sentence += " It must fit this JSON Schema:\n" + reading.written(format.schema)
    return ({"text": sentence},)


def top_k(parameters: Parameters, thought: Thinking, writing: Writing) -> Mapping[str, object]:
    """Members of ``additionalModelRequestFields``."""
    if parameters.top_k is None:
        return {}
    if not writing.model.top_k or thought.exclusive:
        writing.lose("top_k")
        return {}
    said: object = parameters.top_k
    for name in reversed(writing.model.top_k):
        said = {name: said}
    return said if isinstance(said, dict) else {}


def _inference(parameters: Parameters, thought: Thinking, writing: Writing) -> Mapping[str, object]:
    said: dict[str, object] = {}
    if parameters.max_tokens is not None:
        said["maxTokens"] = parameters.max_tokens
    temperature = _temperature(parameters.temperature, thought, writing)
    if temperature is not None:
        said["temperature"] = temperature
    if parameters.top_p is not None:
        fits = writing.model.samples and (writing.model.samples_both or temperature is None)
        if fits and not (thought.exclusive and parameters.top_p < _LEAST_TOP_P_OF_THOUGHT):
            said["topP"] = parameters.top_p
        else:
            writing.lose("top_p")
    if parameters.stop:
        stop = [each for each in parameters.stop if each.strip() or (each and writing.model.maker != "anthropic")]
        if len(stop) < len(parameters.stop):
            writing.lose("stop")  # Claude refuses white space
        if stop:
            said["stopSequences"] = stop
    return said


def _temperature(asked: float | None, thought: Thinking, writing: Writing) -> float | None:
    if asked is None or (thought.exclusive and asked == 1):
        return None
    if not writing.model.samples or thought.exclusive:
        if asked != 1:
            writing.lose("temperature")
        return None
    if asked > 1:  # OpenAI's go to 2
        writing.lose("temperature")
        return 1
    return asked


def _output(parameters: Parameters, thought: Thinking, writing: Writing) -> Mapping[str, object]:
    said: dict[str, object] = {}
    if thought.effort:
        said["effort"] = thought.effort
    schema = _schema(parameters.response_format, writing)
    if schema is not None:
        said["textFormat"] = {"type": "json_schema", "structure": {"jsonSchema": schema}}
    return said


def _schema(format: ResponseFormat | None, writing: Writing) -> Mapping[str, object] | None:
    """The form of the answer, where the model can be held to it."""
    able = writing.target.capabilities.json_schema
    if able is None:
        able = writing.model.strict
    if not isinstance(format, JsonSchema) or format.schema is None or not able:
        return None
    schema: dict[str, object] = {"schema": reading.written(format.schema), "name": names.fitting(format.name)}
    if format.description:
        schema["description"] = format.description
    return schema


def _tier(asked: str | None, writing: Writing) -> str:
    if asked is None:
        return ""
    tier = _TIERS.get(asked)
    if tier is None:
        writing.lose("service_tier")
    return tier or ""


def _metadata(asked: Mapping[str, str] | None, writing: Writing) -> Mapping[str, str]:
    if not asked:
        return {}
    fitting = {
        key: value for key, value in asked.items() if _METADATA_KEY.fullmatch(key) and _METADATA_VALUE.fullmatch(value)
    }
    kept = dict(list(fitting.items())[:_MAX_METADATA])
    if len(kept) < len(asked):
        writing.lose("metadata")
    return kept
