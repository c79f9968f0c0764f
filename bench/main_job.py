"""How long the main job takes, end to end and with real parts: an API server, the operator and gateways as processes.

    PYTHONPATH=tests python bench/main_job.py [--groups 1000] [--keys 10000] [--changes 100] [--json FILE]

It creates the groups and keys, starts the operator and a gateway on them, and measures: start to ready, resident
memory, and from the answer to a PATCH (what `kubectl apply` waits for) to the change being served by the gateway.
`bench/propagation.py` measures the wire alone, with as many gateways as one likes.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from harness.kube import ApiServer
from harness.system import Gateway, Operator, System, request, wait_for

KEY = "sk-tl-bench-0123456789abcdef"


def resident_mb(process: Gateway | Operator) -> float:
    """Resident memory in MB (10^6 bytes)."""
    assert process.child is not None
    pages = int(Path(f"/proc/{process.child.pid}/statm").read_text(encoding="ascii").split()[1])
    return pages * 4096 / 1e6


def populate(system: System, groups: int, keys: int) -> float:
    """Create what a large installation has; returns the seconds it took."""
    begun = time.monotonic()
    system.create("ProviderCredential", "echo", {"provider": "echo"})
    target = {"name": "echo", "credentialRef": {"name": "echo"}, "model": "echo"}
    system.secret("bench", key=KEY)
    system.create("VirtualKey", "bench", {"secretRef": {"name": "bench", "key": "key"}, "models": ["*"]})
    jobs: list[tuple[str, str, dict[str, object]]] = [
        *(("ModelGroup", f"group-{n}", {"targets": [target]}) for n in range(groups)),
        *(("VirtualKey", f"key-{n}", {"keyHash": f"sha256:{n:064x}", "models": ["*"]}) for n in range(keys - 1)),
    ]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda job: system.create(*job), jobs))
    return time.monotonic() - begun


def seconds_until(probe: Callable[[], bool], timeout: float = 60) -> float:
    """How long ``probe`` takes to become true."""
    begun = time.monotonic()
    wait_for(probe, timeout, "the benchmark")
    return time.monotonic() - begun


def served(gateway: Gateway, model: str) -> bool:
    """Whether the gateway knows ``model`` for the bench key."""
    return request(gateway.port, "GET", f"/v1/models/{model}", key=KEY).status == 200


def replayed(operator: Operator) -> float:
    """How many events of groups and keys kopf has handed over."""
    name = "trunkline_operator_watch_events_total"
    return operator.metric(name, kind="ModelGroup") + operator.metric(name, kind="VirtualKey")


def propagation(system: System, gateway: Gateway, changes: int) -> list[float]:
    """Seconds from the PATCH's answer to the new name being served, one group after the other."""
    taken = []
    for turn in range(changes):
        system.patch("ModelGroup", f"group-{turn}", {"spec": {"models": [f"group-{turn}", f"new-{turn}"]}})
        taken.append(seconds_until(lambda turn=turn: served(gateway, f"new-{turn}")))  # type: ignore[misc]
    return sorted(taken)


def measure(groups: int, keys: int, changes: int) -> dict[str, object]:
    """Run everything once."""
    with ApiServer() as api, System(api) as system:
        populating = populate(system, groups, keys)
        begun = time.monotonic()
        operator = system.operator.wait_ready(120)
        operator_ready = time.monotonic() - begun
        # kopf lists for itself after our own LIST and replays each object as an event; until that is over, changes
        # queue behind it.
        settling = seconds_until(lambda: replayed(operator) >= groups + keys, 120)
        gateway = system.gateway("gw-1")
        gateway_ready = seconds_until(gateway.is_ready)
        wait_for(lambda: served(gateway, f"group-{groups - 1}"), 30, "the last group")
        taken = propagation(system, gateway, changes)
        gateway.kill()
        gateway.start()
        restarted = seconds_until(gateway.is_ready)
        return {
            "groups": groups,
            "keys": keys,
            "populate_s": round(populating, 1),
            "operator_start_to_ready_s": round(operator_ready, 2),
            "operator_ready_to_settled_s": round(settling, 2),
            "operator_rss_mb": round(resident_mb(operator)),
            "gateway_start_to_ready_s": round(gateway_ready, 2),
            "gateway_restart_to_ready_s": round(restarted, 2),
            "gateway_rss_mb": round(resident_mb(gateway)),
            "apply_to_served_ms": {
                "p50": round(statistics.median(taken) * 1000),
                "p99": round(taken[min(len(taken) - 1, int(len(taken) * 0.99))] * 1000),
                "max": round(taken[-1] * 1000),
                "samples": len(taken),
            },
        }


def main() -> None:
    """Print the figures as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--groups", type=int, default=1000)
    parser.add_argument("--keys", type=int, default=10_000)
    parser.add_argument("--changes", type=int, default=100)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    figures = json.dumps(measure(given.groups, given.keys, given.changes), indent=2)
    print(figures)
    if given.json:
        given.json.write_text(figures, encoding="utf-8")


if __name__ == "__main__":
    main()
