"""What the README promises: two installations, a key, and an answer through the front door."""

from __future__ import annotations

import json
import os
import re
import secrets
import subprocess
from pathlib import Path

import pytest

from cluster.release import NAME, release
from harness import binaries, ports
from harness.cluster import Cluster

REPOSITORY = Path(__file__).resolve().parents[2]

SMALL = {"resources": {"requests": {"cpu": "20m", "memory": "64Mi"}}}


def test_a_fresh_release_answers_its_own_test(trunkline_images: Cluster) -> None:
    """In a namespace that enforces the restricted Pod Security Standard, with rights in that namespace alone."""
    cluster = trunkline_images
    with release(cluster, {"operator": SMALL, "gateway": SMALL}) as made:
        key = "sk-tl-" + secrets.token_hex(16)
        made.kubectl("create", "secret", "generic", "first-key", f"--from-literal=key={key}")
        made.kubectl("label", "secret", "first-key", "trunkline.dev/secret=true")
        made.apply(
            f"watch.namespaces={{{made.namespace}}}",
            "quickstart.enabled=true",
            "quickstart.keySecret.name=first-key",
            "quickstart.keySecret.key=key",
        )
        made.kubectl("wait", "pcred,mg,vk", "--all", "--for=condition=Programmed", "--timeout=30s")
        said = cluster.helm("test", NAME, f"--namespace={made.namespace}", "--logs", "--timeout=60s")
        assert "echo answered" in said
        assert key not in said
        columns = made.kubectl("get", "mg")
        assert columns.split("\n")[0].split() == [
            "NAME",
            "MODELS",
            "TARGETS",
            "POLICY",
            "ACCEPTED",
            "PROGRAMMED",
            "AGE",
        ]
        assert columns.split("\n")[1].split()[:6] == ["echo", "1", "1/1", "default", "True", "True"]
        log = made.kubectl("logs", "--selector=app.kubernetes.io/instance=trunkline", "--tail=-1", "--prefix")
        assert key not in log
        complaints = [line for line in log.splitlines() if any(each in line for each in ('"error"', "Traceback"))]
        assert complaints == [], json.dumps(complaints, indent=1)


def test_the_readme_s_commands_end_with_an_answer(trunkline_images: Cluster) -> None:
    """Word for word, in one shell; the images are those that `make images` names."""
    cluster = trunkline_images
    if not cluster.is_ours:
        pytest.skip("it installs into trunkline-system, with the images' own names: on the tests' own node only")
    readme = (REPOSITORY / "README.md").read_text(encoding="utf-8")
    section = readme.partition("## In a cluster\n")[2].partition("\n## ")[0]
    install, ask = re.findall(r"```\n(.*?)```", section, re.DOTALL)[:2]
    forward = re.search(r"`(kubectl port-forward [^`]*)`", section)
    assert forward is not None
    port = ports.free_port()
    script = "\n".join(
        (
            "set -eu",
            install,
            f"{forward.group(1).replace('8080', f'{port}:8080')} >/dev/null & forwarding=$!",
            "trap 'kill $forwarding' EXIT",
            f"for _ in $(seq 100); do curl -s -o /dev/null http://127.0.0.1:{port}/healthz && break; sleep 0.1; done",
            ask.replace("127.0.0.1:8080", f"127.0.0.1:{port}"),
        )
    )
    programs = {str(binaries.locate(name).parent) for name in ("helm", "kubectl")}
    environment = {**cluster.environment(), "PATH": ":".join([*programs, os.environ["PATH"]])}
    # Whoever was here before has installed it; the CRDs themselves stay, as users' do.
    cluster.helm("uninstall", "trunkline-crds", "--ignore-not-found")
    try:
        done = subprocess.run(
            ["bash", "-c", script], cwd=REPOSITORY, env=environment, capture_output=True, text=True, timeout=180
        )
        assert done.returncode == 0, done.stdout + done.stderr
        assert "echo answered" in done.stdout
        assert json.loads(done.stdout.splitlines()[-1])["choices"][0]["message"]["content"]
    finally:
        cluster.helm("uninstall", "trunkline", "--namespace=trunkline-system", "--ignore-not-found")
        cluster.kubectl("delete", "namespace", "trunkline-system", "--ignore-not-found", "--wait=false")
