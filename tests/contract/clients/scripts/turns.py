"""Shared by the scripts beside it, each of which is one client in an environment of its own.

A script prints one JSON object: results by ``route/case``, or ``route>then/case`` for what moves from one to another.
A route is a place to call: ``{"chat": {"url", "key"}}`` in ``ROUTES``. A case is a function from a route to what the
client has read; what it raises is its result too.
"""

import contextlib
import json
import os
import sys
import time
import traceback
from collections.abc import Callable, Mapping
from typing import Any

PROMPT = "What is the weather in Oslo?"
TOOL = "get_weather"
DESCRIPTION = "The weather of a city."
PARAMETERS = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
RESULT = os.environ.get("TOOL_RESULT", "9 degrees")
TIMEOUT_SECONDS = 20


def get_weather(city: str) -> str:
    """The weather of a city.

    Args:
        city: its name.
    """
    assert city == "Oslo", city
    return RESULT


class Route:
    """Where to call. ``url`` has no ``/v1``; ``then``: where the conversation goes on, elsewhere perhaps."""

    def __init__(self, url: str, key: str, then: "Route | None" = None) -> None:
        self.url = url
        self.key = key
        self.v1 = f"{url}/v1"
        self.then = then or self


def usage(input_tokens: int, cached_tokens: int, output_tokens: int) -> list[int]:
    """Of an answer: all of the input, what of it came from a cache, all of the output."""
    return [input_tokens, cached_tokens, output_tokens]


def refused(ask: Callable[[str, str], Any], key: str) -> dict[str, list[Any]]:
    """What a client makes of refusals: of a key, of a model by the gateway, of a model by the upstream.

    ``ask``: sends a small request with a key and a model.
    """
    found = {}
    asked = {"key": ("sk-wrong", "gpt-5"), "model": (key, "no-such-model"), "upstream": (key, "missing-model")}
    for name, (with_key, model) in asked.items():
        try:
            ask(with_key, model)
            found[name] = ["nothing", 200, ""]
        except Exception as error:  # noqa: BLE001  of any client; the test judges
            status = getattr(error, "status_code", None) or getattr(error, "code", None)
            found[name] = [type(error).__name__, status, str(error)]
    return found


def run(cases: Mapping[str, Callable[[Route], Any]]) -> None:
    """Run every case on every route, and print what came of it."""
    results: dict[str, Any] = {}
    routes = {name: Route(**route) for name, route in json.loads(os.environ["ROUTES"]).items()}
    with contextlib.redirect_stdout(sys.stderr):  # clients print
        for case, function in cases.items():
            for name, route in _ways(case, routes).items():
                if name not in getattr(function, "routes", [name]):
                    continue
                begun = time.monotonic()
                try:
                    result = function(route)
                except Exception as error:  # noqa: BLE001  of any client; the test judges
                    traceback.print_exc()
                    result = {"error": f"{type(error).__name__}: {error}"[:1500]}
                results[f"{name}/{case}"] = result
                print(f"{name}/{case} {time.monotonic() - begun:.2f} s", flush=True)
    print(json.dumps(results))


def _ways(case: str, routes: dict[str, Route]) -> dict[str, Route]:
    if "errors" in case:  # of the gateway
        return {name: route for name, route in routes.items() if name != "direct"}
    if not case.endswith("-moved"):
        return routes
    return {
        f"{name}>{other}": Route(route.url, route.key, then)
        for name, route in routes.items()
        for other, then in routes.items()
        if "direct" not in (name, other) and name != other
    }


def only(*routes: str) -> Callable[[Callable[[Route], Any]], Callable[[Route], Any]]:
    """Mark a case as one for these routes."""

    def mark(function: Callable[[Route], Any]) -> Callable[[Route], Any]:
        function.routes = routes  # type: ignore[attr-defined]
        return function

    return mark
