"""What of a request and of an answer each dialect keeps: measured with `probes`, written to docs/reference/dialects.md.

Run ``PYTHONPATH=tests .venv/bin/python -m corpus.matrix`` to write the page anew.
"""

import functools
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final, Literal, NamedTuple, TypeAlias

from corpus import answer_probes, codecs_here, content_probes, probes, probing
from corpus.requests import PROVIDERS
from trunkline_gateway import errors, exchange
from trunkline_gateway.exchange import losses

PAGE: Final = Path(__file__).resolve().parents[2] / "docs" / "reference" / "dialects.md"

Verdict: TypeAlias = Literal["kept", "mapped", "lost", "refused", "hole"]
SIGNS: Final[Mapping[str, str]] = {"kept": "✓", "mapped": "≈", "lost": "—", "refused": "✗"}


class Cell(NamedTuple):
    """What becomes of a feature in a dialect."""

    verdict: Verdict
    detail: str = ""


NAMES: Final[Mapping[str, str]] = {
    "openai_chat": "Chat",
    "openai_responses": "Responses",
    "anthropic_messages": "Messages",
    "gemini_generate": "Gemini",
    "bedrock_converse": "Converse",
}

MODELS: Final[Mapping[str, str]] = {
    "openai_chat": "gpt-4.1",
    "openai_responses": "gpt-4.1",
    "anthropic_messages": "claude-sonnet-4-5",
    "gemini_generate": "gemini-2.5-pro",
    "bedrock_converse": "anthropic.claude-sonnet-4-5-20250929-v1:0",
}
"""Whom the probes are written for: what a dialect can say, some models take in another form, or not at all."""


class How(NamedTuple):
    """How something is said in a dialect that has no word for it.

    Attributes:
        note: For people.
        evidence: What the body then holds; with ``!`` before it: what it then does not hold. Empty: found by reading
            it back.
    """

    note: str
    evidence: str = ""


_ALWAYS_STRICT: Final = "a schema always binds there"
_SPLIT: Final = "stands in a user's turn, after the result"
_JOINED_NAME: Final = "namespace and name are joined to one name, and come apart again in the answer"
_BARE_NAME: Final = "by its bare name, which finds its namespace again in the answer"
_ONE_TEXT: Final = "a tool with one text, `input`, whose value comes back as free text"
_IN_WORDS: Final = "asked for in words, in the system prompt"
_IN_OBJECT: Final = "arguments that are no JSON object stand in one"
_OTHERS_LEFT_OUT: Final = "the tools that may not be called are not sent"

HOW: Final[Mapping[tuple[str, str], How]] = {
    ("response_format.strict", "anthropic_messages"): How(_ALWAYS_STRICT, '"probe"'),
    ("response_format.strict", "gemini_generate"): How(_ALWAYS_STRICT, '"probe"'),
    ("response_format.strict", "bedrock_converse"): How(_ALWAYS_STRICT, "probe"),
    ("reasoning_effort", "anthropic_messages"): How(
        "a budget of tokens for models before adaptive thinking, by the word's share of `max_tokens`",
        '"budget_tokens":1800',
    ),
    ("reasoning_effort", "gemini_generate"): How(
        "a budget of tokens for models before Gemini 3, by the word's share of `max_tokens`", '"thinkingBudget":1800'
    ),
    ("reasoning_effort", "bedrock_converse"): How(
        "in the fields of the model's own maker; for Claude as for Messages", '"budget_tokens":1800'
    ),
    ("reasoning_summary", "bedrock_converse"): How("always shown", '"thinking"'),
    ("reasoning_budget", "openai_chat"): How("the word whose budget is no less", '"reasoning_effort":"low"'),
    ("reasoning_budget", "openai_responses"): How("the word whose budget is no less", '"effort":"low"'),
    ("reasoning_summary", "anthropic_messages"): How("shown or not; how much is not said"),
    ("reasoning_summary", "gemini_generate"): How("shown or not; how much is not said"),
    ("safety_identifier", "anthropic_messages"): How("as the user's id", '"user_id":"user-1"'),
    ("tool_choice: none", "bedrock_converse"): How("no tools are sent", "!toolConfig"),
    ("tool_choice.allowed_tools", "anthropic_messages"): How(_OTHERS_LEFT_OUT, "!other_tool"),
    ("tool_choice.allowed_tools", "bedrock_converse"): How(_OTHERS_LEFT_OUT, "!other_tool"),
    ("system_position", "anthropic_messages"): How("moves to the system prompt, for models that take it nowhere else"),
    ("system_position", "gemini_generate"): How("moves to the system instruction"),
    ("system_position", "bedrock_converse"): How("moves to the system prompt", '"system":'),
    ("response_format: json_object", "anthropic_messages"): How(_IN_WORDS, '"system":'),
    ("developer_role", "anthropic_messages"): How("a system prompt"),
    ("developer_role", "gemini_generate"): How("a system instruction"),
    ("developer_role", "bedrock_converse"): How("a system prompt", '"system":'),
    ("tool_arguments", "anthropic_messages"): How(_IN_OBJECT),
    ("tool_arguments", "gemini_generate"): How(_IN_OBJECT),
    ("tool_arguments", "bedrock_converse"): How(_IN_OBJECT, "Ro"),
    ("reasoning_encrypted", "gemini_generate"): How("the signature of an empty part", '"thoughtSignature":"aGlkZGVu"'),
    ("file_context", "gemini_generate"): How("a text before the file", "of 1999"),
    ("tool_result_image", "openai_chat"): How(_SPLIT, probing.PNG),
    ("tool_result_image", "gemini_generate"): How("a part beside the result", probing.PNG),
    ("tool_result_file", "openai_chat"): How(_SPLIT, probing.PDF),
    ("tool_result_file", "gemini_generate"): How("a part beside the result", probing.PDF),
    ("tools.custom", "anthropic_messages"): How(_ONE_TEXT, '"required":["input"]'),
    ("tools.custom", "gemini_generate"): How(_ONE_TEXT, '"required":["input"]'),
    ("tools.custom", "bedrock_converse"): How(_ONE_TEXT, '"required":["input"]'),
    ("tools.namespace", "gemini_generate"): How(_BARE_NAME, '"name":"get_weather"'),
    ("tools.namespace", "openai_chat"): How(_JOINED_NAME, "weather__get_weather"),
    ("tools.namespace", "anthropic_messages"): How(_JOINED_NAME, "weather__get_weather"),
    ("tools.namespace", "bedrock_converse"): How(_JOINED_NAME, "weather__get_weather"),
    ("web_fetch", "gemini_generate"): How("`urlContext`"),
    ("hosted_tool", "openai_responses"): How("kept as it is"),
    ("web_search.options", "openai_responses"): How("domains are kept, the number of searches is not"),
    ("answer.citations", "anthropic_messages"): How("pages are kept, their places in the text are not"),
    ("answer.logprobs", "openai_responses streamed"): How(
        "with the whole item, where they come after its text", '"logprob":-0.5'
    ),
    ("answer.reasoning_signature", "openai_responses"): How("in `encrypted_content`", "encrypted_content"),
    ("answer.reasoning_signature", "openai_responses streamed"): How("in `encrypted_content`", "encrypted_content"),
    ("answer.reasoning_encrypted", "gemini_generate"): How("a `thoughtSignature`", "thoughtSignature"),
    ("answer.reasoning_encrypted", "gemini_generate streamed"): How("a `thoughtSignature`", "thoughtSignature"),
    ("answer.refusal", "anthropic_messages"): How("text, with the stop reason `refusal`", '"refusal"'),
    ("answer.refusal", "anthropic_messages streamed"): How("text, with the stop reason `refusal`", '"refusal"'),
    ("answer.hosted_step", "openai_responses"): How("the step as an item of its own kind; its result is not shown"),
    ("answer.usage_details", "gemini_generate"): How("tokens written to a cache are not told apart"),
}
"""(title of a probe, dialect) → how it is said there, for each cell that is mapped."""


def _shown(body: bytes, key: tuple[str, str]) -> bool:
    """Whether the body holds the evidence."""
    how = HOW.get(key)
    if how is None or not how.evidence:
        return False
    text = body.decode()
    return how.evidence[1:] not in text if how.evidence.startswith("!") else how.evidence in text


def request_cell(probe: probing.RequestProbe, dialect: str) -> Cell:
    """A request written for a provider, and read back."""
    return cell_of(probe, probe.request(dialect), dialect)


def cell_of(probe: probing.RequestProbe, request: exchange.ChatRequest, dialect: str) -> Cell:
    """Likewise, as a client of some dialect said it."""
    want = probe.find(request)
    assert want is not None, probe.title
    target = codecs_here.target(PROVIDERS[dialect], MODELS[dialect])
    try:
        encoded = codecs_here.upstream(dialect).encode(request, target)
    except errors.GatewayError as error:
        return Cell("refused", error.message)
    if dialect in codecs_here.INGRESSES:
        body = json.loads(encoded.body)
        got = probe.find(codecs_here.decode_request(dialect, body))
    else:
        compact = json.dumps(json.loads(encoded.body), separators=(",", ":"))
        got = want if probe.bedrock and probe.bedrock in compact else None
    names = (probe.feature, *probe.names, *(HOSTED if probe.feature in HOSTED else ()))
    cell = _verdict(want, got, encoded.lost, names)
    if cell.verdict in ("hole", "lost") and _shown(encoded.body, (probe.title, dialect)):
        return Cell("mapped")
    return cell


def answer_cell(probe: answer_probes.AnswerProbe, dialect: str, *, stream: bool) -> Cell:
    """An answer written for a client, and read back."""
    answer = probe.answer(dialect)
    want = probe.find(answer)
    assert want is not None, probe.feature
    if stream:
        encoder = codecs_here.stream_encoder(dialect)
        body = encoder.encode(exchange.events_of(answer))
        lost = encoder.lost
        back = _read_stream(dialect, body)
    else:
        encoded = codecs_here.encode_whole(dialect, answer)
        body, lost = encoded.body, encoded.lost
        read = codecs_here.upstream(dialect).decode(encoded.body, codecs_here.asked())
        assert isinstance(read, exchange.Answer)
        back = read
    cell = _verdict(want, probe.find(back), lost, (probe.feature, *probe.names))
    if cell.verdict in ("hole", "lost") and _shown(body, (probe.feature, f"{dialect} streamed" if stream else dialect)):
        return Cell("mapped")
    return cell


def _read_stream(dialect: str, raw: bytes) -> exchange.Answer:
    from trunkline_gateway import sse

    make = codecs_here.upstream(dialect).stream_decoder
    assert make is not None
    decoder = make(codecs_here.asked(stream=True))
    splitter = sse.EventSplitter()
    events: list[exchange.Event] = []
    for event in splitter.receive_data(raw):
        events += decoder.receive(event)
    return exchange.assemble([*events, *decoder.receive_eof()])


def _verdict(want: object, got: object, lost: Iterable[str], names: Iterable[str]) -> Cell:
    names = tuple(names)
    named = sorted(set(lost) & set(names))
    if got == want and not named:
        return Cell("kept")
    if named and got is None:
        return Cell("lost")
    if got is not None and got == want and next(iter(names)) not in named:
        return Cell("kept")
    if got is not None:
        return Cell("mapped", f"{want!r} became {got!r}; named: {named}")
    return Cell("hole", f"{want!r} is neither found nor named; lost: {tuple(lost)}")


@functools.cache
def requests() -> Mapping[tuple[str, str], Cell]:
    """(title, dialect) → cell."""
    return {
        (probe.title, dialect): request_cell(probe, dialect)
        for probe in probes.REQUESTS
        for dialect in codecs_here.CHAT_DIALECTS
    }


@functools.cache
def answers() -> Mapping[tuple[str, str], Cell]:
    """(feature, ingress) → cell, of whole answers."""
    return {
        (probe.feature, dialect): answer_cell(probe, dialect, stream=False)
        for probe in answer_probes.ANSWERS
        for dialect in codecs_here.INGRESSES
    }


_HEAD: Final = """# Dialects: what survives

<!-- Written by `PYTHONPATH=tests python -m corpus.matrix`; a test fails where it is not fresh. -->

A request is read into one neutral form and written for the provider in its dialect; its answer goes the same way
back. Where the client's dialect is the provider's, the bytes pass through, and nothing on this page applies.

What the provider's dialect cannot say is left out and named in the header `x-trunkline-lossy` of the answer; with
`lossy: Reject` or `unsupportedParameters: Reject`, a RoutePolicy has the request refused instead. Each row below is
such a name. Nothing is lost in silence: a test puts every row through every dialect, and fails where something is
neither found again nor named.

| sign | meaning |
|---|---|
| ✓ | kept: read back with the same value |
| ≈ | said in other words; the note tells how |
| — | lost, and named |
| ✗ | refused with an error, since nothing sensible could be sent |

The probes are written for these models:
{models}.
Others may take less; what is left out for them is named in the same way.
"""


def page() -> str:
    """The whole of it."""
    lines = [_HEAD.replace("{models}", ", ".join(f"`{model}`" for model in dict.fromkeys(MODELS.values())))]
    notes: list[str] = []
    for kind, title in (("parameter", "Parameters of a request"), ("content", "Content of a request")):
        lines += [
            f"\n## {title}\n",
            _row("", *(NAMES[each] for each in codecs_here.CHAT_DIALECTS)),
            "|---|" + ":-:|" * 5,
        ]
        for probe in probes.REQUESTS:
            if losses.FEATURES[probe.feature] != kind or probe.feature in HOSTED:
                continue
            cells = [
                _sign(requests()[probe.title, each], probe.title, each, notes) for each in codecs_here.CHAT_DIALECTS
            ]
            lines.append(_row(f"`{probe.title}`", *cells))
    lines += _hosted(notes)
    lines += ["\n## What comes back\n", "By the client's dialect, whole and streamed alike.\n"]
    lines += [_row("", *(NAMES[each] for each in codecs_here.INGRESSES)), "|---|" + ":-:|" * 4]
    for answer in answer_probes.ANSWERS:
        cells = [_sign(answers()[answer.feature, each], answer.feature, each, notes) for each in codecs_here.INGRESSES]
        lines.append(_row(f"`{answer.feature}`", *cells))
    lines += ["\n## Notes\n", *(f"{number}. {note}" for number, note in enumerate(notes, 1))]
    lines += ["\n## Names that are not in the tables\n"]
    lines += [f"- `{name}`: {why}." for name, why in sorted(probes.NOT_PROBED.items())]
    return "\n".join(lines) + "\n"


HOSTED: Final = frozenset({*content_probes.HOSTED, "web_search.options"})


def hosted_pairs() -> Mapping[tuple[str, str, str], Cell]:
    """(title, ingress, dialect) → cell, of the tools that providers run, for each ingress that can say them."""
    found = {}
    for probe in probes.REQUESTS:
        if probe.feature not in HOSTED:
            continue
        for ingress in codecs_here.INGRESSES:
            own = request_cell(probe, ingress).verdict
            if own == "kept" or (own == "mapped" and probe.feature == "hosted_tool"):
                request = through(probe, ingress)
                for dialect in codecs_here.CHAT_DIALECTS:
                    found[probe.title, ingress, dialect] = cell_of(probe, request, dialect)
    return found


def through(probe: probing.RequestProbe, ingress: str) -> exchange.ChatRequest:
    """The probe as a client of a dialect says it."""
    target = codecs_here.target(PROVIDERS[ingress], MODELS[ingress])
    said = codecs_here.upstream(ingress).encode(probe.request(ingress), target)
    return codecs_here.decode_request(ingress, json.loads(said.body))


def _hosted(notes: list[str]) -> list[str]:
    """The table of tools that providers run: whose words they are in matters more than what they are."""
    lines = [
        "\n## Tools that providers run\n",
        "Such a tool has options in its provider's own words, so it reaches another dialect only where both have it.",
        "Rows are what clients can say, by their dialect.\n",
        _row("", "said in", *(NAMES[each] for each in codecs_here.CHAT_DIALECTS)),
        "|---|---|" + ":-:|" * 5,
    ]
    pairs = hosted_pairs()
    for title, ingress in dict.fromkeys((title, ingress) for title, ingress, _ in pairs):
        cells = [_sign(pairs[title, ingress, each], title, each, notes) for each in codecs_here.CHAT_DIALECTS]
        lines.append(_row(f"`{title}`", NAMES[ingress], *cells))
    return lines


def _row(*cells: str) -> str:
    return "| " + " | ".join(cells) + " |"


def _sign(cell: Cell, title: str, dialect: str, notes: list[str]) -> str:
    sign = SIGNS.get(cell.verdict, "?")
    if cell.verdict not in ("mapped", "refused"):
        return sign
    how = HOW.get((title, dialect))
    note = how.note if how else cell.detail
    text = f"`{title}`: {note}."
    if text not in notes:
        notes.append(text)
    return f"{sign} [{notes.index(text) + 1}](#notes)"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
