"""What the public port serves beside the APIs, without a key: health, and the probe of some clients.

There are no docs here: the APIs are the dialects' own, documented by whoever made them.
"""

from typing import cast

from fastapi import FastAPI, Response
from fastapi.responses import JSONResponse
from uvicorn._types import ASGI3Application

PATHS = frozenset({"/", "/health", "/healthz"})


def application() -> ASGI3Application:
    """Make the application."""
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)

    async def health() -> Response:
        return JSONResponse({"status": "ok"})

    for path in PATHS:
        app.add_api_route(path, health, methods=["GET", "HEAD"], response_model=None)
    return cast("ASGI3Application", app)
