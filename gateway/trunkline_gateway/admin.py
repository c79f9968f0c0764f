"""The admin port: metrics, health, and what is served. Not for clients; no answer holds a secret."""

import asyncio
from collections.abc import Mapping
from typing import Protocol, cast

from fastapi import FastAPI, Response
from fastapi.responses import JSONResponse, PlainTextResponse
from uvicorn._types import ASGI3Application

from trunkline_gateway.telemetry import metrics


class State(Protocol):
    """What the admin port shows."""

    @property
    def metrics(self) -> metrics.Metrics:
        """What ``/metrics`` renders."""
        ...

    def settle(self) -> None:
        """Account for every request that is over, so that what is rendered next knows of it."""
        ...

    def unready_reason(self) -> str | None:
        """Why no traffic should come here, in a sentence; None: it may."""
        ...

    def describe_table(self) -> Mapping[str, object]:
        """What ``/debug/table`` says."""
        ...


def application(state: State) -> ASGI3Application:
    """Make the application of the admin port."""
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)

    async def render_metrics() -> Response:
        state.settle()
        return Response(await asyncio.to_thread(state.metrics.render), media_type=metrics.CONTENT_TYPE)

    async def live() -> Response:
        return PlainTextResponse("ok\n")

    async def ready() -> Response:
        reason = state.unready_reason()
        return PlainTextResponse("ok\n") if reason is None else PlainTextResponse(f"{reason}\n", status_code=503)

    async def table() -> Response:
        return JSONResponse(state.describe_table())

    for path, endpoint in (
        ("/metrics", render_metrics),
        ("/healthz", live),
        ("/readyz", ready),
        ("/debug/table", table),
    ):
        app.add_api_route(path, endpoint, methods=["GET", "HEAD"], response_model=None)
    return cast("ASGI3Application", app)
