"""What requests of Anthropic and of Bedrock say, whose turns are lists of blocks."""

from collections.abc import Mapping
from typing import Final

from corpus.loose import as_dict, as_dicts, as_str
from corpus.reading import canonical
from corpus.sheets import Part, Sheet, Turns, encoded, named_media, put, schema_in_text, schema_of, tight, tool_of


def say_anthropic_messages(body: Mapping[str, object]) -> Sheet:
    """https://docs.anthropic.com/en/api/messages."""
    turns = Turns()
    system = body.get("system")
    for text in [system] if isinstance(system, str) else [as_str(each.get("text")) for each in as_dicts(system)]:
        turns.say_system(text)
    for message in as_dicts(body.get("messages")):
        parts = _anthropic_parts(message.get("content"), turns)
        if message.get("role") == "system":
            turns.say_system("".join(str(part[1]) for part in parts if part[0] == "text"))
        else:
            turns.add(as_str(message.get("role")), parts)
    sheet = turns.sheet()
    put(sheet, body, {name: name for name in ("temperature", "top_p", "top_k", "max_tokens", "service_tier")})
    if body.get("stop_sequences"):
        sheet["stop"] = body["stop_sequences"]
    sheet["tools"] = {
        as_str(each.get("name")): tool_of(each.get("description"), each.get("input_schema"))
        for each in as_dicts(body.get("tools"))
        if each.get("type", "custom") == "custom"
    }
    choice = as_dict(body.get("tool_choice"))
    if choice:
        kind = choice.get("type")
        sheet["tool_choice"] = {"any": "required", "tool": choice.get("name")}.get(as_str(kind), kind)
        if "disable_parallel_tool_use" in choice:
            sheet["parallel_tool_calls"] = not choice["disable_parallel_tool_use"]
    if user := as_dict(body.get("metadata")).get("user_id"):
        sheet["user"] = user
    form = as_dict(body.get("output_format")) or as_dict(as_dict(body.get("output_config")).get("format"))
    if form:
        sheet["response_format"] = canonical(schema_of(form.get("schema")))
    thinking = as_dict(body.get("thinking"))
    if thinking or as_dict(body.get("output_config")).get("effort"):
        sheet["thinking"] = "off" if thinking.get("type") == "disabled" else "on"
    return sheet


def _anthropic_parts(content: object, turns: Turns) -> list[Part]:
    if isinstance(content, str):
        return [("text", tight(content))]
    parts: list[Part] = []
    for each in as_dicts(content):
        match each.get("type"):
            case "text":
                parts.append(("text", tight(as_str(each.get("text")))))
            case "thinking":
                parts.append(("reasoning", tight(as_str(each.get("thinking")))))
            case "redacted_thinking":
                pass
            case "image" | "document" as kind:
                parts.append(("image" if kind == "image" else "file", *_anthropic_source(as_dict(each.get("source")))))
            case "tool_use":
                parts.append(turns.call(each.get("id"), as_str(each.get("name")), each.get("input")))
            case "tool_result":
                inner = _anthropic_parts(each.get("content"), turns)
                text = "".join(str(part[1]) for part in inner if part[0] == "text")
                parts.append(turns.result(each.get("tool_use_id"), "", text))
                parts += [part for part in inner if part[0] != "text"]
            case other:
                parts.append(("other", other))
    return parts


def _anthropic_source(source: Mapping[str, object]) -> Part:
    match source.get("type"):
        case "base64":
            return as_str(source.get("media_type")), as_str(source.get("data"))
        case "url":
            return "", as_str(source.get("url"))
        case "file":
            return "", as_str(source.get("file_id"))
        case "text":
            return "text/plain", encoded(as_str(source.get("data")))
        case "content":
            return "text/plain", encoded(
                "\n\n".join(as_str(each.get("text")) for each in as_dicts(source.get("content")))
            )
        case _:
            return "", canonical(source)


def say_bedrock_converse(body: Mapping[str, object]) -> Sheet:
    """https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_Converse.html."""
    turns = Turns()
    for each in as_dicts(body.get("system")):
        turns.say_system(as_str(each.get("text")))
    for message in as_dicts(body.get("messages")):
        turns.add(as_str(message.get("role")), _converse_parts(message.get("content"), turns))
    sheet = turns.sheet()
    config = as_dict(body.get("inferenceConfig"))
    put(sheet, config, {"temperature": "temperature", "topP": "top_p", "maxTokens": "max_tokens"})
    if config.get("stopSequences"):
        sheet["stop"] = config["stopSequences"]
    more = as_dict(body.get("additionalModelRequestFields"))
    put(sheet, more, {"top_k": "top_k"})
    if (
        more.get("thinking")
        or more.get("reasoning_config")
        or more.get("reasoning_effort")
        or as_dict(more.get("output_config")).get("effort")
    ):
        thinking = as_dict(more.get("thinking") or more.get("reasoning_config"))
        sheet["thinking"] = "off" if thinking.get("type") == "disabled" else "on"
    tools = as_dict(body.get("toolConfig"))
    sheet["tools"] = {
        as_str(spec.get("name")): tool_of(spec.get("description"), as_dict(spec.get("inputSchema")).get("json"))
        for each in as_dicts(tools.get("tools"))
        if (spec := as_dict(each.get("toolSpec")))
    }
    choice = as_dict(tools.get("toolChoice") or tools.get("tool_choice"))
    if choice:
        ((kind, inner),) = choice.items()
        sheet["tool_choice"] = {"any": "required", "tool": as_dict(inner).get("name")}.get(kind, kind)
    form = as_dict(as_dict(body.get("outputConfig")).get("textFormat"))
    if form:
        sheet["response_format"] = canonical(
            schema_in_text(as_dict(as_dict(form.get("structure")).get("jsonSchema")).get("schema"))
        )
    put(sheet, {"metadata": body.get("requestMetadata")}, {"metadata": "metadata"})
    if tier := as_dict(body.get("serviceTier")).get("type"):
        sheet["service_tier"] = tier
    return sheet


def _converse_parts(content: object, turns: Turns) -> list[Part]:
    parts: list[Part] = []
    for each in as_dicts(content):
        if "text" in each:
            parts.append(("text", tight(as_str(each["text"]))))
        elif "json" in each:
            parts.append(("text", tight(canonical(each["json"]))))
        elif "toolUse" in each:
            call = as_dict(each["toolUse"])
            parts.append(turns.call(call.get("toolUseId"), as_str(call.get("name")), call.get("input")))
        elif "toolResult" in each:
            result = as_dict(each["toolResult"])
            inner = _converse_parts(result.get("content"), turns)
            text = "".join(str(part[1]) for part in inner if part[0] == "text")
            parts.append(turns.result(result.get("toolUseId"), "", text))
            parts += [part for part in inner if part[0] != "text"]
        elif "reasoningContent" in each:
            thought = as_dict(as_dict(each["reasoningContent"]).get("reasoningText"))
            if thought:
                parts.append(("reasoning", tight(as_str(thought.get("text")))))
        elif {"image", "document", "video", "audio"} & set(each):
            kind = next(name for name in ("image", "document", "video", "audio") if name in each)
            inner_source = as_dict(as_dict(each[kind]).get("source"))
            form = as_str(as_dict(each[kind]).get("format"))
            where = as_str(inner_source.get("bytes")) or as_str(as_dict(inner_source.get("s3Location")).get("uri"))
            if "text" in inner_source:
                where = encoded(as_str(inner_source["text"]))
            media = {"image": f"image/{form}", "video": f"video/{form}", "audio": form}.get(
                kind, _DOCUMENTS.get(form, form)
            )
            parts.append(("file" if kind == "document" else kind, *named_media(media, where)))
        elif set(each) != {"cachePoint"}:
            parts.append(("other", sorted(each)[0]))
    return parts


_DOCUMENTS: Final = {"pdf": "application/pdf", "txt": "text/plain", "md": "text/markdown", "csv": "text/csv"}
