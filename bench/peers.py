"""Other gateways beside ours: LiteLLM (PyPI) and Portkey (npm), pinned, each in an environment under ~/.cache.

Each runs as its manual says for production on one core: LiteLLM with one worker, a master key, no database and quiet
logs; Portkey without its console. Both get the same upstream double.
"""

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

from bench import machine, wire
from bench.machine import MissingError
from bench.sides import Bench, Upstreams, wait_open

from harness.children import Child
from harness.ports import free_port

LITELLM = "litellm[proxy]==1.106.2"
PORTKEY = "@portkey-ai/gateway@1.15.2"
_CACHE = Path.home() / ".cache" / "trunkline" / "peers"
_MASTER_KEY = "sk-bench-master"


class LiteLLM:
    """``litellm --num_workers 1``. See https://docs.litellm.ai/docs/proxy/configs."""

    name = "litellm"

    def __init__(self, bench: Bench, uv: str, python: str) -> None:
        home = _installed("litellm-1.106.2", lambda place: _pip(uv, python, place, LITELLM))
        directory = bench.directory / "litellm"
        directory.mkdir()
        config = directory / "config.yaml"
        models = "".join(
            f"""
  - model_name: {name}-0
    litellm_params:
      model: openai/double-1
      api_base: {bench.upstreams.url(name)}
      api_key: {wire.UPSTREAM_KEY}"""
            for name in ("bench", "stream", "paced")
        )
        config.write_text(
            f"model_list:{models}\ngeneral_settings:\n  master_key: {_MASTER_KEY}\n"
            "litellm_settings:\n  set_verbose: false\n  telemetry: false\n",
            encoding="utf-8",
        )
        self._port = free_port()
        env = {
            **os.environ,
            "LITELLM_LOG": "ERROR",
            "LITELLM_MODE": "PRODUCTION",
            "LITELLM_LOCAL_MODEL_COST_MAP": "True",
        }
        env.pop("PYTHONPATH", None)
        argv = [
            *machine.pinned(machine.SERVER_CORE), str(home / "bin" / "litellm"), "--config", str(config),
            "--host", "127.0.0.1", "--port", str(self._port), "--num_workers", "1", "--telemetry", "False",
        ]  # fmt: skip
        self.child = bench.adopt(Child(self.name, argv, log=directory / "log", env=env))
        wait_open(self._port, self.child, 120)

    def port(self, upstream: str) -> int:
        """See `sides.Side`."""
        return self._port

    def requests(self, kind: wire.Kind) -> list[bytes]:
        """See `sides.Side`."""
        model = f"{kind.upstream}-0"
        return [wire.request(_MASTER_KEY, model, body_bytes=kind.body_bytes, stream=kind.stream)]


class Portkey:
    """The open-source gateway under Node. See https://github.com/Portkey-AI/gateway."""

    name = "portkey"

    def __init__(self, bench: Bench) -> None:
        node = machine.need("node", "nodejs", "npm")
        home = _installed("portkey-1.15.2", _npm)
        self._upstreams: Upstreams = bench.upstreams
        self._port = free_port()
        script = home / "node_modules" / "@portkey-ai" / "gateway" / "build" / "start-server.js"
        argv = [*machine.pinned(machine.SERVER_CORE), node, str(script), f"--port={self._port}", "--headless"]
        # It refuses private addresses unless they are named.
        env = {**os.environ, "NODE_ENV": "production", "TRUSTED_CUSTOM_HOSTS": "localhost,127.0.0.1"}
        self.child = bench.adopt(Child(self.name, argv, log=bench.directory / "portkey.log", env=env))
        wait_open(self._port, self.child, 60)

    def port(self, upstream: str) -> int:
        """See `sides.Side`."""
        return self._port

    def requests(self, kind: wire.Kind) -> list[bytes]:
        """See `sides.Side`."""
        headers = {"x-portkey-provider": "openai", "x-portkey-custom-host": self._upstreams.url(kind.upstream)}
        key = wire.UPSTREAM_KEY
        return [wire.request(key, "double-1", body_bytes=kind.body_bytes, stream=kind.stream, extra=headers)]


def _installed(name: str, install: Callable[[Path], None]) -> Path:
    place = _CACHE / name
    if not (place / ".complete").exists():
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir(parents=True)
        print(f"installing {name} into {place}", flush=True)
        install(place)
        (place / ".complete").touch()
    return place


def _pip(uv: str, python: str, place: Path, requirement: str) -> None:
    _do([uv, "venv", "--quiet", "--allow-existing", "--python", python, str(place)])
    _do([uv, "pip", "install", "--quiet", "--python", str(place / "bin" / "python"), requirement])


def _npm(place: Path) -> None:
    _do([machine.need("npm", "npm"), "install", "--silent", "--no-audit", "--no-fund", "--prefix", str(place), PORTKEY])


def _do(argv: list[str]) -> None:
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise MissingError(f"{' '.join(argv[:3])} … failed: {done.stderr.strip()[-400:]}")
