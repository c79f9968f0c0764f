"""`make run` on a copy of the working tree without its virtual environment, as a newcomer would."""

import os
import re
import shutil
import signal
import subprocess
import time
from pathlib import Path

import openai
import pytest

from harness import ports
from harness.system import REPOSITORY, request, wait_for

FRESH = ("git", "ls-files", "--cached", "--others", "--exclude-standard", "-z")


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a clone would hold, without `.venv`."""
    into = tmp_path_factory.mktemp("clone")
    listed = subprocess.run(FRESH, cwd=REPOSITORY, capture_output=True, check=True).stdout
    for name in filter(None, listed.decode().split("\0")):
        if (REPOSITORY / name).is_file():
            (into / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(REPOSITORY / name, into / name)
    return into


def environment() -> dict[str, str]:
    keep = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("TRUNKLINE_", "OPENAI_", "VIRTUAL_ENV"))
    }
    return keep | {"PATH": ":".join(part for part in keep["PATH"].split(":") if ".venv" not in part)}


def test_make_run_has_answered_within_a_minute_and_keeps_serving(clone: Path, tmp_path: Path) -> None:
    port, admin_port = ports.free_ports(2)
    log = tmp_path / "run.log"
    begun = time.monotonic()
    with log.open("wb") as output:
        running = subprocess.Popen(
            ["make", "run", f"PORT={port}", f"ADMIN_PORT={admin_port}"],
            cwd=clone,
            env=environment(),
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:

        def said() -> str:
            assert running.poll() is None, log.read_text(encoding="utf-8")
            text = log.read_text(encoding="utf-8")
            return text if "curl" in text and "sk-tl-" in text else ""

        text = wait_for(said, 60, "the first answer")
        assert time.monotonic() - begun < 60
        assert f"ready http://127.0.0.1:{port}" in text
        env = (clone / ".trunkline" / "env").read_text(encoding="utf-8")
        assert (clone / ".trunkline" / "env").stat().st_mode & 0o077 == 0
        settings = dict(line.split("=", 1) for line in env.splitlines() if "=" in line)
        assert settings["OPENAI_BASE_URL"] == f"http://127.0.0.1:{port}/v1"
        key = settings["OPENAI_API_KEY"]
        assert key in text
        with openai.OpenAI(base_url=settings["OPENAI_BASE_URL"], api_key=key, max_retries=0) as sdk:
            models = [model.id for model in sdk.models.list()]
            assert "echo" in models
            stream = sdk.chat.completions.create(
                model="echo", messages=[{"role": "user", "content": "still here"}], stream=True
            )
            assert "still here" in "".join(each.choices[0].delta.content or "" for each in stream if each.choices)
        # The lines that it prints do what they say.
        curl = re.search(r"^\s*(curl .*?)\n\s*\n", text, re.MULTILINE | re.DOTALL)
        assert curl is not None, text
        shown = subprocess.run(["bash", "-c", curl[1]], capture_output=True, text=True, timeout=20, check=True)
        assert "data: [DONE]" in shown.stdout or '"choices"' in shown.stdout
    finally:
        os.killpg(running.pid, signal.SIGINT)
        code = running.wait(15)
    rest = log.read_text(encoding="utf-8")
    assert "Traceback" not in rest
    assert code in (0, 2, 130, -2), rest  # make itself says 2 or 130 when it is interrupted
    with pytest.raises(OSError):
        request(port, "GET", "/health")


def test_a_key_is_made_for_each_run(clone: Path) -> None:
    first = (clone / ".trunkline" / "env").read_text(encoding="utf-8")
    assert re.search(r"OPENAI_API_KEY=sk-tl-[A-Za-z0-9_-]{40,}", first)
    tracked = subprocess.run(
        ["git", "grep", "-l", "OPENAI_API_KEY=sk-tl-"], cwd=REPOSITORY, capture_output=True, text=True, check=False
    )
    assert [name for name in tracked.stdout.split() if not name.startswith("tests/")] == []
