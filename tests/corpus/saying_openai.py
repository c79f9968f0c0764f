"""What requests of OpenAI's two dialects say."""

from collections.abc import Mapping

from corpus.loose import as_dict, as_dicts, as_str
from corpus.reading import canonical, in_namespace
from corpus.sheets import (
    FREE_TEXT,
    SAMPLING,
    Part,
    Sheet,
    Turns,
    effort_of,
    file_part,
    json_text,
    media_of,
    put,
    schema_of,
    tight,
    tool_of,
)


def say_openai_chat(body: Mapping[str, object]) -> Sheet:
    """https://platform.openai.com/docs/api-reference/chat/create."""
    turns = Turns()
    for message in as_dicts(body.get("messages")):
        _chat_message(message, turns)
    sheet = turns.sheet()
    put(sheet, body, SAMPLING)
    put(sheet, body, {"max_tokens": "max_tokens", "max_completion_tokens": "max_tokens"})
    sheet["tools"] = {
        as_str(inner.get("name")): tool_of(
            inner.get("description"), FREE_TEXT if each.get("custom") else inner.get("parameters")
        )
        for each in (*as_dicts(body.get("tools")), *({"function": each} for each in as_dicts(body.get("functions"))))
        if (inner := as_dict(each.get("function")) or as_dict(each.get("custom")))
    }
    if body.get("tools") is None and (called := body.get("function_call")) is not None:
        sheet["tool_choice"] = called if isinstance(called, str) else as_dict(called).get("name")
    if stop := body.get("stop"):
        sheet["stop"] = [stop] if isinstance(stop, str) else stop
    _chat_choice(body, sheet)
    _chat_form(body, sheet)
    _chat_thinking(body, sheet)
    return sheet


def _chat_message(message: Mapping[str, object], turns: Turns) -> None:
    role = message.get("role")
    content = message.get("content")
    if role in ("system", "developer"):
        turns.say_system("".join(str(part[1]) for part in _chat_parts(content) if part[0] == "text"))
    elif role in ("tool", "function"):
        parts = _chat_parts(content)
        text = "".join(str(part[1]) for part in parts if part[0] == "text")
        others = [part for part in parts if part[0] != "text"]
        turns.add("user", [turns.result(message.get("tool_call_id"), as_str(message.get("name")), text), *others])
    elif role == "user":
        turns.add("user", _chat_parts(content))
    else:
        reasoning = (
            as_str(message.get("reasoning_content"))
            or as_str(message.get("reasoning"))
            or "".join(
                as_str(each.get("text")) or as_str(each.get("summary"))
                for each in as_dicts(message.get("reasoning_details"))
            )
        )
        parts = [("reasoning", tight(reasoning))] if reasoning else []
        parts += _chat_parts(content)
        if message.get("refusal"):
            parts.append(("refusal", tight(as_str(message["refusal"]))))
        for call in as_dicts(message.get("tool_calls")):
            inner = as_dict(call.get("function")) or as_dict(call.get("custom"))
            arguments = inner.get("arguments")
            if call.get("custom"):
                arguments = {"input": inner.get("input")}
            parts.append(turns.call(call.get("id"), as_str(inner.get("name")), arguments))
        turns.add("assistant", parts)


def _chat_choice(body: Mapping[str, object], sheet: Sheet) -> None:
    if (choice := body.get("tool_choice")) is not None:
        picked = as_dict(choice)
        named = as_dict(picked.get("function")) or as_dict(picked.get("custom"))
        mode = as_dict(picked.get("allowed_tools")).get("mode")
        if mode:
            allowed = as_dicts(as_dict(picked.get("allowed_tools")).get("tools"))
            sheet["allowed"] = sorted(as_str(as_dict(each.get("function")).get("name")) for each in allowed)
        sheet["tool_choice"] = choice if isinstance(choice, str) else named.get("name") or mode


def _chat_form(body: Mapping[str, object], sheet: Sheet) -> None:
    form = as_dict(body.get("response_format"))
    if form.get("type") == "json_object":
        sheet["response_format"] = "json"
    elif form.get("type") == "json_schema":
        sheet["response_format"] = canonical(schema_of(as_dict(form.get("json_schema")).get("schema")))


def _chat_thinking(body: Mapping[str, object], sheet: Sheet) -> None:
    reasoning = as_dict(body.get("reasoning"))
    effort = body.get("reasoning_effort") or reasoning.get("effort")
    if effort is None and (reasoning.get("enabled") or reasoning.get("max_tokens")):
        effort = "on"
    if effort is not None:
        sheet["thinking"] = effort_of(effort)
    elif kind := as_dict(body.get("thinking")).get("type"):
        sheet["thinking"] = "off" if kind == "disabled" else "on"
    elif False in (
        body.get("enable_thinking"),
        as_dict(body.get("chat_template_kwargs")).get("enable_thinking"),
        body.get("think"),
    ):
        sheet["thinking"] = "off"


def _chat_parts(content: object) -> list[Part]:
    if isinstance(content, str):
        return [("text", tight(content))]
    parts: list[Part] = []
    for each in as_dicts(content):
        match each.get("type"):
            case "text" | "refusal":
                parts.append((as_str(each["type"]), tight(as_str(each.get("text") or each.get("refusal")))))
            case "image_url":
                url = each["image_url"]
                parts.append(
                    ("image", *media_of(as_str(as_dict(url).get("url")) if isinstance(url, dict) else as_str(url)))
                )
            case "input_audio":
                audio = as_dict(each["input_audio"])
                parts.append(("audio", as_str(audio.get("format")), as_str(audio.get("data"))))
            case "thinking":
                inner = each.get("thinking")
                text = (
                    inner if isinstance(inner, str) else "".join(as_str(part.get("text")) for part in as_dicts(inner))
                )
                parts.append(("reasoning", tight(text)))
            case "document_url":
                parts.append(("file", *media_of(as_str(each.get("document_url")))))
            case "file":
                file = as_dict(each["file"])
                data = as_str(file.get("file_data"))
                parts.append(file_part(*media_of(data)) if data else ("file", "", as_str(file.get("file_id"))))
            case other:
                parts.append(("other", other))
    return parts


def say_openai_responses(body: Mapping[str, object]) -> Sheet:
    """https://platform.openai.com/docs/api-reference/responses/create."""
    turns = Turns()
    if instructions := as_str(body.get("instructions")):
        turns.say_system(instructions)
    given = body.get("input")
    if isinstance(given, str):
        turns.add("user", [("text", tight(given))])
    for item in as_dicts(given):
        _responses_item(item, turns)
    sheet = turns.sheet()
    put(sheet, body, SAMPLING)
    put(sheet, body, {"max_output_tokens": "max_tokens"})
    tools: dict[str, object] = {}
    for each in as_dicts(body.get("tools")):
        if each.get("type") in ("function", "custom"):
            schema = FREE_TEXT if each["type"] == "custom" else each.get("parameters")
            tools[as_str(each.get("name"))] = tool_of(each.get("description"), schema)
        elif each.get("type") == "namespace":
            for inner in as_dicts(each.get("tools")):
                name = in_namespace({"namespace": each.get("name"), "name": inner.get("name")})
                tools[name] = tool_of(inner.get("description"), inner.get("parameters"))
    sheet["tools"] = tools
    _responses_form(body, sheet)
    return sheet


def _responses_form(body: Mapping[str, object], sheet: Sheet) -> None:
    """Which tools may be called, how the answer is to look, how much is to be thought."""
    if (choice := body.get("tool_choice")) is not None:
        picked = as_dict(choice)
        if picked.get("type") == "allowed_tools":
            sheet["allowed"] = sorted(as_str(each.get("name")) for each in as_dicts(picked.get("tools")))
            picked = {"type": picked.get("mode")}
        sheet["tool_choice"] = choice if isinstance(choice, str) else picked.get("name") or picked.get("type")
    form = as_dict(as_dict(body.get("text")).get("format"))
    if form.get("type") == "json_object":
        sheet["response_format"] = "json"
    elif form.get("type") == "json_schema":
        sheet["response_format"] = canonical(schema_of(form.get("schema")))
    if (verbosity := as_dict(body.get("text")).get("verbosity")) is not None:
        sheet["verbosity"] = verbosity
    if (effort := as_dict(body.get("reasoning")).get("effort")) is not None:
        sheet["thinking"] = effort_of(effort)
    elif as_dict(body.get("reasoning")).get("summary") or as_dict(body.get("reasoning")).get("generate_summary"):
        sheet["thinking"] = "on"
    include = body.get("include")
    if sheet.get("top_logprobs") or (isinstance(include, list) and "message.output_text.logprobs" in include):
        sheet["logprobs"] = True


def _responses_item(item: Mapping[str, object], turns: Turns) -> None:
    match item.get("type", "message"):
        case "message":
            parts = _responses_parts(item.get("content"))
            role = as_str(item.get("role"))
            if role in ("system", "developer"):
                turns.say_system("".join(str(part[1]) for part in parts if part[0] == "text"))
            else:
                turns.add(role, parts)
        case "function_call" | "custom_tool_call":
            arguments = item.get("arguments")
            if item.get("type") == "custom_tool_call":
                arguments = {"input": item.get("input")}
            turns.add("assistant", [turns.call(item.get("call_id"), in_namespace(item), arguments)])
        case "function_call_output" | "custom_tool_call_output":
            output = item.get("output")
            parts = _responses_parts(output) if isinstance(output, list) else [("text", tight(json_text(output)))]
            text = "".join(str(part[1]) for part in parts if part[0] == "text")
            others = [part for part in parts if part[0] != "text"]
            turns.add("user", [turns.result(item.get("call_id"), "", text), *others])
        case "reasoning":
            texts = as_dicts(item.get("content")) or as_dicts(item.get("summary"))
            text = "".join(as_str(each.get("text")) for each in texts)
            if text:
                turns.add("assistant", [("reasoning", tight(text))])
        case other:
            turns.add("assistant", [("other", other)])


def _responses_parts(content: object) -> list[Part]:
    if isinstance(content, str):
        return [("text", tight(content))]
    parts: list[Part] = []
    for each in as_dicts(content):
        match each.get("type"):
            case "input_text" | "output_text" | "text":
                parts.append(("text", tight(as_str(each.get("text")))))
            case "refusal":
                parts.append(("refusal", tight(as_str(each.get("refusal")))))
            case "input_image":
                url = as_str(each.get("image_url"))
                parts.append(("image", *(media_of(url) if url else ("", as_str(each.get("file_id"))))))
            case "input_file":
                data = as_str(each.get("file_data")) or as_str(each.get("file_url")) or as_str(each.get("file_id"))
                parts.append(file_part(*media_of(data)))
            case "input_audio":
                audio = as_dict(each.get("input_audio"))
                parts.append(("audio", as_str(audio.get("format")), as_str(audio.get("data"))))
            case other:
                parts.append(("other", other))
    return parts
