"""Coding agents, headless, in a home of their own: each reads a file with its own tool, twice at once and
then twice again, through every dialect.

What the file says has to come back to the upstream as the tool's result, and from there to the end of the answer.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from clients import install
from harness import ports
from harness.children import Child
from harness.providers import script
from harness.providers.double import Providers
from harness.providers.front import ROUTES, UPSTREAM_KEY, Front
from harness.system import wait_for

PROMPT = "Read hello.txt and tell me what it says"
MARKER = "marker-4711"
DIRECT = "direct"
TIMEOUT_SECONDS = 40


@dataclass(frozen=True, slots=True)
class Place:
    """Where a program runs and whom it calls. ``modules``: the installed packages."""

    modules: Path
    home: Path
    url: str
    key: str

    @property
    def work(self) -> Path:
        """With the file that is to be read."""
        return self.home / "project"

    @property
    def hello(self) -> str:
        """That file."""
        return str(self.work / "hello.txt")

    def settings(self, path: str, text: str) -> None:
        """Write a file of the program's into its home."""
        file = self.home / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")


@dataclass(frozen=True, slots=True)
class Command:
    """What to run. ``beside``: a server that it needs, and its port."""

    argv: Sequence[str]
    env: Mapping[str, str] = field(default_factory=dict)
    beside: tuple[Sequence[str], int] | None = None


def claude_code(place: Place) -> Command:
    """https://code.claude.com/docs/en/llm-gateway"""
    binary = next((place.modules / "@anthropic-ai").glob("claude-code-*/claude"))
    argv = [str(binary), "-p", PROMPT, "--output-format", "json", "--model", "claude-sonnet-4-5"]
    env = {
        "ANTHROPIC_BASE_URL": place.url,
        "ANTHROPIC_AUTH_TOKEN": place.key,
        "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
        "DISABLE_TELEMETRY": "1",
        "DISABLE_ERROR_REPORTING": "1",
        "DISABLE_AUTOUPDATER": "1",
    }
    return Command([*argv, "--allowedTools", "Read"], env)


def claude_code_router(place: Place) -> Command:
    """Claude Code over claude-code-router, which calls chat completions. https://github.com/musistudio/claude-code-router"""
    port = ports.free_port()
    url = f"{place.url}/v1/chat/completions"
    provider = {"name": "gw", "api_base_url": url, "api_key": place.key, "models": ["gpt-5"]}
    settings = {"LOG": False, "NON_INTERACTIVE_MODE": True, "HOST": "127.0.0.1", "PORT": port, "Providers": [provider]}
    place.settings(".claude-code-router/config.json", json.dumps({**settings, "Router": {"default": "gw,gpt-5"}}))
    claude = claude_code(place)
    router = ["node", str(place.modules / "@musistudio" / "claude-code-router" / "dist" / "cli.js"), "start"]
    return Command(claude.argv, {**claude.env, "ANTHROPIC_BASE_URL": f"http://127.0.0.1:{port}"}, (router, port))


def codex(place: Place) -> Command:
    """https://developers.openai.com/codex/config-advanced"""
    provider = f'name = "gw"\nbase_url = "{place.url}/v1"\nenv_key = "GW_KEY"\nwire_api = "responses"\n'
    text = f'model = "gpt-5"\nmodel_provider = "gw"\n[model_providers.gw]\n{provider}'
    place.settings(".codex/config.toml", text)
    return Command([*_codex(place), PROMPT], {"GW_KEY": place.key})


def codex_built_in(place: Place) -> Command:
    """As its own provider: it asks for a WebSocket first."""
    moved = ["-m", "gpt-5", "-c", f'openai_base_url="{place.url}/v1"']
    return Command([*_codex(place), *moved, PROMPT], {"OPENAI_API_KEY": place.key, "CODEX_API_KEY": place.key})


def _codex(place: Place) -> list[str]:
    program = str(place.modules / "@openai" / "codex" / "bin" / "codex.js")
    return ["node", program, "exec", "--skip-git-repo-check", "--json", "-s", "danger-full-access"]


def gemini_cli(place: Place) -> Command:
    """https://google-gemini.github.io/gemini-cli/docs"""
    settings = {
        "security": {"auth": {"selectedType": "gemini-api-key"}},
        "telemetry": {"enabled": False},
        "privacy": {"usageStatisticsEnabled": False},
        "general": {"disableAutoUpdate": True},
    }
    place.settings(".gemini/settings.json", json.dumps(settings))
    program = str(place.modules / "@google" / "gemini-cli" / "bundle" / "gemini.js")
    argv = ["node", program, "-p", PROMPT, "-m", "gemini-2.5-pro", "--output-format", "json", "--approval-mode", "yolo"]
    named = {"GEMINI_API_KEY": place.key, "GOOGLE_GEMINI_BASE_URL": place.url}
    return Command(argv, {**named, "GEMINI_CLI_TRUST_WORKSPACE": "true"})


PROGRAMS: Mapping[str, Callable[[Place], Command]] = {
    "claude-code": claude_code,
    "claude-code-router": claude_code_router,
    "codex": codex,
    "codex-built-in": codex_built_in,
    "gemini-cli": gemini_cli,
}


@pytest.fixture(scope="module")
def modules() -> Path:
    return install.locate(install.NODE_SET) / "node_modules"


@pytest.fixture(params=[DIRECT, *ROUTES])
def way(request: pytest.FixtureRequest, fronts: Mapping[str, Front]) -> Iterator[tuple[Providers, str, str]]:
    """The double, and where and with which key to call."""
    if request.param == DIRECT:
        with Providers(key=UPSTREAM_KEY) as direct:
            yield direct, direct.url, UPSTREAM_KEY
    else:
        front = fronts[request.param]
        yield front.providers, front.url, front.key


@pytest.mark.parametrize("program", PROGRAMS)
def test_a_program_reads_a_file(modules: Path, way: tuple[Providers, str, str], program: str, tmp_path: Path) -> None:
    double, url, key = way
    place = Place(modules, tmp_path, url, key)
    place.work.mkdir()
    Path(place.hello).write_text(f"{MARKER}\n", encoding="utf-8")
    double.clear(
        {
            "Read": {"file_path": place.hello},
            "exec_command": {"cmd": "cat hello.txt"},
            "read_file": {"file_path": place.hello},
        }
    )
    double.script.at_once = double.script.rounds = 2
    command = PROGRAMS[program](place)
    env = environment(tmp_path) | command.env
    begun = time.monotonic()
    with beside(command, env, tmp_path):
        done = subprocess.run(
            command.argv, cwd=place.work, env=env, capture_output=True, text=True, stdin=subprocess.DEVNULL,
            timeout=TIMEOUT_SECONDS,
        )  # fmt: skip
    said = f"{done.stdout}\n{done.stderr}"
    print(f"{program}: {time.monotonic() - begun:.1f} s\n{said[-5_000:]}")
    assert double.refused == [], said[-3_000:]
    assert done.returncode == 0, said[-3_000:]
    assert any(MARKER in result for turn in double.turns for result in turn.results)
    assert max(turn.called for turn in double.turns) == 4
    # Some programs say of a second reading only that nothing has changed.
    whole = script.REPEATED + " | ".join(double.turns[-1].results)
    assert whole.strip() in [text.strip() for text in final_texts(done.stdout)]


def final_texts(output: str) -> Iterator[str]:
    """Texts in what a program prints: one object, or one on each line."""
    for text in (output, *output.splitlines()):
        with contextlib.suppress(ValueError):
            printed = json.loads(text)
            item = printed.get("item") or {}
            yield printed.get("result") or printed.get("response") or item.get("text") or ""


def environment(home: Path) -> dict[str, str]:
    """Nothing of the user's, and no way out but the loopback interface."""
    nowhere = dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"), "http://127.0.0.1:9")
    node = str(Path(shutil.which("node") or "node").parent)
    path = f"{node}:{os.environ['PATH']}"
    local = "127.0.0.1,localhost"
    return {"PATH": path, "HOME": str(home), "TERM": "dumb", "NO_PROXY": local, "no_proxy": local, **nowhere}


@contextlib.contextmanager
def beside(command: Command, env: Mapping[str, str], directory: Path) -> Iterator[None]:
    """The server that a program needs, while it runs."""
    if command.beside is None:
        yield
        return
    argv, port = command.beside
    child = Child("beside", argv, log=directory / "beside.log", env=env)
    try:
        wait_for(lambda: is_open(port), 30, "the router to listen")
        yield
    finally:
        child.kill()


def is_open(port: int) -> bool:
    """Whether something listens."""
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 0.2):
        return True
    return False
