"""200 applies and deletes a minute while 32 clients stream."""

import os
import time

from harness.basic import KEY
from harness.system import Gateway, System
from harness.traffic import Traffic

SECONDS = float(os.environ.get("TRUNKLINE_CHURN_SECONDS", "20"))


def test_no_request_fails_and_no_table_is_torn_through_config_churn(system: System, gateway: Gateway) -> None:
    gateways = [gateway, system.gateway("gw-2").wait_ready()]
    changes = 0
    interval = 60 / 200
    with Traffic(gateways, KEY, clients=32, pause_seconds=0.1) as traffic:
        begun = time.monotonic()
        while (elapsed := time.monotonic() - begun) < SECONDS:
            _change(system, changes)
            changes += 1
            time.sleep(max(0.0, changes * interval - elapsed))
    assert changes >= SECONDS / interval * 0.9, "the API server was too slow for the promised churn"
    assert traffic.failures == []
    assert traffic.answered > 100
    system.wait_condition("ModelGroup", "gpt-4o", "Programmed", "True")
    tables = [each.admin("/debug/table").json for each in gateways]
    assert tables[0]["version"] == tables[1]["version"]
    assert all(table["rejected"] == [] for table in tables)


def _change(system: System, turn: int) -> None:
    """One of: a group comes, is edited, goes; a key comes and goes; the serving group gets another target order."""
    name = f"churn-{turn // 5}"
    target = {"name": "main", "credentialRef": {"name": "main"}, "model": "gpt-4o"}
    match turn % 5:
        case 0:
            system.create("ModelGroup", name, {"targets": [target]})
        case 1:
            digest = f"sha256:{turn:064x}"
            system.create("VirtualKey", name, {"keyHash": digest, "models": ["*"]})
        case 2:
            system.patch("ModelGroup", name, {"spec": {"models": [f"{name}-a", f"{name}-b"]}})
        case 3:
            system.delete("VirtualKey", name)
            system.patch("ModelGroup", "gpt-4o", {"spec": {"targets": [target | {"weight": turn + 1}]}})
        case _:
            system.delete("ModelGroup", name)
