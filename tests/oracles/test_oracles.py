"""What two other projects say is the same in two dialects, our codecs make of one another; or the list tells why not.

What differs is one of:
- theirs: our request says what the source says, and the oracle's does not (the pair was written by hand with other
  words, or the oracle drops something). Nothing to list: both halves are checked.
- listed in differences.toml, with its reason.
"""

import json
from collections.abc import Mapping
from pathlib import Path

import pytest

from corpus import answers, asking, codecs_here, differences, folding, reading, requests, saying, sdks
from corpus.recordings import Frame
from oracles import pairs
from oracles.pairs import AnswerPair, Refusal, RequestPair, Transformed
from trunkline_gateway import errors

LIST = Path(__file__).with_name("differences.toml")
needs_oracles = pytest.mark.skipif(not pairs.LINGUA.is_dir(), reason=pairs.ABSENT)


def _decode(source: str, body: Mapping[str, object]) -> requests.exchange.ChatRequest:
    if source == "gemini_generate":
        body = {key: value for key, value in body.items() if key not in ("model", "stream")}
        return codecs_here.decode_request(source, body)
    return codecs_here.decode_request(source, {"model": "model", **body})


def _model_of(body: Mapping[str, object]) -> str:
    return str(body.get("model") or body.get("modelId") or "model")


def compared(pair: RequestPair) -> dict[tuple[str, str], str]:
    """What our request says that neither the oracle's nor the source says, or misses."""
    try:
        request = _decode(pair.source, pair.body)
    except errors.InvalidRequestError as error:
        return {("decode", "refused"): f"{error.param}: {error.message}"}
    target = codecs_here.target(requests.PROVIDERS[pair.target], _model_of(pair.theirs))
    written = requests.write(request, pair.target, target)
    if written.refused:
        return {("encode", "refused"): written.refused}
    source = saying.say(pair.source, pair.body)
    ours, theirs = saying.say(pair.target, written.body), saying.say(pair.target, pair.theirs)
    if pair.target in ("anthropic_messages", "bedrock_converse") and "max_tokens" not in source:
        ours["max_tokens"] = theirs.get("max_tokens")  # it has to be said there: everybody has a number of his own
    found = {}
    for key, detail in asking.compare(theirs, ours, written.lost).items():
        if key in asking.compare(source, ours, written.lost):
            found[("request", key)] = f"oracle's {detail} (lost: {written.lost})"
    return found


@needs_oracles
@pytest.mark.parametrize("pair", pairs.lingua_requests(), ids=str)
def test_lingua_says_the_same(pair: RequestPair) -> None:
    differences.check(pair.name, compared(pair), differences.listed(LIST, "lingua"))


@needs_oracles
@pytest.mark.parametrize("pair", pairs.golden_requests(), ids=str)
def test_agentgateway_says_the_same(pair: RequestPair) -> None:
    differences.check(pair.name, compared(pair), differences.listed(LIST, "agentgateway"))


def refused(case: Refusal) -> dict[tuple[str, str], str]:
    """What is neither named as lost, nor refused, nor said in full after all."""
    written = requests.write(_decode(case.source, case.body), case.target)
    if written.refused or written.lost:
        return {}
    kept = requests.differences(case.source, case.body, written, case.target)
    why = f"{case.why}; nothing is named as lost; differs in {sorted(kept)}"
    return {(case.target, "unnamed"): why} if kept else {}


@needs_oracles
@pytest.mark.parametrize("case", pairs.lingua_refusals(), ids=str)
def test_what_lingua_refuses_to_translate_is_named_as_lost(case: Refusal) -> None:
    differences.check(case.name, refused(case), differences.listed(LIST, "refusals"))


def answered(pair: AnswerPair) -> answers.Found:
    """Where an SDK reads from ours neither what it reads from theirs, nor what the provider said."""
    if pair.stream:
        frames = pairs.frames_of(pair.raw, pair.upstream)
        want = reading.READERS[pair.upstream](folding.FOLDS[pair.upstream](frames))
        events = answers.decode_stream(pair.upstream, frames)
        decoded = answers.Decoded(answers.exchange.assemble(events), events)
        theirs = reading.READERS[pair.ingress](folding.FOLDS[pair.ingress](pairs.frames_of(pair.theirs, pair.ingress)))
    else:
        want = reading.READERS[pair.upstream](json.loads(pair.raw))
        decoded = answers.decode_whole(pair.upstream, pair.raw)
        theirs = reading.READERS[pair.ingress](json.loads(pair.theirs))
    found = answers.differences(want, decoded, pair.ingress)
    return {key: f"{detail}; the oracle has {getattr(theirs, key[1], None)}" for key, detail in found.items()}


@needs_oracles
@pytest.mark.parametrize("pair", pairs.golden_answers(), ids=str)
def test_agentgateway_reads_the_same_answer(pair: AnswerPair) -> None:
    differences.check(pair.name, answered(pair), differences.listed(LIST, "answers"))


def survived(case: Transformed) -> answers.Found:
    """What an SDK does not read as the provider said it."""
    whole = json.loads(case.answer.read_text(encoding="utf-8"))
    if isinstance(whole, list) and len(whole) == 1 and _is_whole(whole[0]):
        whole = whole[0]
    if isinstance(whole, dict) and ("error" in whole or "Output" in whole) and not whole.get("output"):
        with pytest.raises(errors.UpstreamError):  # the provider refused what lingua made
            answers.decode_whole(case.upstream, json.dumps(whole).encode())
        return {}
    if isinstance(whole, list):
        frames = [_frame(each, case.upstream) for each in whole]
        events = answers.decode_stream(case.upstream, frames)
        try:
            want = reading.READERS[case.upstream](folding.FOLDS[case.upstream](frames))
        except folding.CutShort:
            assert not any(isinstance(event, answers.exchange.End) for event in events)
            return {}
        decoded = answers.Decoded(answers.exchange.assemble(events), events)
    else:
        want = reading.READERS[case.upstream](whole)
        decoded = answers.decode_whole(case.upstream, json.dumps(whole).encode())
    found: answers.Found = {}
    for ingress in codecs_here.INGRESSES:
        found |= answers.differences(want, decoded, ingress)
    return found


@needs_oracles
@pytest.mark.parametrize("case", pairs.lingua_answers(), ids=str)
def test_answers_that_lingua_recorded_survive_every_ingress(case: Transformed) -> None:
    differences.check(case.name, survived(case), differences.listed(LIST, "recorded"))


def _is_whole(event: Mapping[str, object]) -> bool:
    """Some streams were recorded as what they add up to."""
    return event.get("type") == "message" or event.get("object") == "chat.completion"


def _frame(event: Mapping[str, object], upstream: str) -> Frame:
    if upstream == "bedrock_converse":
        ((name, inner),) = event.items()
        return Frame(name.encode(), json.dumps(inner).encode())
    return Frame(str(event.get("type", "")).encode() if "type" in event else b"", json.dumps(event).encode())


def test_the_lists_of_differences_are_sound() -> None:
    if not pairs.LINGUA.is_dir():
        return
    differences.check_list(LIST, "lingua", [pair.name for pair in pairs.lingua_requests()])
    differences.check_list(LIST, "agentgateway", [pair.name for pair in pairs.golden_requests()])
    differences.check_list(LIST, "refusals", [case.name for case in pairs.lingua_refusals()])
    differences.check_list(LIST, "answers", [pair.name for pair in pairs.golden_answers()])
    differences.check_list(LIST, "recorded", [case.name for case in pairs.lingua_answers()])
    assert sdks.WHOLE.keys() == set(codecs_here.INGRESSES)
