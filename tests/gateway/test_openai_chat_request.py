"""The envelope of a request: read without being touched."""

import json
import time

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trunkline_gateway import envelope
from trunkline_gateway.dialects.openai_chat import request as openai_request
from trunkline_gateway.errors import InvalidRequestError

TEXT = st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=20)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=20,
)


def parse(body: bytes) -> envelope.Request:
    return envelope.parse(body, "chat", "openai_chat", openai_request.read_envelope)


def encode(body: bytes, model: str, *, add_usage: bool = False) -> bytes:
    return openai_request.encode(parse(body), model, add_usage=add_usage)


def refusal(body: bytes) -> InvalidRequestError:
    with pytest.raises(InvalidRequestError) as caught:
        parse(body)
    assert caught.value.status == 400
    assert caught.value.message.endswith(".")
    return caught.value


def test_only_what_routing_needs_is_read() -> None:
    request = parse(b'{"stream":true,"model":"gpt-4o","stream_options":{"include_usage":true},"messages":[]}')
    assert (request.model, request.stream, request.includes_usage) == ("gpt-4o", True, True)
    assert list(request.fields) == ["stream", "model", "stream_options", "messages"]
    request = parse(b'{"model":"gpt-4o","stream":null,"stream_options":null}')
    assert (request.stream, request.includes_usage) == (False, False)


def test_every_byte_but_the_models_survives() -> None:
    body = b' {"temperature": 1.0e0 , "model":"a", "x":[1,  2.50, "\\u00e9"],\n"seed":12345678901234567890} '
    assert encode(body, "up") == body.replace(b'"a"', b'"up"')
    assert encode(b'{"x":{"model":"a"},"m\\u006fdel" : "a"}', "up") == b'{"x":{"model":"a"},"m\\u006fdel" : "up"}'


def test_nothing_is_written_where_nothing_changes() -> None:
    body = b' {"model": "a" , "stream": true} '
    assert encode(body, "a") == body


@pytest.mark.parametrize(
    ("options", "sent"),
    [
        (b"", b'{"include_usage":true}'),
        (b',"stream_options":null', b'{"include_usage":true}'),
        (b',"stream_options":{"include_usage":false,"x":1.0}', b'{"include_usage":true,"x":1.0}'),
        (b',"stream_options":{"include_obfuscation": false}', b'{"include_obfuscation":false,"include_usage":true}'),
    ],
)
def test_usage_is_asked_for_where_the_client_did_not(options: bytes, sent: bytes) -> None:
    request = parse(b'{"model":"a","stream":true' + options + b"}")
    assert msgspec.json.decode(openai_request.encode(request, "a", add_usage=True))[
        "stream_options"
    ] == msgspec.json.decode(sent)
    assert sent in openai_request.encode(request, "a", add_usage=True)


def test_usage_is_not_asked_for_twice_nor_of_a_whole_answer() -> None:
    for body in (b'{"model":"a","stream":true,"stream_options":{"include_usage": true}}', b'{"model":"a"}'):
        assert encode(body, "a", add_usage=True) == body


@given(st.dictionaries(TEXT.map(lambda name: f"x{name}"), JSON, max_size=5), st.booleans())
def test_any_request_means_the_same_but_for_its_model(members: dict[str, object], ascii_only: bool) -> None:
    body = json.dumps({"model": "mine", **members}, ensure_ascii=ascii_only).encode()
    sent = encode(body, "theirs")
    assert json.loads(sent) == {**members, "model": "theirs"}


SPACE = st.sampled_from(["", "", " ", "\n", "  "])
VALUE = st.sampled_from(
    ['"a"', "1", "12", "null", "[]", '{"x": 1, "y": 2}', '{"y":2}', '"\\"x\\": 1, \\"y\\""', '", "', '"}"', "[1, 2]"]
)


@st.composite
def written(draw: st.DrawFn) -> bytes:
    """An object with few names, some of them twice or escaped, in all ways to space it."""
    style = draw(st.sampled_from(["compact", "spaced", "any"]))
    members = []
    for name in [
        "model",
        *draw(st.lists(st.sampled_from(["x", "y", "n", "", 'a"b', "back\\", "é", "model"]), max_size=6)),
    ]:
        spelled = json.dumps(name, ensure_ascii=draw(st.booleans()))
        if name == "x" and draw(st.integers(0, 9)) == 0:
            spelled = '"\\u0078"'
        value = '"a"' if name == "model" else draw(VALUE)
        if style == "any":
            members.append(draw(SPACE) + spelled + draw(SPACE) + ":" + draw(SPACE) + value + draw(SPACE))
        else:
            members.append(spelled + (": " if style == "spaced" else ":") + value)
    members = draw(st.permutations(members))
    body = "{" + (", " if style == "spaced" else ",").join(members) + "}"
    return (draw(SPACE) + body + draw(SPACE) if style == "any" else body).encode()


@given(written())
def test_a_name_that_occurs_twice_is_always_found_and_no_other_is(body: bytes) -> None:
    pairs: list[tuple[str, object]] = json.loads(body, object_pairs_hook=list)
    names = [name for name, _ in pairs]
    twice = next((name for place, name in enumerate(names) if name in names[:place]), None)
    if twice is not None:
        assert refusal(body).param == twice
        return
    request = parse(body)
    assert list(request.fields) == names
    assert json.loads(openai_request.encode(request, "up"), object_pairs_hook=list) == [
        (name, "up" if name == "model" else value) for name, value in pairs
    ]


@given(st.dictionaries(st.from_regex(r"[a-z_]{1,9}", fullmatch=True), JSON, max_size=6), st.booleans(), st.booleans())
def test_a_body_in_a_usual_spelling_is_proven_to_be_without_duplicates_by_it(
    members: dict[str, object], compact: bool, asked: bool
) -> None:
    members = {"model": "a", **{f"x{name}": value for name, value in members.items()}, "stream": True}
    if asked:
        members["stream_options"] = {"x": 1}
    separators = (",", ":") if compact else (", ", ": ")
    request = parse(json.dumps(members, separators=separators).encode())
    assert request.spaces == (0 if compact else 1)
    assert json.loads(openai_request.encode(request, "b")) == {**members, "model": "b"}
    options = {"x": 1, "include_usage": True} if asked else {"include_usage": True}
    assert json.loads(openai_request.encode(request, "a", add_usage=True)) == {**members, "stream_options": options}


@pytest.mark.parametrize(
    "body",
    [
        b'{"model":"aaaaaaaaaaaaaa","x":1,"model":"a"}',  # as long as if it were spaced
        b'{"x": {"y": 1, "model": "a"}, "model": "b", "x": {"y": 1}}',
        b'{"model":"a","":1,"":1}',
        b'{"model": "a", "x": 12, "x": 1}',
        b'{"model": "a", "\\u0078": 1, "x": 1}',
    ],
)
def test_what_comes_near_a_usual_spelling_is_looked_at(body: bytes) -> None:
    assert "more than once" in refusal(body).message


@pytest.mark.parametrize(
    ("body", "param", "words"),
    [
        (b"", None, "empty"),
        (b"  \n", None, "empty"),
        (b"not json", None, "not valid JSON"),
        (b'{"model":"a"} {}', None, "not valid JSON"),
        (b'{"model":"a","x":tru}', None, "not valid JSON"),
        (b'{"model":"a","x":NaN}', None, "not valid JSON"),
        (b'\xef\xbb\xbf{"model":"a"}', None, "not valid JSON"),
        (b'[{"model":"a"}]', None, "JSON object"),
        (b'"a"', None, "JSON object"),
        (b'{"messages":[]}', "model", "missing"),
        (b'{"model":null}', "model", "string"),
        (b'{"model":["a"]}', "model", "string"),
        (b'{"model":7}', "model", "string"),
        (b'{"model":""}', "model", "empty"),
        (b'{"model":"' + b"m" * 254 + b'"}', "model", "253"),
        (b'{"model":"gpt\\u0000"}', "model", "control"),
        (b'{"model":"gpt\\r\\nx: y"}', "model", "control"),
        (b'{"model":"a","stream":"true"}', "stream", "true or false"),
        (b'{"model":"a","stream":1}', "stream", "true or false"),
        (b'{"model":"a","stream_options":true}', "stream_options", "object"),
        (b'{"model":"a","stream_options":[]}', "stream_options", "object"),
        (b'{"model":"a","stream_options":{"include_usage":"yes"}}', "stream_options.include_usage", "true or false"),
        (b'{"model":"a","model":"b"}', "model", "more than once"),
        (b'{"model":"a","x":1,"x":1}', "x", "more than once"),
        (b'{"x":1,"model":"a","x":12}', "x", "more than once"),
        (b'{"x":1,"model":"a","\\u0078":{"y":[]}}', "x", "more than once"),
        (b'{"model":"a","x":"\xff"}', None, "UTF-8"),
        (b'{"model":"a","x":{"y":["\xed\xa0\x80"]}}', None, "UTF-8"),
        (b'{"model":"a","\xc3":1}', None, "UTF-8"),
        (b'{"model":"a\xe6\x97"}', None, "UTF-8"),
    ],
)
def test_what_is_wrong_is_said_in_a_sentence_that_names_the_field(body: bytes, param: str | None, words: str) -> None:
    error = refusal(body)
    assert error.param == param
    assert words in error.message


def test_names_inside_of_values_may_be_repeated_and_look_alike() -> None:
    assert parse(b'{"model":"a","x":{"model":"b","model":"c"},"y":"\\"model\\":"}').model == "a"
    assert parse('{"модель":1,"model":"日本"}'.encode()).model == "日本"


@pytest.mark.parametrize("depth", [128, 200, 900, 5_000, 1_000_000])
@pytest.mark.parametrize(("opening", "closing"), [(b"[", b"]"), (b'{"a":', b"}")])
def test_deep_nesting_is_refused_at_once(depth: int, opening: bytes, closing: bytes) -> None:
    body = b'{"model":"a","x":' + opening * depth + b"1" + closing * depth + b"}"
    begun = time.perf_counter()
    assert "128 levels" in refusal(body).message
    assert time.perf_counter() - begun < 2


def test_nesting_within_the_bound_and_brackets_in_strings_are_fine() -> None:
    assert parse(b'{"model":"a","x":' + b"[" * 127 + b"]" * 127 + b"}").model == "a"
    assert parse(b'{"model":"a","x":"' + b'[{\\"\\\\' * 5_000 + b'","y":[' + b"[]," * 500 + b"[]]}").model == "a"


@pytest.mark.parametrize("separators", [(",", ":"), (", ", ": ")])
def test_many_messages_are_not_deep_and_deep_ones_are_found_among_them(separators: tuple[str, str]) -> None:
    messages: list[object] = [{"role": "user", "content": 'code: [{"},{"role":'} for _ in range(1_000)]
    assert parse(json.dumps({"model": "a", "messages": messages}, separators=separators).encode()).model == "a"
    deep: object = "x"
    for _ in range(130):
        deep = [{"role": "user"}, {"role": deep}]
    body = json.dumps({"model": "a", "messages": [*messages, deep]}, separators=separators).encode()
    assert "128 levels" in refusal(body).message


def test_an_unclosed_depth_is_refused_too() -> None:
    refusal(b'{"model":"a","x":' + b"[" * 1_000_000)


@pytest.mark.parametrize("field", ["api_base", "base_url", "api_key", "custom_host", "extra_headers"])
def test_case_24_no_request_chooses_a_host_or_a_credential(field: str) -> None:
    error = refusal(b'{"model":"a","%s":"http://169.254.169.254/"}' % field.encode())
    assert error.param == field


def test_a_parsed_request_does_not_show_its_prompt() -> None:
    assert "secret prompt" not in repr(parse(b'{"model":"a","messages":["secret prompt"]}'))


def test_a_large_body_is_read_quickly() -> None:
    body = b'{"model":"a","messages":["' + "日本語 🦊".encode() * 500_000 + b'"]}'
    begun = time.perf_counter()
    parse(body)
    assert time.perf_counter() - begun < 1
