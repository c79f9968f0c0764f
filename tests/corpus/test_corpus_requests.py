"""Every recorded request is read by its ingress, and written for every provider so that it fits and says the same."""

import json
from collections.abc import Mapping
from typing import NamedTuple

import pytest

from corpus import codecs_here, differences, recordings, requests
from corpus.recordings import Row
from trunkline_gateway import errors, exchange

LIST = differences.HERE / "differences.toml"
needs_recordings = pytest.mark.skipif(not recordings.rows(), reason=recordings.ABSENT)


def _asked(row: Row) -> bool:
    recording = recordings.load(row)
    return recording.request is not None and recording.dialect in codecs_here.INGRESSES


def found_in(row: Row) -> dict[tuple[str, str], str]:
    """What differs."""
    recording = recordings.load(row)
    if not _asked(row):
        return {}
    assert recording.request is not None
    dialect, body = recording.dialect, {**recording.request}
    if dialect != "gemini_generate":
        body["model"] = body.get("model") or "model"
    try:
        request = codecs_here.decode_request(dialect, body, recording.frames() is not None)
    except errors.InvalidRequestError as error:  # the provider may have refused it, too
        return {} if recording.is_error else {("decode", "refused"): f"{error.param}: {error.message}"}
    found = _found_for_every_provider(request, dialect, body)
    if recording.is_error:  # what the provider refused need not fit another
        found = {key: detail for key, detail in found.items() if key[1] != "shape"}
    return found


def _found_for_every_provider(
    request: exchange.ChatRequest, dialect: str, body: Mapping[str, object]
) -> dict[tuple[str, str], str]:
    found = {}
    for other in codecs_here.CHAT_DIALECTS:
        written = requests.write(request, other)
        for what, detail in requests.differences(dialect, body, written, other).items():
            found[other, what] = f"{detail} (lost: {written.lost})"
    return found


@needs_recordings
@pytest.mark.parametrize("row", recordings.chat_rows(), ids=str)
def test_a_recorded_request_says_the_same_to_every_provider(row: Row) -> None:
    differences.check(row.id, found_in(row), differences.listed(LIST, "requests"))


_PATHS = {
    "/chat/completions": "openai_chat",
    "/responses": "openai_responses",
    "/messages": "anthropic_messages",
    "eneratecontent": "gemini_generate",
    "GenerateContent": "gemini_generate",
    ":generateContent": "gemini_generate",
    "/invoke": "anthropic_messages",
}


class Sent(NamedTuple):
    """What a client sent."""

    name: str
    dialect: str
    body: Mapping[str, object]
    stream: bool

    def __str__(self) -> str:
        return self.name


def client_requests() -> list[Sent]:
    """Of all clients."""
    found = []
    for path in sorted(recordings.CLIENTS.glob("*.json")) if recordings.CLIENTS.is_dir() else ():
        for number, each in enumerate(json.loads(path.read_text(encoding="utf-8"))["requests"]):
            body = each.get("body_json")
            dialect = next((name for mark, name in _PATHS.items() if mark in each["path"]), "")
            if isinstance(body, dict) and dialect and "count" not in each["path"].lower():
                stream = "stream" in each["path"]
                found.append(Sent(f"{path.stem}-{number}", dialect, body, stream))
    return found


def found_in_sent(sent: Sent) -> dict[tuple[str, str], str]:
    """What differs."""
    body = sent.body if sent.dialect == "gemini_generate" else {"model": "model", **sent.body}
    request = codecs_here.decode_request(sent.dialect, body, sent.stream)
    return _found_for_every_provider(request, sent.dialect, body)


@pytest.mark.parametrize("sent", client_requests(), ids=str)
def test_what_clients_send_says_the_same_to_every_provider(sent: Sent) -> None:
    differences.check(sent.name, found_in_sent(sent), differences.listed(LIST, "clients"))


def test_the_lists_of_differences_are_sound() -> None:
    if recordings.rows():
        differences.check_list(LIST, "requests", [row.id for row in recordings.chat_rows()])
        differences.check_list(LIST, "clients", [sent.name for sent in client_requests()])
