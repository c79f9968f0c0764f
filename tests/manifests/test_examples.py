"""What holds for every example under ``manifests/``; a new one is found by itself."""

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from harness import ports
from harness.children import Child
from harness.system import BIN, REPOSITORY, Gateway, wait_for
from harness.upstream import Upstream
from manifests import asking, examples
from manifests.applied import Applied
from manifests.examples import Doubles

each_example = pytest.mark.parametrize(
    "example", [path.name for path in examples.EXAMPLES], indirect=True, ids=lambda name: name
)


def test_there_are_examples() -> None:
    assert len(examples.EXAMPLES) > 1


@each_example
def test_validate_finds_nothing_wrong(example: Path, serving: Any) -> None:
    environ = examples.environment(example, serving.ca.read_text(encoding="ascii"))
    done = subprocess.run(
        [BIN / "trunkline", "validate", example.relative_to(REPOSITORY)],
        cwd=REPOSITORY,
        env=examples.clean_environment(environ),
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert (done.returncode, done.stderr) == (0, ""), done.stdout


@each_example
def test_what_kubectl_applies_holds_no_secret_and_nothing_to_fill_in(example: Path) -> None:
    found = examples.documents(examples.files(example))
    assert found
    assert all(document["kind"] != "Secret" for document in found)
    assert "${" not in json.dumps(found)


@each_example
def test_the_first_comment_says_what_it_shows_and_what_to_do_next(example: Path) -> None:
    comment = "\n".join(examples.comment(example))
    assert f"#   make run DIR=manifests/{example.name}\n" in comment
    assert "kubectl apply" in examples.cluster_commands(example)
    names = examples.environment(example, "")
    exports = examples.export_commands(example)
    assert all(f" {name}=" in exports for name in names), f"which of {sorted(names)} is not exported?"


@each_example
def test_every_public_model_answers_with_a_key_of_the_example(example: Path, applied: Applied) -> None:
    asking.ask_every_public_model(example, applied.gateway, applied.keys)
    shown = applied.system.logs() + "".join(json.dumps(applied.get(each)) for each in applied.objects)
    secrets = {name: value for name, value in applied.environ.items() if value.startswith("sk-")}
    assert not [name for name, value in secrets.items() if value in shown], "a secret is in a log or a status"


@each_example
def test_trunkline_run_serves_it_without_a_cluster(
    example: Path, upstream: Upstream, tls_upstream: Upstream, serving: Any, tmp_path: Path
) -> None:
    environ = examples.environment(example, serving.ca.read_text(encoding="ascii"))
    copy, log = tmp_path / "copy", tmp_path / "run.log"
    copy.mkdir()
    examples.with_doubles(example, copy, Doubles(f"{upstream.url}/v1", f"{tls_upstream.url}/v1"))
    if examples.secret_files(example):
        shutil.copytree(example / examples.SECRETS, copy / examples.SECRETS)
    port, admin_port = ports.free_ports(2)
    argv = [str(BIN / "trunkline"), "run", str(copy), f"--port={port}", f"--admin-port={admin_port}"]
    argv.append(f"--state-dir={tmp_path / 'state'}")
    gateway = Gateway("run", admin_port, log, argv, port, tmp_path)
    child = Child("run", argv, log=log, env=examples.clean_environment(environ))
    try:
        wait_for(lambda: gateway.is_ready() or not child.alive, 20, "trunkline run to be ready")
        assert child.alive, child.log_tail()
        asking.ask_every_public_model(example, gateway, examples.client_keys(example, environ))
    finally:
        child.kill()
