"""The API server's clock, by which replicas judge what they share."""

import json
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

from aiohttp import web

from trunkline_operator import kube


async def test_the_servers_clock_is_read_off_its_answers(tmp_path: Path) -> None:
    dates = iter([format_datetime(datetime.now(UTC) + timedelta(days=3), usegmt=True), "rubbish"])

    async def answer(_: web.Request) -> web.Response:
        return web.json_response({}, headers={"Date": next(dates)})

    application = web.Application()
    application.router.add_get("/{path:.*}", answer)
    runner = web.AppRunner(application)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "test",
        "clusters": [{"name": "test", "cluster": {"server": f"http://127.0.0.1:{port}"}}],
        "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
        "users": [{"name": "test", "user": {}}],
    }
    (tmp_path / "kubeconfig").write_text(json.dumps(config), encoding="utf-8")
    client = await kube.Kube.connect(tmp_path / "kubeconfig")
    try:
        assert abs(client.server_time() - datetime.now(UTC)) < timedelta(seconds=2)
        for _ in range(2):  # a second answer without a usable date changes nothing
            await client.get("/version")
            assert abs(client.server_time() - datetime.now(UTC) - timedelta(days=3)) < timedelta(seconds=2)
    finally:
        await client.close()
        await runner.cleanup()
