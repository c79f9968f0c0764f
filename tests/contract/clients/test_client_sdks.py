"""Official SDKs and frameworks, each through the gateway to upstreams of every dialect, and straight to the doubles.

A client's script (`scripts/`) runs once, in an environment of its own, and prints what it has read in every case on
every route; each cell of that table is a test here. A turn is: a question with a tool, the call, its result, the end.
"""

from __future__ import annotations

import functools
import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from clients import install
from harness.providers import script
from harness.providers.double import Providers
from harness.providers.front import CHAT_MODELS, ROUTES, UPSTREAM_KEY, Front

SCRIPTS = Path(__file__).resolve().parent / "scripts"
CALLS = {"get_weather": {"city": "Oslo"}}
RESULT = "9 degrees, marker-4711"
DIRECT = "direct"
TIMEOUT_SECONDS = 60

OPENAI, RESPONSES, ANTHROPIC, GOOGLE = (
    ("tool_calls", "stop"),
    ("completed", "completed"),
    ("tool_use", "end_turn"),
    ("STOP", "STOP"),
)
EMBEDDING_ROUTES = frozenset({DIRECT, *(name for name, route in ROUTES.items() if route.embedding_model)})


@dataclass(frozen=True, slots=True)
class Client:
    """A script, and its cases.

    Attributes:
        turns: cases that are a turn, and the finish that they read of its two answers; each runs streamed too.
        others: cases that are something else, by what is checked of them.
        moves: its turns also run from one route to another, streamed.
        blind: cases that do not read thoughts, though the answer brings them.
    """

    name: str
    environment: str
    turns: Mapping[str, tuple[str, str] | None]
    others: tuple[str, ...] = ()
    blind: frozenset[str] = frozenset()
    moves: bool = False
    reads: tuple[str, ...] = ("first", "thought", "call", "finish", "last", "usage")

    @property
    def cases(self) -> list[tuple[str, str]]:
        """All, each with its kind."""
        turns = [("turns", case + end) for case in self.turns for end in ("", "-stream")]
        return turns + [("others", case) for case in self.others]


CLIENTS = {
    each.name: each
    for each in (
        Client("openai_sdk", "sdks", {"chat": OPENAI, "responses": RESPONSES}, ("embeddings", "models"), moves=True),
        Client(
            "anthropic_sdk", "sdks", {"messages": ANTHROPIC}, ("runner", "runner-stream", "count", "models"), moves=True
        ),
        Client("google_sdk", "sdks", {"generate": GOOGLE}, ("calling", "count", "embeddings", "models"), moves=True),
        Client("litellm_sdk", "frameworks", {"openai": OPENAI, "anthropic": OPENAI, "gemini": OPENAI}),
        Client(
            "langchain_sdk",
            "frameworks",
            {"openai": OPENAI, "responses": RESPONSES, "anthropic": ANTHROPIC, "google": GOOGLE},
            blind=frozenset({"openai"}),
        ),
        Client(
            "llamaindex_sdk",
            "frameworks",
            {"openai": None, "responses": None, "anthropic": None, "google": None},
            reads=("first", "call", "last"),
        ),
        Client("agents_sdk", "frameworks", {}, ("chat", "chat-stream", "responses", "responses-stream")),
    )
}


@dataclass(frozen=True, slots=True)
class Ran:
    """What a script has printed, and what the doubles refused meanwhile, by route."""

    results: Mapping[str, Any]
    refused: Mapping[str, list[str]]
    bodies: Mapping[str, list[Any]] = field(default_factory=dict)


# Chat completions that ask for effort alone: OpenAI's Responses show a summary of the thought only where one is asked
# for, and not to every organisation, so asking unasked could be refused.
UNASKED = {("openai_sdk", "chat"), ("litellm_sdk", "openai")}


@pytest.fixture(scope="module")
def direct() -> Iterator[Providers]:
    with Providers(key=UPSTREAM_KEY) as providers:
        yield providers


@pytest.fixture(scope="module")
def ran(fronts: Mapping[str, Front], direct: Providers) -> Any:
    """Run a client's script, once."""

    @functools.cache
    def run(name: str) -> Ran:
        client = CLIENTS[name]
        doubles = {DIRECT: direct, **{route: front.providers for route, front in fronts.items()}}
        for double in doubles.values():
            double.clear(CALLS)
        routes = {DIRECT: {"url": direct.url, "key": UPSTREAM_KEY}}
        routes |= {route: {"url": front.url, "key": front.key} for route, front in fronts.items()}
        python = install.locate(client.environment) / "bin" / "python"
        begun = time.monotonic()
        settings = environment() | {"ROUTES": json.dumps(routes), "TOOL_RESULT": RESULT}
        code, printed, said = played([str(python), "-X", "faulthandler", str(SCRIPTS / f"{name}.py")], settings)
        print(f"{name}: {time.monotonic() - begun:.1f} s\n{said[-20_000:]}")
        assert code == 0, said[-5_000:]
        bodies = {
            route: [json.loads(request.body) for request in double.upstream.requests if request.body]
            for route, double in doubles.items()
        }
        refused = {route: list(double.refused) for route, double in doubles.items()}
        return Ran(json.loads(printed.splitlines()[-1]), refused, bodies)

    return run


def played(argv: list[str], env: Mapping[str, str]) -> tuple[int, str, str]:
    """Run to the end; what hangs says where."""
    with subprocess.Popen(argv, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as running:
        try:
            printed, said = running.communicate(timeout=TIMEOUT_SECONDS)
        except subprocess.TimeoutExpired:
            running.send_signal(signal.SIGABRT)  # faulthandler writes every thread's stack
            printed, said = running.communicate()
        return running.returncode, printed, said


def environment() -> dict[str, str]:
    """Nothing of the user's, and no way out but the loopback interface."""
    nowhere = "http://127.0.0.1:9"
    proxies = {f"{scheme}_proxy": nowhere for scheme in ("http", "https", "all")}
    return {
        "PATH": os.environ["PATH"],
        "LANG": "C.UTF-8",
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",
        "PYTHONWARNINGS": "ignore",
        "no_proxy": "127.0.0.1",
        **proxies,
    }


def cells(kind: str) -> list[Any]:
    """Every case of every client, on every route."""
    found = [
        (client.name, case, route)
        for client in CLIENTS.values()
        for each, case in client.cases
        for route in (DIRECT, *ROUTES)
        if each == kind
    ]
    return [cell for cell in found if cell[1] != "embeddings" or cell[2] in EMBEDDING_ROUTES]


@pytest.mark.parametrize(("name", "case", "route"), cells("turns"))
def test_a_turn_with_a_tool(ran: Any, name: str, case: str, route: str) -> None:
    done = ran(name)
    read = done.results[f"{route}/{case}"]
    assert "error" not in read, (read, done.refused[route])
    check(read, CLIENTS[name], case.removesuffix("-stream"), route)


@pytest.mark.parametrize("then", ROUTES)
@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize(
    ("name", "case"), [(client.name, case) for client in CLIENTS.values() if client.moves for case in client.turns]
)
def test_a_conversation_goes_on_elsewhere(ran: Any, name: str, case: str, route: str, then: str) -> None:
    """What one model has thought and sealed does not hinder the next, which did not make it."""
    if route == then:
        return
    done = ran(name)
    read = done.results[f"{route}>{then}/{case}-moved"]
    assert "error" not in read, (read, done.refused[then])
    check(read, CLIENTS[name], case, route)


def check(read: dict[str, Any], client: Client, case: str, route: str) -> None:
    """Compare what was read of a turn whose first answer came from ``route``."""
    unseen = case in client.blind or (route == "responses" and (client.name, case) in UNASKED)
    wanted: dict[str, Any] = {
        "first": script.ANNOUNCED,
        "thought": None if unseen else script.THOUGHT,
        "call": ["get_weather", CALLS["get_weather"]],
        "finish": list(client.turns[case] or ()),
        "usage": [script.INPUT_TOKENS, script.CACHED_TOKENS, script.OUTPUT_TOKENS],
    }
    found = {key: value or None if key == "thought" else value for key, value in read.items() if key != "last"}
    assert found == {key: value for key, value in wanted.items() if key in client.reads}
    assert read["last"].startswith(script.REPEATED)
    assert RESULT in read["last"]


@pytest.mark.parametrize(("name", "case", "route"), cells("others"))
def test_the_rest_of_what_a_client_can(ran: Any, name: str, case: str, route: str) -> None:
    done = ran(name)
    read = done.results[f"{route}/{case}"]
    assert "error" not in read, (read, done.refused[route])
    match case:
        case "models":
            listed = {each.removeprefix("models/") for each in read["models"]}
            assert set(CHAT_MODELS) <= listed
        case "embeddings":
            assert read["vectors"] == [[1.0, 0.0], [1.0, 0.0]]
        case "count":
            assert read["count"] == script.INPUT_TOKENS or (route in ("chat", "responses") and read["count"] > 0)
        case _:  # a loop of the client's own
            assert read["turns"] == 2
            assert RESULT in read["last"]
            twice = [2 * script.INPUT_TOKENS, 2 * script.CACHED_TOKENS, 2 * script.OUTPUT_TOKENS]
            assert read.get("usage", twice) == twice


ERRORS = {
    ("openai_sdk", "chat-errors"): ("AuthenticationError", "NotFoundError"),
    ("openai_sdk", "responses-errors"): ("AuthenticationError", "NotFoundError"),
    ("anthropic_sdk", "errors"): ("AuthenticationError", "NotFoundError"),
    ("google_sdk", "errors"): ("ClientError", "ClientError"),
}


@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize("end", ["", "-stream"])
@pytest.mark.parametrize(("name", "case"), ERRORS)
def test_a_refusal_is_the_exception_that_the_client_knows(ran: Any, name: str, case: str, end: str, route: str) -> None:
    read = ran(name).results[f"{route}/{case}{end}"]
    unauthenticated, missing = ERRORS[name, case]
    assert [each[:2] for each in read.values()] == [[unauthenticated, 401], [missing, 404], [missing, 404]]
    assert "no-such-model" in read["model"][2]
    assert "no model missing-upstream" in read["upstream"][2]


@pytest.mark.parametrize("route", [DIRECT, *ROUTES])
@pytest.mark.parametrize("name", CLIENTS)
def test_no_strict_provider_would_refuse_what_it_gets(ran: Any, name: str, route: str) -> None:
    assert [each for each in ran(name).refused[route] if "missing-upstream" not in each] == []


# What passes through as it came, null and all, is not ours.
OWN = {"openai_sdk": {"chat", "responses"}, "anthropic_sdk": {"messages"}, "google_sdk": {"generate"}}


@pytest.mark.parametrize(
    ("name", "route"), [(name, route) for name in OWN for route in ROUTES if route not in OWN[name]]
)
def test_nothing_that_was_translated_says_null(ran: Any, name: str, route: str) -> None:
    for body in ran(name).bodies[route]:
        assert [key for key, value in body.items() if value is None] == []
