"""Recorded errors of providers: read in neutral words, and written so that every SDK raises the right exception."""

import json
from collections.abc import Mapping

import httpx
import pytest

from corpus import codecs_here, recordings
from corpus.recordings import Row
from trunkline_gateway import errors, exchange
from trunkline_gateway.dialect import UpstreamError

needs_recordings = pytest.mark.skipif(not recordings.rows(), reason=recordings.ABSENT)


def _message(body: object) -> str:
    """What the provider says went wrong, wherever it says it."""
    match body:
        case {"error": {"message": str() as message}} | {"error": str() as message}:
            return message
        case {"message": str() as message} | {"Message": str() as message} | {"detail": str() as message}:
            return message
        case [first, *_]:
            return _message(first)
        case _:
            return ""


def _is_told_within(message: str, said: str) -> bool:
    """Some messages are an error in JSON, whose own message is the one to tell."""
    return bool(message) and json.dumps(message)[1:-1] in said and '"error"' in said


@needs_recordings
@pytest.mark.parametrize("row", [row for row in recordings.chat_rows() if row.status >= 400], ids=str)
def test_a_recorded_error_is_read(row: Row) -> None:
    recording = recordings.load(row)
    if recording.why_out:
        return
    body = recording.body or recording.raw_stream()
    read = codecs_here.upstream(recording.dialect).read_error(row.status, body)
    said = _message(recording.response.get("json"))
    if "API key not valid" in said:
        assert (row.status, read.status) == (400, 401)  # Google says 400 of a key that does not work
    else:
        assert read.status == row.status
    found: dict[tuple[str, str], str] = {}
    if said and said not in read.message and not _is_told_within(read.message, said):
        found["read", "message"] = f"{said!r} became {read.message!r}"
    assert not found
    error = errors.UpstreamStatusError(read.message, status=read.status, code=read.code or None, param=read.param)
    _is_raised_by_every_sdk(error)


def _reported() -> list[Mapping[str, object]]:
    if not recordings.REPORTED_ERRORS.is_file():
        return []
    found = json.loads(recordings.REPORTED_ERRORS.read_text(encoding="utf-8"))
    return [each for each in found if _dialect(each)]


def _dialect(reported: Mapping[str, object]) -> str:
    return recordings._CHAT_FAMILY.get(str(reported["endpoint"]), "")


@pytest.mark.parametrize("number", range(len(_reported())))
def test_a_reported_error_is_read(number: int) -> None:
    reported = _reported()[number]
    dialect = _dialect(reported)
    if reported.get("in_stream"):
        _in_stream(reported, dialect)
        return
    body = reported.get("json", reported.get("text", ""))
    raw = body.encode() if isinstance(body, str) else json.dumps(body).encode()
    status = reported["status"]
    assert isinstance(status, int)
    read = codecs_here.upstream(dialect).read_error(status, raw)
    assert read.status == status
    assert _message(body) in read.message or _is_told_within(read.message, _message(body))


def _in_stream(reported: Mapping[str, object], dialect: str) -> None:
    make = codecs_here.upstream(dialect).stream_decoder
    assert make is not None
    decoder = make(codecs_here.asked(stream=True))
    events: list[exchange.Event] = []
    for frame in _frames(reported, dialect):
        events += decoder.receive(frame)
    failed = [event for event in events if isinstance(event, exchange.Failed)]
    assert len(failed) == 1
    assert 400 <= failed[0].status <= 599
    assert failed[0].message


def _frames(reported: Mapping[str, object], dialect: str) -> list[recordings.Frame]:
    if "sse" in reported:
        splitter = recordings.sse.EventSplitter()
        events = splitter.receive_data("".join(reported["sse"]).encode())
        return [recordings.Frame(event.name, event.data) for event in events]
    for key in ("json_in_error_event", "json", "event"):
        if key in reported:
            payload = reported[key]
            assert isinstance(payload, dict)
            if dialect == "openai_responses" and payload.get("type") != "error":
                payload = {**payload, "type": "error"} if "error" not in payload else payload
            elif dialect == "openai_chat" and "error" not in payload:
                payload = {"error": payload}
            return [recordings.Frame(b"error" if dialect != "openai_chat" else b"", json.dumps(payload).encode())]
    if "eventstream" in reported:
        each = reported["eventstream"]
        assert isinstance(each, list)
        return [recordings._aws_frame(message, "converse_stream") for message in each]
    raise AssertionError(f"no form of a stream: {sorted(reported)}")


def _every_error() -> list[errors.GatewayError]:
    found = [
        errors.InvalidRequestError("The field is wrong.", param="messages[0].content"),
        errors.BodyTooLargeError("The body is over 1 bytes."),
        errors.AuthenticationError("No key."),
        errors.ForbiddenAddressError("Not from there."),
        errors.ModelNotFoundError("model"),
        errors.NotReadyError("There is no routing table yet."),
        errors.UpstreamError("Every target failed."),
        errors.UpstreamTimeoutError("It took too long."),
        errors.GatewayError("Something else."),
    ]
    found += [
        errors.UpstreamStatusError("The upstream said so.", status=status)
        for status in (400, 404, 409, 422, 429, 500, 503, 529)
    ]
    return found


@pytest.mark.parametrize("error", _every_error(), ids=lambda error: f"{type(error).__name__}-{error.status}")
def test_the_sdks_raise_the_exception_of_the_status(error: errors.GatewayError) -> None:
    _is_raised_by_every_sdk(error)


def _is_raised_by_every_sdk(error: errors.GatewayError) -> None:
    for ingress, read in {
        "openai_chat": _openai,
        "openai_responses": _openai,
        "anthropic_messages": _anthropic,
        "gemini_generate": _google,
    }.items():
        side = codecs_here.ingress(ingress)
        body = side.render_error(error)
        assert error.message in read(error.status, body), ingress


def _openai(status: int, body: bytes) -> str:
    import openai

    response = httpx.Response(status, content=body, request=httpx.Request("POST", "http://gateway/v1"))
    parsed = json.loads(body)
    client = openai.OpenAI(api_key="key", base_url="http://gateway/v1")
    raised = client._make_status_error(parsed["error"]["message"], body=parsed, response=response)
    assert raised.status_code == status
    assert isinstance(raised.type, str)
    assert parsed["error"].keys() >= {"message", "type", "param", "code"}
    return str(raised)


def _anthropic(status: int, body: bytes) -> str:
    from anthropic.types import ErrorResponse

    parsed = json.loads(body)
    wanted = _ANTHROPIC_TYPES.get(status, "invalid_request_error" if status < 500 else "api_error")
    assert parsed["error"]["type"] == wanted, f"{status}: {parsed}"
    if wanted != "request_too_large":  # the reference has it, the SDK's types have not
        ErrorResponse.model_validate({"request_id": None, **parsed}, strict=True)
    assert parsed["type"] == "error"
    return str(parsed["error"]["message"])


_ANTHROPIC_TYPES = {
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    503: "overloaded_error",
    504: "timeout_error",
    529: "overloaded_error",
}


def _google(status: int, body: bytes) -> str:
    from google.genai.errors import APIError

    parsed = json.loads(body)
    raised = APIError(status, parsed)
    assert raised.code == status
    assert isinstance(raised.status, str)
    assert raised.status.isupper()
    return str(raised.message)


@pytest.mark.parametrize("error", _every_error(), ids=lambda error: f"{type(error).__name__}-{error.status}")
@pytest.mark.parametrize("began", [False, True])
def test_an_error_in_a_stream_is_one_event_that_names_it(error: errors.GatewayError, began: bool) -> None:
    for ingress in codecs_here.INGRESSES:
        make = codecs_here.ingress(ingress).error_event
        assert make is not None
        splitter = recordings.sse.EventSplitter()
        events = [event for event in splitter.receive_data(make(error, began)) if event.data]
        rest = splitter.receive_eof()
        said = [json.loads(event.data) for event in events if event.data != b"[DONE]"]
        assert error.message in str(said[-1]), ingress
        # Of Google's clients some raise an event, and some what is left over when the stream ends.
        assert (rest is None) != (ingress == "gemini_generate")
        assert rest is None or json.loads(rest.raw) == said[-1]


def test_reading_an_error_never_fails() -> None:
    for dialect in codecs_here.CHAT_DIALECTS:
        for body in (
            b"",
            b"null",
            b"[]",
            b"\xff",
            b'{"error":',
            b'{"error":7}',
            b'{"error":{"message":["x"]}}',
            b"[" * 5000,
            b"<html>",
        ):
            read = codecs_here.upstream(dialect).read_error(502, body)
            assert isinstance(read, UpstreamError)
            assert read.status == 502
