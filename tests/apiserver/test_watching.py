"""What is deleted between our first LIST and kopf's, which no watch tells of."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from harness.kube import ApiServer
from harness.system import install_crds, our_object
from trunkline_operator import kube
from trunkline_operator.watch import kopf_thread
from trunkline_operator.watch.cluster import ClusterSource
from trunkline_operator.watch.source import Changes
from trunkline_operator.watch.world import Change, Ref, World


async def test_a_key_deleted_before_kopf_has_listed_is_noticed(
    api_server: ApiServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    install_crds(api_server)
    namespace = api_server.fresh_namespace("watching")
    keys = f"/apis/trunkline.dev/v1alpha1/namespaces/{namespace}/virtualkeys"
    spec = {"keyHash": f"sha256:{'0' * 64}", "models": ["*"]}
    api_server.request("POST", keys, our_object("VirtualKey", "alice", spec))
    may_watch, gone = asyncio.Event(), asyncio.Event()
    watch = kopf_thread.watch

    async def late(watching: kopf_thread.Watching, on_restart: Callable[[], None]) -> None:
        await may_watch.wait()
        await watch(watching, on_restart)

    def recorded(ref: Ref, change: Change) -> None:
        if ref == Ref("VirtualKey", namespace, "alice") and change is Change.REVOKES:
            gone.set()

    monkeypatch.setattr(kopf_thread, "watch", late)
    client = await kube.Kube.connect(api_server.kubeconfig)
    source = ClusterSource(
        client,
        World(),
        Changes(recorded, lambda: None),
        kubeconfig=api_server.kubeconfig,
        namespaces=[namespace],
    )
    running = asyncio.create_task(source.run())
    try:
        await asyncio.wait_for(source.synced.wait(), 20)
        api_server.request("DELETE", f"{keys}/alice")
        may_watch.set()
        await asyncio.wait_for(gone.wait(), 20)
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await client.close()
