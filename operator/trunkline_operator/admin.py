"""The admin port: is it alive, is it ready and why not, what does it count, what do its gateways do.

It shows names, versions and numbers; never a secret or the content of a table.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final

from aiohttp import web

_RELIST_SECONDS: Final = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Pages:
    """What the pages show.

    Attributes:
        why_not_ready: Reasons; none: ready.
        warnings: What does not work, and does not make it unready.
        metrics: The text for Prometheus.
        gateways: JSON.
        replicas: JSON: who holds the Lease, and who reports to whom; None where there is one replica only.
        relist: Looks at everything again; None where the source has no such thing.
    """

    why_not_ready: Callable[[], list[str]]
    metrics: Callable[[], bytes]
    gateways: Callable[[], Any]
    replicas: Callable[[], Any] | None = None
    relist: Callable[[], Awaitable[None]] | None = None
    warnings: Callable[[], list[str]] = list


async def serve(host: str, port: int, pages: Pages) -> web.AppRunner:
    """Start to serve; the caller calls ``cleanup()`` of what it gets.

    Raises:
        OSError: the port is taken.
    """
    application = web.Application(client_max_size=1 << 16)
    application.add_routes(_routes(pages))
    runner = web.AppRunner(application, access_log=None, handle_signals=False, shutdown_timeout=0.5)
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port).start()
    except OSError:
        await runner.cleanup()
        raise
    return runner


def _routes(pages: Pages) -> list[web.RouteDef]:
    async def healthz(_: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    async def readyz(_: web.Request) -> web.Response:
        reasons = pages.why_not_ready()
        if reasons:
            return web.Response(status=503, text="".join(f"not ready: {reason}\n" for reason in reasons))
        return web.Response(text="ok\n" + "".join(f"warning: {each}\n" for each in pages.warnings()))

    async def metrics(_: web.Request) -> web.Response:
        content_type = "text/plain; version=0.0.4; charset=utf-8"
        return web.Response(body=pages.metrics(), headers={"Content-Type": content_type})

    async def gateways(_: web.Request) -> web.Response:
        return web.json_response(pages.gateways())

    async def replicas(_: web.Request) -> web.Response:
        if pages.replicas is None:
            return web.Response(status=404, text="there is one replica only\n")
        return web.json_response(pages.replicas())

    async def relist(_: web.Request) -> web.Response:
        if pages.relist is None:
            return web.Response(status=404, text="there is nothing to list again\n")
        try:
            async with asyncio.timeout(_RELIST_SECONDS):
                await pages.relist()
        except TimeoutError:
            return web.Response(status=503, text="the API server does not answer\n")
        return web.Response(text="ok\n")

    return [
        web.get("/healthz", healthz),
        web.get("/readyz", readyz),
        web.get("/metrics", metrics),
        web.get("/debug/gateways", gateways),
        web.get("/debug/replicas", replicas),
        web.post("/debug/relist", relist),
    ]
