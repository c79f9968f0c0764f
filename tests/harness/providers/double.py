"""One server that is four providers: the path says which, and each answers and refuses in its own dialect.

    with Providers({"get_weather": {"city": "Oslo"}}) as providers:
        ...  # providers.url + "/v1" for OpenAI's SDK, providers.url for Anthropic's and Google's
        assert not providers.refused

``python tests/harness/providers/double.py`` runs one for people.
"""

from __future__ import annotations

import re
import sys
import threading
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

if __name__ == "__main__":  # run as a script: ``harness`` is imported as the test runner imports it
    sys.path[0] = str(Path(__file__).resolve().parents[2])

from harness.answers import Answer
from harness.providers import anthropic_messages, gemini_generate, openai_chat, openai_responses
from harness.providers.script import RefusedError, Script, Turn
from harness.upstream import Upstream
from harness.wire import Request

MODELS = ("gpt-5", "claude-sonnet-4-5", "gemini-2.5-pro")
_GEMINI = re.compile(r"/v1(?:beta)?/models/(?P<model>[^/:]+):(?P<method>[A-Za-z]+)")
_POSTS: Mapping[str, Callable[[Request, Script], Answer]] = {
    "/v1/chat/completions": openai_chat.answer,
    "/v1/embeddings": openai_chat.embeddings,
    "/v1/responses": openai_responses.answer,
    "/v1/responses/input_tokens": openai_responses.count,
    "/v1/messages": anthropic_messages.answer,
    "/v1/messages/count_tokens": anthropic_messages.count,
}
_ANTHROPIC_TYPES = {400: "invalid_request_error", 401: "authentication_error", 404: "not_found_error"}
_GOOGLE_STATUSES = {400: "INVALID_ARGUMENT", 401: "UNAUTHENTICATED", 404: "NOT_FOUND"}


class Providers:
    """The double.

    Args:
        calls: arguments by the names of tools that its model knows; see `Script`.
        key: the only key that it takes; empty: any.
        models: the only models that it has, beside those that it lists; empty: any.

    Attributes:
        upstream: the server, with what it received.
        refused: what it refused, as ``path: message``; empty after a test that is well.
    """

    def __init__(
        self, calls: Mapping[str, Mapping[str, object]] = {}, *, key: str = "", models: Collection[str] = ()
    ) -> None:
        self._key = key
        self._models = models
        self.script = Script(calls)
        self.refused: list[str] = []
        self.upstream = Upstream(self._answer)

    def __enter__(self) -> Self:
        self.upstream.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.upstream.stop()

    @property
    def url(self) -> str:
        """``http://127.0.0.1:PORT``."""
        return self.upstream.url

    @property
    def turns(self) -> list[Turn]:
        """What the requests since the last `clear` came to."""
        return list(self.script.turns)

    def clear(self, calls: Mapping[str, Mapping[str, object]] | None = None) -> None:
        """Forget what came, and perhaps learn other tools."""
        self.upstream.clear()
        self.refused.clear()
        self.script.turns.clear()
        self.script.insists = True
        self.script.at_once = self.script.rounds = 1
        if calls is not None:
            self.script.calls = calls

    def _answer(self, request: Request) -> Answer:
        try:
            return self._route(request)
        except RefusedError as refused:
            if refused.details is None:  # with details, clients know what to do about it
                self.refused.append(f"{request.method} {request.path}: {refused}")
            return _error(request, refused)

    def _route(self, request: Request) -> Answer:
        if request.method == "HEAD":
            return Answer()
        if request.method == "POST":
            self._check(request)
            if (answer := _POSTS.get(request.path)) is not None:
                return answer(request, self.script)
        if request.path == "/v1/responses" and request.header("upgrade"):
            return Answer.openai_error(426, "no websockets here", kind="invalid_request_error")
        if request.method == "GET" and request.path in ("/v1/models", "/v1beta/models"):
            return _models(request)
        if request.method == "GET" and (named := re.fullmatch(r"/v1(?:beta)?/models/([^/:]+)", request.path)):
            return _model(request, named[1])
        if request.method == "POST" and (found := _GEMINI.fullmatch(request.path)):
            return self._gemini(request, found["model"], found["method"])
        raise RefusedError(f"no {request.method} {request.path} here", status=404)

    def _check(self, request: Request) -> None:
        key = request.key or request.query.get("key", "")
        if not key or self._key not in ("", key):
            raise RefusedError(f"the key is {key[:4]}…", status=401)
        found = _GEMINI.fullmatch(request.path)
        model = found["model"] if found else request.model
        if self._models and model not in self._models:
            raise RefusedError(f"no model {model}", status=404)

    def _gemini(self, request: Request, model: str, method: str) -> Answer:
        match method:
            case "generateContent" | "streamGenerateContent":
                return gemini_generate.answer(request, self.script, model, stream=method.startswith("stream"))
            case "countTokens":
                return gemini_generate.count(request, self.script, model)
            case "embedContent" | "batchEmbedContents":
                return gemini_generate.embed(request, self.script, model, batch=method.startswith("batch"))
        raise RefusedError(f"no method {method}", status=404)


def _row(request: Request, name: str) -> dict[str, object]:
    if request.header("anthropic-version"):
        return {"type": "model", "id": name, "display_name": name, "created_at": "2026-01-01T00:00:00Z"}
    if request.header("x-goog-api-key"):
        limits = {"inputTokenLimit": 100_000, "outputTokenLimit": 8_192}
        return {"name": f"models/{name}", "displayName": name, "version": "1", **limits}
    return {"id": name, "object": "model", "created": 1_700_000_000, "owned_by": "double"}


def _model(request: Request, name: str) -> Answer:
    if name not in MODELS:
        raise RefusedError(f"no model {name}", status=404)
    return Answer.json(_row(request, name))


def _models(request: Request) -> Answer:
    rows = [_row(request, name) for name in MODELS]
    if request.header("anthropic-version"):
        return Answer.json({"data": rows, "has_more": False, "first_id": MODELS[0], "last_id": MODELS[-1]})
    if request.header("x-goog-api-key"):
        return Answer.json({"models": rows})
    return Answer.json({"object": "list", "data": rows})


def _error(request: Request, refused: RefusedError) -> Answer:
    status, message = refused.status, str(refused)
    if "/messages" in request.path:
        kind = _ANTHROPIC_TYPES.get(status, "invalid_request_error")
        error: dict[str, object] = {"type": kind, "message": message}
        if refused.details is not None:
            error["details"] = refused.details
        return Answer.json({"type": "error", "error": error}, status)
    if _GEMINI.fullmatch(request.path):
        code = _GOOGLE_STATUSES.get(status, "INVALID_ARGUMENT")
        return Answer.json({"error": {"code": status, "message": message, "status": code}}, status)
    return Answer.openai_error(status, message, kind="invalid_request_error")


def main() -> None:
    """Run a double in the foreground until interrupted."""
    with Providers({"get_weather": {"city": "Oslo"}}) as providers:
        print(f"listening on {providers.url}", flush=True)
        threading.Event().wait()


if __name__ == "__main__":
    main()
