"""Every recorded answer of a provider survives every ingress: whole and streamed, as the official SDKs read it."""

import pytest

from corpus import answers, codecs_here, differences, folding, recordings, sdks
from corpus.recordings import Row
from trunkline_gateway import errors, exchange, sse

LIST = differences.HERE / "differences.toml"
needs_recordings = pytest.mark.skipif(not recordings.rows(), reason=recordings.ABSENT)
chat_rows = pytest.mark.parametrize("row", recordings.chat_rows(), ids=str)


def found_in(row: Row) -> answers.Found:
    """What differs."""
    recording = recordings.load(row)
    want = answers.expected(recording)
    decoded = answers.decode(recording)
    found = answers.neutral_differences(want, decoded)
    for ingress in codecs_here.INGRESSES:
        found |= answers.differences(want, decoded, ingress)
    return found


@needs_recordings
@chat_rows
def test_a_recorded_answer_survives_every_ingress(row: Row) -> None:
    recording = recordings.load(row)
    if recording.why_out:
        pytest.skip(recording.why_out)
    if recording.is_error:
        return  # see test_corpus_errors
    try:
        found = found_in(row)
    except folding.FailedWithin:
        _fails_within(recording)
    except folding.CutShort:
        _is_cut_short(recording)
    else:
        differences.check(row.id, found, differences.listed(LIST, "answers"))


def _fails_within(recording: recordings.Recording) -> None:
    frames = recording.frames()
    if frames is None:  # HTTP said 200, the body an error
        with pytest.raises(errors.UpstreamError):
            answers.decode(recording)
        return
    events = answers.decode_stream(recording.dialect, frames)
    assembler = exchange.Assembler()
    for event in events:
        assembler.receive(event)
    assert assembler.failed is not None
    assert 400 <= assembler.failed.status <= 599
    assert assembler.failed.message


_NOT_THE_DIALECT = {"571f15cb9dab8e63": "events of an API that OpenAI does not have"}


def _is_cut_short(recording: recordings.Recording) -> None:
    frames = recording.frames()
    assert frames is not None
    if recording.row.id in _NOT_THE_DIALECT:
        with pytest.raises(errors.UpstreamProtocolError):
            answers.decode_stream(recording.dialect, frames)
        return
    events = answers.decode_stream(recording.dialect, frames)
    assert not any(isinstance(event, exchange.End | exchange.Failed) for event in events)


@needs_recordings
@chat_rows
def test_the_judges_agree_with_the_sdk_on_the_recording_itself(row: Row) -> None:
    """Where the SDK takes what its provider sent, it reads from it what our reader of plain JSON does."""
    recording = recordings.load(row)
    dialect = recording.dialect
    if dialect not in sdks.WHOLE or recording.is_error or row.id in _SDK_READS_OTHERWISE:
        return
    try:
        want = answers.expected(recording)
        if recording.frames() is None:
            assert recording.body is not None
            got = sdks.WHOLE[dialect](recording.body)
        else:
            got = sdks.streamed(dialect, recording.raw_stream())
    except (sdks.Invalid, folding.FailedWithin, folding.CutShort):
        return  # a quirk of the provider that its SDK does not take
    assert got == want


_SDK_READS_OTHERWISE = {
    "98ef4359203ad5dc": "Groq reports the usage in a field of its own, which the SDK does not know",
    "621b8e2ff396d161": "the SDK's accumulator fails on annotations without an index",
    "dc1880474dec7003": "arguments come in pieces, which the SDK leaves to its user",
}


@needs_recordings
@pytest.mark.parametrize("row", recordings.chat_rows()[::9], ids=str)
def test_a_stream_is_the_same_however_it_is_cut(row: Row) -> None:
    recording = recordings.load(row)
    if (
        recording.why_out
        or recording.is_error
        or recording.frames() is None
        or recording.row.endpoint == "invoke_stream"
    ):
        return
    if recording.dialect == "bedrock_converse":
        return  # framed by AWS
    raw = recording.raw_stream()[:8_000]
    whole = _events_of_slices(recording.dialect, [raw])
    for size in (1, 7, 4093):
        slices = [raw[at : at + size] for at in range(0, len(raw), size)]
        assert _events_of_slices(recording.dialect, slices) == whole
    for ingress in codecs_here.INGRESSES:
        content = [event for event in whole if not isinstance(event, exchange.Failed)]
        one_by_one, at_once = codecs_here.stream_encoder(ingress), codecs_here.stream_encoder(ingress)
        slowly, fast = b"".join(one_by_one.encode([event]) for event in content), at_once.encode(content)
        if ingress == "gemini_generate":  # whose events hold as much as there is by then
            assert sdks.streamed(ingress, slowly) == sdks.streamed(ingress, fast)
        else:
            assert slowly == fast


def _events_of_slices(dialect: str, slices: list[bytes]) -> list[exchange.Event]:
    splitter = sse.EventSplitter()
    make = codecs_here.upstream(dialect).stream_decoder
    assert make is not None
    decoder = make(codecs_here.asked(stream=True))
    events: list[exchange.Event] = []
    for each in slices:
        for event in splitter.receive_data(each):
            events += decoder.receive(event)
    return [*events, *decoder.receive_eof()]


def test_the_list_of_differences_is_sound() -> None:
    if recordings.rows():
        differences.check_list(LIST, "answers", [row.id for row in recordings.chat_rows()])


def test_every_endpoint_is_of_the_family_or_has_a_reason_not_to_be() -> None:
    chat = {row.endpoint for row in recordings.chat_rows()}
    assert {row.endpoint for row in recordings.rows()} <= chat | set(recordings.OUT_OF_FAMILY)
