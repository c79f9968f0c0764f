"""What requests of Gemini say."""

import re
from collections.abc import Mapping

from corpus.loose import as_dict, as_dicts, as_str
from corpus.reading import canonical
from corpus.sheets import Part, Sheet, Turns, kind_of, named_media, put, schema_of, tight, tool_of


def say_gemini_generate(body: Mapping[str, object]) -> Sheet:
    """https://ai.google.dev/api/generate-content."""
    body = {_camel(key): value for key, value in body.items()}
    turns = Turns()
    system = body.get("systemInstruction")
    for part in as_dicts(as_dict(system).get("parts")):
        turns.say_system(as_str(part.get("text")))
    if isinstance(system, str):
        turns.say_system(system)
    for content in as_dicts(body.get("contents")):
        role = "assistant" if content.get("role") == "model" else "user"
        turns.add(role, _gemini_parts(content.get("parts"), turns))
    sheet = turns.sheet()
    config = {_camel(key): value for key, value in as_dict(body.get("generationConfig")).items()}
    put(sheet, config, {
        "temperature": "temperature", "topP": "top_p", "topK": "top_k", "maxOutputTokens": "max_tokens",
        "seed": "seed", "presencePenalty": "presence_penalty", "frequencyPenalty": "frequency_penalty",
        "candidateCount": "n", "responseLogprobs": "logprobs", "logprobs": "top_logprobs",
    })  # fmt: skip
    if config.get("stopSequences"):
        sheet["stop"] = config["stopSequences"]
    if tier := body.get("serviceTier"):
        sheet["service_tier"] = as_str(tier).lower().removeprefix("service_tier_").replace("standard", "default")
    tools: dict[str, object] = {}
    for tool in as_dicts(body.get("tools")):
        for each in as_dicts(tool.get("functionDeclarations") or tool.get("function_declarations")):
            schema = each.get("parametersJsonSchema") or each.get("parameters_json_schema") or each.get("parameters")
            tools[as_str(each.get("name"))] = tool_of(each.get("description"), schema)
    sheet["tools"] = tools
    calling = _camels(_camels(body.get("toolConfig")).get("functionCallingConfig"))
    if calling.get("mode"):
        names = calling.get("allowedFunctionNames")
        mode = {"AUTO": "auto", "ANY": "required", "NONE": "none"}.get(as_str(calling["mode"]).upper(), calling["mode"])
        one = isinstance(names, list) and len(names) == 1
        if mode == "VALIDATED" and names:
            mode = "auto"  # the mode in which names can be given to it
        sheet["tool_choice"] = names[0] if mode == "required" and one else mode
        if isinstance(names, list) and not one:
            sheet["allowed"] = sorted(names)
    _say_form(config, sheet)
    return sheet


def _say_form(config: Mapping[str, object], sheet: Sheet) -> None:
    """How the answer is to look, and how much is to be thought."""
    schema = config.get("responseJsonSchema") or config.get("responseSchema")
    if schema is not None:
        sheet["response_format"] = canonical(schema_of(schema))
    elif config.get("responseMimeType") == "application/json":
        sheet["response_format"] = "json"
    thinking = {_camel(key): value for key, value in as_dict(config.get("thinkingConfig")).items()}
    if "thinkingBudget" in thinking or "thinkingLevel" in thinking or thinking.get("includeThoughts"):
        sheet["thinking"] = "off" if thinking.get("thinkingBudget") == 0 else "on"


def _camel(key: str) -> str:
    return re.sub(r"_([a-z])", lambda match: match[1].upper(), key)


def _camels(value: object) -> Mapping[str, object]:
    return {_camel(key): each for key, each in as_dict(value).items()}


def _gemini_parts(content: object, turns: Turns) -> list[Part]:
    parts: list[Part] = []
    for raw in as_dicts(content):
        each = {_camel(key): value for key, value in raw.items()}
        if "functionCall" in each:
            call = as_dict(each["functionCall"])
            parts.append(turns.call(call.get("id"), as_str(call.get("name")), call.get("args")))
        elif "functionResponse" in each:
            result = as_dict(each["functionResponse"])
            parts.append(turns.result(result.get("id"), as_str(result.get("name")), canonical(result.get("response"))))
            parts += _gemini_parts(result.get("parts"), turns)
        elif "inlineData" in each or "fileData" in each:
            data = {
                _camel(key): value for key, value in as_dict(each.get("inlineData") or each.get("fileData")).items()
            }
            kind, media = kind_of(as_str(data.get("mimeType")))
            parts.append((kind, *named_media(str(media), as_str(data.get("data")) or as_str(data.get("fileUri")))))
        elif "text" in each:
            parts.append(("reasoning" if each.get("thought") else "text", tight(as_str(each["text"]))))
        elif set(each) - {"thoughtSignature"}:
            parts.append(("other", sorted(each)[0]))
    return parts
