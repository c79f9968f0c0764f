"""The images run: not as root, on a root that nothing can write to, as process 1 of their container."""

import json
import re
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import httpx
import pytest

from harness.ports import free_ports
from images.compose import Service
from images.container import Container, Image

ROOT = Path(__file__).parents[2]
START_SECONDS = 20.0
"""More than any start takes on a busy machine; what it takes is in docs/reference/images.md."""

Start = Callable[..., Container]

KUBECONFIG = """\
apiVersion: v1
kind: Config
current-context: away
contexts: [{name: away, context: {cluster: away, user: nobody}}]
clusters: [{name: away, cluster: {server: "http://127.0.0.1:9"}}]
users: [{name: nobody, user: {}}]
"""

# What a process of the container can see and do, as JSON.
PROBE = """\
import json, sys
status = dict(line.split(":\\t", 1) for line in open("/proc/1/status").read().splitlines() if ":\\t" in line)
def refused(path):
    try:
        open(path, "w").close()
    except OSError as error:
        return error.strerror
print(json.dumps({
    "command": open("/proc/1/cmdline").read(),
    "uid": status["Uid"],
    "caps": status["CapEff"],
    "no_new_privileges": status["NoNewPrivs"],
    "root": refused("/written"),
    "own": refused("/opt/trunkline/written"),
    "tmp": refused("/tmp/written"),
    "safe_path": sys.flags.safe_path,
}))
"""


def answers(url: str, container: Container) -> httpx.Response:
    """The first answer of ``url`` that is 200, and when it came, as ``x-seconds``."""
    end = container.started + START_SECONDS
    while time.monotonic() < end and container.alive:
        try:
            answer = httpx.get(url, timeout=2, trust_env=False)
        except httpx.TransportError:
            pass
        else:
            if answer.status_code == 200:
                answer.headers["x-seconds"] = f"{time.monotonic() - container.started:.2f}"
                return answer
        time.sleep(0.02)  # its own clock decides; a container has no way to tell us
    raise AssertionError(f"{url} did not answer; alive: {container.alive}; it said:\n{container.said}")


def test_it_says_its_version_and_its_flags(image: Image, start: Start) -> None:
    version = start(image, "--version")
    assert version.wait() == 0, version.said
    assert re.fullmatch(r"trunkline[a-z-]* \d+\.\d+\.\d+\n", version.said)
    usage = start(image, "--help")
    assert usage.wait() == 0
    assert usage.said.startswith("usage: trunkline")


WRONG = {
    "operator": ((), "--gateway-service-account is missing"),
    "gateway": ((), "--operator is missing"),
    "all-in-one": (("run", "/etc/trunkline/manifests", "--port", "http"), "--port"),
}


def test_a_wrong_command_line_is_named_and_ends_with_2(image: Image, start: Start) -> None:
    command, named = WRONG[image.name]
    container = start(image, *command)
    assert container.wait() == 2
    assert named in container.said


def test_the_gateway_lives_without_an_operator_and_ends_at_sigterm(
    unpacked: dict[str, Image], start: Start, record_property: Callable[[str, object], None]
) -> None:
    port, admin, nobody = free_ports(3)
    container = start(
        unpacked["gateway"],
        *("--operator", f"127.0.0.1:{nobody}", "--host", "127.0.0.1"),
        *("--port", str(port), "--admin-port", str(admin), "--state-dir", "/var/lib/trunkline"),
        tmpfs=("/tmp", "/var/lib/trunkline:mode=0700,uid=65532,gid=65532"),
    )
    alive = answers(f"http://127.0.0.1:{admin}/healthz", container)
    record_property("seconds", alive.headers["x-seconds"])
    assert httpx.get(f"http://127.0.0.1:{admin}/readyz", trust_env=False).status_code == 503
    _is_confined(container)
    assert container.stop() == 0, container.said


def test_the_operator_waits_for_an_api_server_and_ends_at_sigterm(
    unpacked: dict[str, Image], start: Start, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    grpc, admin = free_ports(2)
    folder = tmp_path / "kube"
    folder.mkdir()
    (folder / "config").write_text(KUBECONFIG)
    container = start(
        unpacked["operator"],
        *("--gateway-service-account", "trunkline-system/trunkline-gateway", "--kubeconfig", "/kube/config"),
        *("--tls-dir", "/var/lib/trunkline/tls", "--host", "127.0.0.1"),
        *("--grpc-port", str(grpc), "--admin-port", str(admin)),
        mounts={"/kube": folder},
        tmpfs=("/tmp", "/var/lib/trunkline:mode=0700,uid=65532,gid=65532"),
    )
    alive = answers(f"http://127.0.0.1:{admin}/healthz", container)
    record_property("seconds", alive.headers["x-seconds"])
    _is_confined(container)
    assert container.stop() == 0, container.said


@pytest.fixture
def manifests(tmp_path: Path) -> Path:
    """A copy of what compose.yaml mounts, to edit."""
    folder = tmp_path / "manifests"
    folder.mkdir()
    folder.chmod(0o755)
    for each in (ROOT / "deploy/compose/manifests").glob("*.yaml"):
        (folder / each.name).write_text(each.read_text())
    return folder


@pytest.fixture
def service() -> Service:
    """Ours, as compose.yaml has it."""
    return Service.read(ROOT / "compose.yaml", "trunkline")


@pytest.fixture
def gateway(
    unpacked: dict[str, Image], start: Start, service: Service, manifests: Path
) -> Iterator[tuple[Container, httpx.Client, Mapping[str, str]]]:
    """The service of compose.yaml with an empty `.env`, a client of it, and its ports."""
    port, admin = free_ports(2)
    container = start(
        unpacked["all-in-one"],
        user=service.user,
        tmpfs=service.tmpfs,
        mounts={service.volumes["./deploy/compose/manifests"]: manifests},
        # Ports by the environment, since the network is the machine's here.
        env={**service.environment, "TRUNKLINE_PORT": str(port), "TRUNKLINE_ADMIN_PORT": str(admin)},
    )
    answers(f"http://127.0.0.1:{admin}/readyz", container)
    read = container.run("cat", "/var/lib/trunkline/env")
    assert read.returncode == 0, read.stderr
    given = dict(line.split("=", 1) for line in read.stdout.splitlines())
    with httpx.Client(
        base_url=f"http://127.0.0.1:{port}/v1/",
        headers={"authorization": f"Bearer {given['OPENAI_API_KEY']}"},
        trust_env=False,
    ) as client:
        yield container, client, {"url": given["OPENAI_BASE_URL"], "port": str(port)}


def _ask(client: httpx.Client, model: str) -> httpx.Response:
    return client.post(
        "chat/completions", json={"model": model, "messages": [{"role": "user", "content": "Is anybody there?"}]}
    )


def test_compose_answers_with_no_provider_key_and_names_the_one_that_is_missing(
    gateway: tuple[Container, httpx.Client, Mapping[str, str]],
) -> None:
    container, client, given = gateway
    answer = _ask(client, "echo")
    assert answer.status_code == 200, answer.text
    assert "Is anybody there?" in answer.json()["choices"][0]["message"]["content"]
    assert given["url"] == f"http://127.0.0.1:{given['port']}/v1"
    assert "OPENAI_API_KEY is not set" in container.said
    assert client.headers["authorization"].removeprefix("Bearer ") in container.said


def test_an_edit_of_the_mounted_manifests_is_served(
    gateway: tuple[Container, httpx.Client, Mapping[str, str]], manifests: Path
) -> None:
    _, client, _ = gateway
    assert _ask(client, "hello").status_code == 404
    text = (manifests / "echo.yaml").read_text()
    group = text.split("---\n")[1].replace("name: echo}\nspec:\n  models: [echo]", "name: hello}\nspec:")
    assert "{name: hello}" in group
    (manifests / "hello.yaml").write_text(group)
    end = time.monotonic() + 5
    while (last := _ask(client, "hello").status_code) != 200 and time.monotonic() < end:
        time.sleep(0.05)
    assert last == 200


def test_the_health_check_of_the_image_passes_and_fails_with_the_gateway(
    gateway: tuple[Container, httpx.Client, Mapping[str, str]],
) -> None:
    container, _, _ = gateway
    exec_form, *command = container.image.config["Healthcheck"]["Test"]
    assert exec_form == "CMD"
    healthy = container.run(*command)
    assert healthy.returncode == 0, healthy.stderr
    elsewhere = container.run("env", "TRUNKLINE_ADMIN_PORT=9", *command)
    assert elsewhere.returncode == 1


def test_compose_confines_it_and_sigterm_ends_it(gateway: tuple[Container, httpx.Client, Mapping[str, str]]) -> None:
    container, _, _ = gateway
    _is_confined(container)
    assert container.stop() == 0, container.said


def test_a_provider_key_from_the_environment_is_in_no_output(
    unpacked: dict[str, Image], start: Start, service: Service, manifests: Path
) -> None:
    port, admin = free_ports(2)
    container = start(
        unpacked["all-in-one"],
        user=service.user,
        tmpfs=service.tmpfs,
        mounts={"/etc/trunkline/manifests": manifests},
        env={
            "OPENAI_API_KEY": "sk-only-for-openai",
            "TRUNKLINE_PORT": str(port),
            "TRUNKLINE_ADMIN_PORT": str(admin),
            "TRUNKLINE_LOG_LEVEL": "debug",
        },
    )
    answers(f"http://127.0.0.1:{admin}/readyz", container)
    assert container.stop() == 0
    assert "OPENAI_API_KEY is not set" not in container.said
    assert "sk-only-for-openai" not in container.said


def test_the_image_answers_by_itself(unpacked: dict[str, Image], start: Start) -> None:
    """What `docker run ghcr.io/trunkline/trunkline` does: its own manifests, its own CMD."""
    port, admin = free_ports(2)
    container = start(
        unpacked["all-in-one"],
        env={"TRUNKLINE_PORT": str(port), "TRUNKLINE_ADMIN_PORT": str(admin)},
        tmpfs=("/tmp", "/var/lib/trunkline:mode=0700,uid=65532,gid=65532"),
    )
    answers(f"http://127.0.0.1:{admin}/readyz", container)
    key = re.search(r"sk-tl-\S+", container.said)
    assert key is not None, container.said
    with httpx.Client(
        base_url=f"http://127.0.0.1:{port}/v1/", headers={"authorization": f"Bearer {key[0]}"}, trust_env=False
    ) as client:
        assert _ask(client, "echo").status_code == 200


def _is_confined(container: Container) -> None:
    # As root of the container, who is held back by the read-only root only.
    seen = container.run("python", "-c", PROBE, user="0:0")
    assert seen.returncode == 0, seen.stderr
    found = json.loads(seen.stdout)
    assert "/opt/trunkline/bin/trunkline" in found.pop("command")
    assert found.pop("uid").split() == ["65532"] * 4
    assert int(found.pop("caps"), 16) == 0
    assert found == {
        "no_new_privileges": "1",
        "root": "Read-only file system",
        "own": "Read-only file system",
        "tmp": None,
        "safe_path": True,
    }
