"""Probes of what a request asks for beside its turns and tools."""

from corpus.probing import TOOL, RequestProbe, plain, raw, request_of
from trunkline_gateway import exchange
from trunkline_gateway.exchange import Parameters


def parameter(
    name: str,
    value: object,
    title: str = "",
    *,
    tools: bool = False,
    bedrock: str = "",
    names: tuple[str, ...] = (),
    **more: object,
) -> RequestProbe:
    given = {"max_tokens": 9000, name: value, **more}
    request = request_of(tools=(TOOL,) if tools else (), parameters=Parameters(**given))
    return RequestProbe(
        feature=name,
        title=title or name,
        request=lambda _: request,
        find=lambda read: plain(getattr(read.parameters, name)),
        names=names,
        bedrock=bedrock,
    )


def parameter_probes() -> list[RequestProbe]:
    """All of them."""
    effort = exchange.ReasoningEffort
    schema = exchange.JsonSchema(
        schema=raw(
            '{"type":"object","properties":{"probe":{"type":"string"}},"required":["probe"],"additionalProperties":false}'
        ),
        name="probe",
    )
    strict = exchange.JsonSchema(schema=schema.schema, name="probe", strict=True)
    choice = exchange.ToolChoice
    return [
        parameter("max_tokens", 77, bedrock='"maxTokens":77'),
        parameter("temperature", 0.25, bedrock='"temperature":0.25'),
        parameter("top_p", 0.5, bedrock='"topP":0.5'),
        parameter("top_k", 7, bedrock='"top_k":7'),
        parameter("min_p", 0.125),
        parameter("stop", ("STOP-HERE",), bedrock='"stopSequences":["STOP-HERE"]'),
        parameter("seed", 4242),
        parameter("presence_penalty", 0.25),
        parameter("frequency_penalty", 0.5),
        parameter("repetition_penalty", 1.25),
        parameter("logit_bias", {"50256": -100.0}),
        parameter("logprobs", True),
        parameter("top_logprobs", 3, logprobs=True),
        parameter("n", 2),
        parameter("response_format", exchange.JsonObject(), "response_format: json_object"),
        RequestProbe(
            feature="response_format",
            title="response_format: json_schema",
            request=lambda _: request_of(parameters=Parameters(max_tokens=9000, response_format=schema)),
            find=lambda read: (
                plain(read.parameters.response_format.schema)
                if isinstance(read.parameters.response_format, exchange.JsonSchema)
                else None
            ),
            bedrock="probe",
        ),
        RequestProbe(
            feature="response_format.strict",
            title="response_format.strict",
            request=lambda _: request_of(parameters=Parameters(max_tokens=9000, response_format=strict)),
            find=lambda read: (
                read.parameters.response_format.strict
                if isinstance(read.parameters.response_format, exchange.JsonSchema)
                else None
            ),
        ),
        RequestProbe(
            feature="reasoning_effort",
            title="reasoning_effort",
            request=lambda _: request_of(parameters=Parameters(max_tokens=9000, reasoning_effort=effort(effort="low"))),
            find=lambda read: read.parameters.reasoning_effort and read.parameters.reasoning_effort.effort,
            bedrock='"effort":"low"',
        ),
        RequestProbe(
            feature="reasoning_budget",
            title="reasoning_budget",
            request=lambda _: request_of(
                parameters=Parameters(max_tokens=9000, reasoning_effort=effort(budget_tokens=2048))
            ),
            find=lambda read: read.parameters.reasoning_effort and read.parameters.reasoning_effort.budget_tokens,
            names=("reasoning_effort",),
            bedrock='"budget_tokens":2048',
        ),
        RequestProbe(
            feature="reasoning_summary",
            title="reasoning_summary",
            request=lambda _: request_of(
                parameters=Parameters(max_tokens=9000, reasoning_effort=effort(effort="low", summary="detailed"))
            ),
            find=lambda read: read.parameters.reasoning_effort and read.parameters.reasoning_effort.summary,
            names=("reasoning_effort",),
        ),
        parameter("verbosity", "low"),
        parameter("service_tier", "flex", bedrock='"flex"'),
        parameter("user", "user-1"),
        parameter("metadata", {"team": "blue"}, bedrock='{"team":"blue"}'),
        parameter("safety_identifier", "user-1", names=("user",)),
        parameter("safety_settings", raw('[{"category":"HARM_CATEGORY_HARASSMENT","threshold":"BLOCK_NONE"}]')),
        parameter("prompt_cache_key", "key-1"),
        parameter("prompt_cache_retention", "24h"),
        parameter("store", True),
        parameter("modalities", ("text", "audio"), audio=raw('{"voice":"alloy","format":"wav"}'), names=("audio",)),
        parameter(
            "audio", raw('{"voice":"alloy","format":"wav"}'), modalities=("text", "audio"), names=("modalities",)
        ),
        parameter("prediction", raw('{"type":"content","content":"probe"}')),
        parameter("parallel_tool_calls", False, tools=True),
        parameter("tool_choice", choice(mode="required"), "tool_choice: required", tools=True, bedrock='"any":{}'),
        parameter("tool_choice", choice(mode="none"), "tool_choice: none", tools=True, names=("tools",)),
        parameter(
            "tool_choice",
            choice(mode="named", names=("get_weather",)),
            "tool_choice: named",
            tools=True,
            bedrock='"tool":{"name":"get_weather"}',
        ),
        RequestProbe(
            feature="tool_choice.allowed_tools",
            title="tool_choice.allowed_tools",
            request=lambda _: request_of(
                tools=(TOOL, exchange.Tool(name="other_tool", parameters=raw('{"type":"object","properties":{}}'))),
                parameters=Parameters(max_tokens=9000, tool_choice=choice(mode="auto", names=("get_weather",))),
            ),
            find=lambda read: read.parameters.tool_choice.names or None if read.parameters.tool_choice else None,
        ),
    ]
