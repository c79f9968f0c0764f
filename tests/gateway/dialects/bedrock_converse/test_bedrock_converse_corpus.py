"""Every recording of Converse decodes, whole and streamed, and says what it said."""

import json
from pathlib import Path

import pytest

from gateway.dialects.bedrock_converse import bedrock_wire as wire
from trunkline_gateway import errors, exchange
from trunkline_gateway.dialect import Asked, Target

pytestmark = pytest.mark.skipif(not wire.CORPUS.is_dir(), reason="the recordings are not here")


def load(path: Path) -> tuple[dict, Asked]:
    recording = json.loads(path.read_text())
    path_said = recording["path"] or ""
    request = (recording["request"] or {}).get("json") or {}
    model = path_said.split("/")[2].replace("%3A", ":") if path_said else request.get("modelId", wire.CLAUDE)
    return recording["response"], Asked(target=Target(model=model, account="acc0unt0"), seed="s")


def said(answer: exchange.Answer) -> dict[str, object]:
    """What the tests compare: texts, thoughts, calls, the end and the counts."""
    (choice,) = answer.choices
    parts = choice.parts
    return {
        "text": "".join(part.text for part in parts if isinstance(part, exchange.Text)),
        "reasoning": "".join(part.text for part in parts if isinstance(part, exchange.Reasoning)),
        "signatures": [
            part.signature.value for part in parts if isinstance(part, exchange.Reasoning) if part.signature
        ],
        "hidden": sum(1 for part in parts if isinstance(part, exchange.Reasoning) if part.encrypted),
        "calls": [
            (part.id, part.name, json.loads(part.arguments)) for part in parts if isinstance(part, exchange.ToolCall)
        ],
        "steps": [(part.tool, part.id) for part in parts if isinstance(part, exchange.HostedStep)],
        "citations": sum(len(part.citations) for part in parts if isinstance(part, exchange.Text)),
        "finish": choice.finish_reason,
    }


FINISH = {
    "end_turn": "stop",
    "tool_use": "tool_calls",
    "max_tokens": "length",
    "stop_sequence": "stop_sequence",
    "guardrail_intervened": "content_filter",
}
TOOLS = {"nova_grounding": "web_search", "nova_code_interpreter": "code_execution"}


def expected(content: list[dict], stop: str) -> dict[str, object]:
    """The same, read plainly from blocks."""
    cited = [block["citationsContent"] for block in content if "citationsContent" in block]
    thoughts = [block["reasoningContent"] for block in content if "reasoningContent" in block]
    uses = [block["toolUse"] for block in content if "toolUse" in block]
    results = [block["toolResult"] for block in content if "toolResult" in block]
    text = ""
    for block in content:
        text += block.get("text", "")
        text += "".join(each["text"] for each in block.get("citationsContent", {}).get("content", []))
    steps = []
    for block in content:
        if "toolUse" in block and block["toolUse"].get("type") == "server_tool_use":
            steps.append((TOOLS[block["toolUse"]["name"]], block["toolUse"]["toolUseId"]))
        if "toolResult" in block:
            steps.append((TOOLS[block["toolResult"]["type"][: -len("_result")]], block["toolResult"]["toolUseId"]))
    assert len(results) <= len(steps)
    return {
        "text": text,
        "reasoning": "".join(each.get("reasoningText", {}).get("text", "") for each in thoughts),
        "signatures": [
            each["reasoningText"]["signature"] for each in thoughts if each.get("reasoningText", {}).get("signature")
        ],
        "hidden": sum(1 for each in thoughts if "redactedContent" in each),
        "calls": [
            (use["toolUseId"], use["name"], use["input"]) for use in uses if use.get("type") != "server_tool_use"
        ],
        "steps": steps,
        "citations": sum(len(each["citations"]) for each in cited),
        "finish": FINISH[stop],
    }


def add_delta(content: dict[int, dict], index: int, kind: str, delta) -> None:
    if kind == "text":
        block = content.setdefault(index, {"text": ""})
        if "citationsContent" in block:
            block["citationsContent"]["content"].append({"text": delta})
        else:
            block["text"] += delta
    elif kind == "toolUse":
        content[index]["toolUse"]["input"] += delta["input"]
    elif kind == "toolResult":
        content[index]["toolResult"]["content"] += delta
    elif kind == "citation":
        content.setdefault(index, {"citationsContent": {"content": [], "citations": []}})
        content[index]["citationsContent"]["citations"].append(delta)
    elif "redactedContent" in delta:
        content.setdefault(index, {"reasoningContent": {}})["reasoningContent"].update(delta)
    else:
        block = content.setdefault(index, {"reasoningContent": {"reasoningText": {"text": ""}}})
        thought = block["reasoningContent"]["reasoningText"]
        thought["text"] += delta.get("text", "")
        if "signature" in delta:
            thought["signature"] = delta["signature"]


def blocks_of(events: list[dict]) -> tuple[list[dict], str, dict]:
    """A stream put together as a plain reader would."""
    content: dict[int, dict] = {}
    stop, usage = "", {}
    for event in events:
        ((name, payload),) = event.items()
        index = payload.get("contentBlockIndex")
        if name == "contentBlockStart" and payload["start"]:
            ((kind, start),) = payload["start"].items()
            content[index] = {kind: {**start, **({"input": ""} if kind == "toolUse" else {"content": []})}}
        elif name == "contentBlockDelta":
            ((kind, delta),) = payload["delta"].items()
            add_delta(content, index, kind, delta)
        elif name == "messageStop":
            stop = payload["stopReason"]
        elif name == "metadata":
            usage = payload["usage"]
    for block in content.values():
        if "toolUse" in block:
            block["toolUse"]["input"] = json.loads(block["toolUse"]["input"] or "{}")
    return [content[index] for index in sorted(content)], stop, usage


def check_usage(usage: exchange.Usage | None, counts: dict) -> None:
    if not counts:
        assert usage is None
        return
    assert usage is not None
    assert (usage.completion, usage.total) == (counts["outputTokens"], counts["totalTokens"])
    assert usage.cached == counts.get("cacheReadInputTokens")
    assert usage.cache_write == counts.get("cacheWriteInputTokens")
    # The total tells that what is cached is counted beside the input.
    assert (usage.prompt or 0) + (usage.completion or 0) == usage.total


@pytest.mark.parametrize("path", wire.recordings("converse.n"), ids=lambda path: path.stem)
def test_recorded_answers(path: Path) -> None:
    response, asked = load(path)
    body = json.dumps(response["json"]).encode()
    if response["status"] != 200:
        error = wire.CHAT.read_error(response["status"], body)
        assert (error.status, error.message) == (response["status"], response["json"]["message"])
        with pytest.raises(errors.UpstreamProtocolError):
            wire.CHAT.decode(body, asked)
        return
    answer = wire.CHAT.decode(body, asked)
    assert isinstance(answer, exchange.Answer)
    assert said(answer) == expected(response["json"]["output"]["message"]["content"], response["json"]["stopReason"])
    check_usage(answer.usage, response["json"]["usage"])
    assert said(exchange.assemble(exchange.events_of(answer))) == said(answer)


@pytest.mark.parametrize("path", wire.recordings("converse_stream.s"), ids=lambda path: path.stem)
def test_recorded_streams(path: Path) -> None:
    response, asked = load(path)
    events = response.get("events") or [
        {each["headers"][":event-type"]: each["payload"]} for each in response["eventstream"]
    ]
    data = wire.recorded_stream(response)
    found = wire.events_of(data, asked)
    answer = exchange.assemble(found)
    content, stop, counts = blocks_of(events)
    assert said(answer) == expected(content, stop)
    check_usage(answer.usage, counts)
    cut = [data[at : at + 7] for at in range(0, len(data), 7)]
    assert wire.events_of(cut, asked) == found


@pytest.mark.parametrize("path", wire.recordings("count_tokens.n"), ids=lambda path: path.stem)
def test_recorded_counts(path: Path) -> None:
    response, asked = load(path)
    body = json.dumps(response["json"]).encode()
    if response["status"] == 200:
        assert wire.COUNT.decode(body, asked) == exchange.TokenCount(prompt=response["json"]["inputTokens"])
    else:
        assert wire.COUNT.read_error(400, body).message == response["json"]["message"]


def test_reported_errors() -> None:
    reported = json.loads((wire.SHARED / "corpus" / "errors_reported.json").read_text())
    seen = 0
    for each in reported:
        if each["provider"] != "bedrock":
            continue
        seen += 1
        if each.get("in_stream"):
            ((headers, payload),) = [(event["headers"], event["payload"]) for event in each["eventstream"]]
            data = wire.exception(headers[":exception-type"], payload)
            (failed,) = wire.events_of(data)
            assert isinstance(failed, exchange.Failed)
            assert (failed.status, failed.message) == (503, payload["message"])
        else:
            error = wire.CHAT.read_error(each["status"], json.dumps(each["json"]).encode())
            assert (error.status, error.message) == (each["status"], each["json"]["message"])
    assert seen == 3
