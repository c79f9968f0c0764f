"""Pictures behind URLs, for targets that take only bytes: fetched once, put in place, and refused in plain words."""

import asyncio
import base64
import dataclasses
import ipaddress
import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway import fakes
from gateway.fakes import Answer, serve, target, upstream
from harness import hotpath
from harness.rawhttp import connect
from harness.upstream import Upstream as UpstreamDouble
from trunkline_gateway import errors, exchange
from trunkline_gateway.dialect import Capabilities
from trunkline_gateway.dialect import Target as WrittenFor
from trunkline_gateway.exchange import ChatRequest, Image, Inline, Text, ToolResult, Turn, Url
from trunkline_gateway.routing import attempts, pictures
from trunkline_gateway.routing.snapshot import Policy, Target
from trunkline_gateway.upstream import images
from trunkline_gateway.upstream.images import Fetched, Fetcher

PNG = b"\x89PNG\r\n\x1a\n" + b"x" * 10
PNG_TEXT = base64.b64encode(PNG).decode()
URL = "https://pictures.example/a.png"
WHOLE = fakes.WHOLE
CONVERSED = json.dumps(
    {
        "output": {"message": {"role": "assistant", "content": [{"text": "A cat."}]}},
        "stopReason": "end_turn",
        "usage": {"inputTokens": 9, "outputTokens": 3, "totalTokens": 12},
    }
).encode()


class Shelf:
    """Pictures by URL; keeps what it was asked."""

    def __init__(self, *unreachable: str, data: bytes = PNG, seconds: float = 0.0) -> None:
        self.unreachable = unreachable
        self.data = data
        self.seconds = seconds
        self.asked: list[str] = []
        self.given = 0

    async def fetch(self, url: str) -> Fetched:
        self.asked.append(url)
        await asyncio.sleep(self.seconds)
        if url in self.unreachable:
            raise errors.InvalidRequestError("The image could not be fetched from its URL.", code="image_not_fetched")
        self.given += 1
        return Fetched("image/png", self.data)


def fetching(shelf: Shelf | None) -> attempts.Settings:
    return attempts.Settings(fetch_picture=None if shelf is None else shelf.fetch)


def bytes_only(name: str = "ollama", **more: Any) -> Target:
    """A server that speaks chat completions and takes no URLs."""
    account = dataclasses.replace(upstream(name, provider="ollama"), quirks=frozenset({"no_image_urls"}))
    return dataclasses.replace(target(name, account), **more)


def bedrock(name: str = "bedrock") -> Target:
    return target(name, upstream(name, provider="bedrock", dialects=frozenset({"bedrock_converse"})))


def message(*urls: str) -> bytes:
    """In Anthropic's Messages."""
    content = [{"type": "image", "source": {"type": "url", "url": url}} for url in urls]
    body = {"model": "gpt-4o", "max_tokens": 8, "messages": [{"role": "user", "content": [*content, ASK]}]}
    return json.dumps(body).encode()


def completion(*urls: str) -> bytes:
    """In chat completions."""
    content = [{"type": "image_url", "image_url": {"url": url, "detail": "low"}} for url in urls]
    return json.dumps({"model": "gpt-4o", "messages": [{"role": "user", "content": [*content, ASK]}]}).encode()


ASK = {"type": "text", "text": "What is it?"}
DATA_URL = f"data:image/png;base64,{PNG_TEXT}"


def sent_images(client: fakes.ScriptedClient, number: int = 0) -> list[str]:
    """URLs of the pictures in a chat completion that was sent."""
    body = json.loads(client.requests[number].body or b"")
    parts = [part for each in body["messages"] if isinstance(each["content"], list) for part in each["content"]]
    return [part["image_url"]["url"] for part in parts if part["type"] == "image_url"]


# ---- through the attempt loop ----------------------------------------------------------------------------------------


def test_a_picture_behind_a_url_reaches_who_takes_only_bytes() -> None:
    shelf = Shelf()
    call = fakes.call_in("anthropic_messages", message(URL), bytes_only())
    _, responder, client = fakes.run(serve(call, Answer.json(WHOLE), settings=fetching(shelf)))
    assert (responder.status, sent_images(client), shelf.asked) == (200, [DATA_URL], [URL])
    assert "x-trunkline-lossy" not in responder.headers


@pytest.mark.parametrize(("dialect", "write"), [("anthropic_messages", message), ("openai_chat", completion)])
def test_bedrock_takes_no_urls_whatever_its_quirks(dialect: str, write: Callable[..., bytes]) -> None:
    call = fakes.call_in(dialect, write(URL), bedrock())
    _, responder, client = fakes.run(serve(call, Answer.json(CONVERSED), settings=fetching(Shelf())))
    assert responder.status == 200, responder.body
    blocks = json.loads(client.requests[0].body or b"")["messages"][0]["content"]
    assert {"image": {"format": "png", "source": {"bytes": PNG_TEXT}}} in blocks


@pytest.mark.parametrize("make", [bytes_only, bedrock])
def test_without_leave_nothing_is_fetched_and_the_loss_is_named(make: Callable[[], Target]) -> None:
    call = fakes.call_in("anthropic_messages", message(URL), make())
    answer = WHOLE if make is bytes_only else CONVERSED
    _, responder, client = fakes.run(serve(call, Answer.json(answer), settings=fetching(None)))
    assert responder.headers["x-trunkline-lossy"] == "image_url"
    assert URL.encode() not in (client.requests[0].body or b"")


def test_without_leave_a_policy_that_allows_no_loss_refuses() -> None:
    call = fakes.call_in("anthropic_messages", message(URL), bytes_only(), policy=Policy(lossy="Reject"))
    _, responder, client = fakes.run(serve(call, settings=fetching(None)))
    assert (responder.status, client.requests) == (400, [])


def test_with_leave_the_same_policy_has_nothing_to_refuse() -> None:
    call = fakes.call_in("anthropic_messages", message(URL), bytes_only(), policy=Policy(lossy="Reject"))
    _, responder, _ = fakes.run(serve(call, Answer.json(WHOLE), settings=fetching(Shelf())))
    assert responder.status == 200


def test_a_target_that_takes_urls_gets_them() -> None:
    shelf = Shelf()
    call = fakes.call_in("anthropic_messages", message(URL))
    _, _, client = fakes.run(serve(call, Answer.json(WHOLE), settings=fetching(shelf)))
    assert (sent_images(client), shelf.asked) == ([URL], [])


def test_bytes_that_are_passed_on_are_changed_only_for_who_takes_no_urls() -> None:
    shelf = Shelf()
    for one, expected in ((target(), [URL]), (bytes_only(), [DATA_URL])):
        call = fakes.call_in("openai_chat", completion(URL), one)
        _, responder, client = fakes.run(serve(call, Answer.json(WHOLE), settings=fetching(shelf)))
        assert (responder.status, sent_images(client)) == (200, expected)
        assert json.loads(responder.body)["choices"][0]["message"]["content"] == "Hi"
    assert shelf.asked == [URL]


@pytest.mark.parametrize(
    "body",
    [
        completion(),
        completion(DATA_URL),
        b'{"model":"gpt-4o", "messages":[{"role":"user","content":"see http://x.example/"}]}',
        # Wrong, which is the upstream's to say.
        b'{"model":"gpt-4o", "messages":[{"role":"user","content":[{"type":"image_url","image_url":["http://x"]}]}]}',
    ],
)
def test_bytes_without_pictures_are_passed_on_untouched(body: bytes) -> None:
    shelf = Shelf()
    call = fakes.call_in("openai_chat", body, bytes_only())
    _, _, client = fakes.run(serve(call, Answer.json(WHOLE), settings=fetching(shelf)))
    assert (client.requests[0].body, shelf.asked) == (body.replace(b'"gpt-4o"', b'"up-1"'), [])


def test_what_is_fetched_serves_every_target_of_the_request() -> None:
    shelf = Shelf()
    call = fakes.call_in(
        "anthropic_messages", message(URL, URL), bytes_only("a"), target("b", priority=1), bytes_only("c", priority=2)
    )
    answers = (Answer.failing(500), Answer.failing(500), Answer.json(WHOLE))
    _, responder, client = fakes.run(serve(call, *answers, settings=fetching(shelf)))
    assert (responder.status, shelf.asked) == (200, [URL])
    assert [sent_images(client, number) for number in range(3)] == [[DATA_URL] * 2, [URL] * 2, [DATA_URL] * 2]


def test_what_cannot_be_fetched_is_asked_for_once_and_another_target_may_do_it_itself() -> None:
    shelf = Shelf(URL)
    targets = (bytes_only("a"), bytes_only("b", priority=1), target("c", priority=2))
    call = fakes.call_in("anthropic_messages", message(URL), *targets)
    outcome, responder, client = fakes.run(serve(call, Answer.json(WHOLE), settings=fetching(shelf)))
    assert (responder.status, outcome.target, len(client.requests), shelf.asked) == (200, "c", 1, [URL])


@pytest.mark.parametrize(
    ("dialect", "body", "read"),
    [
        ("openai_chat", completion(URL), lambda found: found["error"]),
        ("anthropic_messages", message(URL), lambda found: found["error"]),
        (
            "gemini_generate",
            b'{"contents":[{"role":"user","parts":[{"fileData":{"fileUri":"%s","mimeType":"image/png"}}]}]}'
            % URL.encode(),
            lambda found: found["error"],
        ),
        (
            "openai_responses",
            b'{"model":"gpt-4o","input":[{"role":"user","content":[{"type":"input_image","image_url":"%s"}]}]}'
            % URL.encode(),
            lambda found: found["error"],
        ),
    ],
)
def test_a_picture_that_cannot_be_had_is_a_400_in_the_callers_dialect(
    dialect: str, body: bytes, read: Callable[[Any], Any]
) -> None:
    model = "gpt-4o" if dialect == "gemini_generate" else ""
    call = fakes.call_in(dialect, body, bytes_only(), model=model)
    outcome, responder, client = fakes.run(serve(call, settings=fetching(Shelf(URL))))
    error = read(json.loads(responder.body))
    assert (responder.status, client.requests, outcome.error) == (400, [], "image_not_fetched")
    assert "The image could not be fetched from its URL." in error["message"]
    if dialect.startswith("openai"):
        assert (error["type"], error["param"]) == ("invalid_request_error", "image_url")
    assert b"pictures.example" not in responder.body


def test_a_picture_in_a_tools_result_is_fetched_too() -> None:
    shelf = Shelf()
    turns = [
        {"role": "user", "content": "Look."},
        {"role": "assistant", "content": [{"type": "tool_use", "id": "t1", "name": "look", "input": {}}]},
        {
            "role": "user",
            "content": [
                {
                    "type": "tool_result",
                    "tool_use_id": "t1",
                    "content": [{"type": "image", "source": {"type": "url", "url": URL}}],
                }
            ],
        },
    ]
    tools = [{"name": "look", "input_schema": {"type": "object"}}]
    body = json.dumps({"model": "gpt-4o", "max_tokens": 8, "tools": tools, "messages": turns}).encode()
    call = fakes.call_in("anthropic_messages", body, bedrock())
    _, responder, client = fakes.run(serve(call, Answer.json(CONVERSED), settings=fetching(shelf)))
    assert (responder.status, shelf.asked) == (200, [URL])
    assert PNG_TEXT.encode() in (client.requests[0].body or b"")


def test_they_are_fetched_side_by_side_within_the_requests_time() -> None:
    places = [f"{URL}?{number}" for number in range(16)]
    begun: list[float] = []

    async def timed(shelf: Shelf) -> fakes.Served:
        start = fakes.now()
        served = await serve(
            fakes.call_in("anthropic_messages", message(*places), bytes_only()),
            Answer.json(WHOLE),
            settings=fetching(shelf),
        )
        begun.append(fakes.now() - start)
        return served

    _, responder, client = fakes.run(timed(Shelf(seconds=2.0)))
    assert (responder.status, sent_images(client)) == (200, [DATA_URL] * 16)
    assert begun[0] == pytest.approx(2.0, abs=0.5)


def test_when_the_requests_time_is_up_nothing_is_fetched_any_more() -> None:
    shelf = Shelf(seconds=30.0)
    call = fakes.call_in("anthropic_messages", message(URL, f"{URL}?2"), bytes_only())
    setting = dataclasses.replace(fetching(shelf), total_seconds=5.0)
    _, responder, client = fakes.run(serve(call, settings=setting))
    assert (responder.status, client.requests, shelf.given) == (504, [], 0)


def test_a_client_that_leaves_ends_it() -> None:
    shelf = Shelf(seconds=30.0)
    call = fakes.call_in("anthropic_messages", message(URL), bytes_only())
    outcome, _, client = fakes.run(serve(call, settings=fetching(shelf), leave_after=1.0))
    assert (outcome.client_gone, client.requests, shelf.given) == (True, [], 0)


def test_reasoning_that_is_taken_out_leaves_the_pictures_in() -> None:
    """An account that cannot read sealed reasoning is asked again without; the pictures are not fetched again."""
    refused = Answer.json(b'{"error":{"message":"Invalid signature in thinking block","type":"invalid_request"}}', 400)
    thinking = {"type": "thinking", "thinking": "Hm.", "signature": "c2ln"}
    body = json.loads(message(URL))
    body["messages"] += [
        {"role": "assistant", "content": [thinking, {"type": "text", "text": "A cat."}]},
        {"role": "user", "content": "Sure?"},
    ]
    shelf = Shelf()
    call = fakes.call_in("anthropic_messages", json.dumps(body).encode(), bytes_only())
    _, responder, client = fakes.run(serve(call, refused, Answer.json(WHOLE), settings=fetching(shelf)))
    assert (responder.status, shelf.asked) == (200, [URL])
    assert sent_images(client, 0) == sent_images(client, 1) == [DATA_URL]


def test_by_default_the_fetcher_connects_to_nothing_on_this_machine() -> None:
    connections: list[str] = []

    async def scenario() -> fakes.Served:
        async def connected(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            connections.append("came")
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: image/png\r\ncontent-length: 18\r\n\r\n" + PNG)
            writer.close()

        server = await asyncio.start_server(connected, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        served = None
        for allow, status in ((images.is_public, 400), (lambda address: address == HOME, 200)):
            fetcher = Fetcher(ports=None, allow=allow)
            call = fakes.call_in("anthropic_messages", message(f"http://127.0.0.1:{port}/a.png"), bytes_only())
            setting = attempts.Settings(fetch_picture=fetcher.fetch)
            served = await serve(call, Answer.json(WHOLE), settings=setting)
            fetcher.close()
            assert (served.responder.status, len(connections)) == (status, int(status == 200))
        server.close()
        assert served is not None
        return served

    with asyncio.Runner() as runner:  # a real socket, so real time
        served = runner.run(scenario())
    assert sent_images(served.client) == [DATA_URL]


HOME = ipaddress.ip_address("127.0.0.1")


def test_the_shortcut_is_left_to_those_without_pictures() -> None:
    shelf = Shelf()
    with UpstreamDouble() as double:
        account = hotpath.account("ollama", f"{double.url}/v1")
        eyes = target("ollama", dataclasses.replace(account, quirks=frozenset({"no_image_urls"})), model="llava")
        with hotpath.world(eyes, fetch_picture=shelf.fetch) as made:
            made.warm(double)
            for body, way in ((message(), "shortcut"), (message(URL), "task"), (message(), "shortcut")):
                made.forget()
                with connect(made.port) as raw:
                    assert raw.request("POST", "/v1/messages", body, hotpath.BEARER).answer().status == 200
                assert (made.accounted()[0].lost, made.handler.ways) == ((), [way])
            assert DATA_URL in double.requests[1].body.decode()
    assert shelf.asked == [URL]


# ---- the parts of it -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("dialect", "written_for", "wanted"),
    [
        ("openai_chat", WrittenFor(model="m"), False),
        ("openai_chat", WrittenFor(model="m", quirks=frozenset({"no_image_urls"})), True),
        ("bedrock_converse", WrittenFor(model="m"), True),
        ("bedrock_converse", WrittenFor(model="m", capabilities=Capabilities(vision=True)), True),
        ("bedrock_converse", WrittenFor(model="m", capabilities=Capabilities(vision=False)), False),
        ("gemini_generate", WrittenFor(model="m"), False),
        ("anthropic_messages", WrittenFor(model="m", quirks=frozenset({"no_image_urls"})), True),
    ],
)
def test_who_wants_them(dialect: str, written_for: WrittenFor, wanted: bool) -> None:
    assert pictures.are_wanted(dialect, written_for) is wanted


def request_of(*parts: exchange.Part) -> ChatRequest:
    return ChatRequest(model="m", turns=(Turn(role="user", parts=parts),))


def test_only_what_anybody_can_fetch_is_fetched_and_each_place_once() -> None:
    inside = ToolResult(call_id="c", content=(Image(source=Url("HTTP://b.example/")), Text(text="t")))
    request = request_of(
        Image(source=Url(URL)),
        Image(source=Url("gs://bucket/a.png")),
        Image(source=Url("s3://bucket/a.png")),
        Image(source=Inline("aGk=")),
        Image(source=exchange.FileId("f")),
        inside,
        Image(source=Url(URL), detail="high"),
    )
    assert pictures.urls(request) == (URL, "HTTP://b.example/")
    assert pictures.urls(exchange.EmbeddingsRequest(model="m", inputs=("a",))) == ()


async def test_too_many_or_too_large_together_are_refused() -> None:
    shelf = Shelf()
    with pytest.raises(errors.UnsupportedFeatureError, match="no more than 16 images"):
        await pictures.fetch_all([f"{URL}?{number}" for number in range(17)], shelf.fetch)
    assert shelf.asked == []
    large = Shelf(data=b"x" * (pictures.MAX_BYTES // 2))
    assert len(await pictures.fetch_all(["a", "b"], large.fetch)) == 2
    with pytest.raises(errors.UnsupportedFeatureError, match="bytes together") as caught:
        await pictures.fetch_all(["a", "b", "c"], large.fetch)
    assert (caught.value.status, caught.value.code) == (400, "image_not_fetched")


async def test_the_first_failure_ends_the_others() -> None:
    class Slow(Shelf):
        async def fetch(self, url: str) -> Fetched:
            self.seconds = 0.0 if url in self.unreachable else 30.0
            return await super().fetch(url)

    shelf = Slow("bad")
    async with asyncio.timeout(5):
        with pytest.raises(errors.UnsupportedFeatureError):
            await pictures.fetch_all(["a", "bad", "c"], shelf.fetch)
    assert (len(shelf.asked), shelf.given) == (3, 0)


IMAGES = st.builds(
    Image,
    source=st.one_of(st.sampled_from([Url(URL), Url("http://b.example/"), Url("gs://b/c")]), st.just(Inline("aGk="))),
    detail=st.sampled_from([None, "low"]),
)
PARTS = st.one_of(
    st.builds(Text, text=st.text(max_size=3)),
    IMAGES,
    st.builds(ToolResult, call_id=st.just("c"), content=st.lists(IMAGES, max_size=2).map(tuple)),
)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.builds(Turn, role=st.just("user"), parts=st.lists(PARTS, max_size=4).map(tuple)), max_size=3))
def test_putting_them_in_place_changes_nothing_else(turns: list[Turn]) -> None:
    request = ChatRequest(model="m", turns=tuple(turns))
    found = {url: pictures.Picture("image/png", Inline(PNG_TEXT)) for url in pictures.urls(request)}
    changed = pictures.inlined(request, found)
    assert pictures.urls(changed) == ()
    assert pictures.inlined(request, {}) == request
    if not found:
        assert changed == request
    before = [part for turn in request.turns for part in turn.parts if not isinstance(part, Image | ToolResult)]
    assert before == [part for turn in changed.turns for part in turn.parts if not isinstance(part, Image | ToolResult)]  # type: ignore[attr-defined]
