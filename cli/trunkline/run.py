"""`trunkline run DIR`: operator and gateway in one process, joined by the same wire as in a cluster.

The operator reads the directory instead of a cluster and publishes over a Unix socket that only this user can reach.
"""

import argparse
import asyncio
import contextlib
import logging
import os
import signal
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final

import uvloop

from trunkline import keys, welcome
from trunkline_gateway import process
from trunkline_gateway.runtime import Gateway
from trunkline_gateway.settings import Settings as GatewaySettings
from trunkline_gateway.settings import redis_url_problem
from trunkline_operator.compile.compiler import compile as compile_world
from trunkline_operator.compile.memo import Memo
from trunkline_operator.publish.authenticate import Anybody
from trunkline_operator.report.log import LogReporter
from trunkline_operator.runtime import Listener, Operator
from trunkline_operator.watch import directory
from trunkline_operator.watch.directory import Loaded, Problem
from trunkline_operator.watch.folder import Folder, load
from trunkline_protocol import logs, resources

_LOG: Final = logging.getLogger(__name__)

_START_SECONDS: Final = 30.0
_GRACE_SECONDS: Final = 10.0
_KEY_NAME: Final = "made-for-this-run"


def main(parsed: argparse.Namespace) -> int:
    """Serve until SIGINT or SIGTERM.

    Returns:
        0; 1 where nothing valid is in the directory, or it cannot listen; 2 where a flag is wrong.
    """
    logs.configure(level=parsed.log_level, log_format=parsed.log_format)
    if parsed.redis_url is not None:
        # Not by a converter of the flag: it would show the value, which may hold a password.
        if (wrong := redis_url_problem(parsed.redis_url)) is not None:
            _say(f"trunkline run: --redis-url {wrong}")
            return 2
        _LOG.info("limits are not part of this version: the Redis of --redis-url is not used")
    root = Path(parsed.directory)
    first = load(root)
    for problem in (*_invalid(first), *first.warnings):
        _say(f"{problem}")
    if not _serves_something(first):
        _say(f"trunkline run: nothing valid to serve in {root}")
        return 1
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            return runner.run(_until_signalled(parsed, root, first))
    except OSError as error:
        hint = "--port and --admin-port choose others" if "in use" in str(error) else "see --help"
        _say(f"trunkline run: cannot listen: {error.strerror or error} ({hint})")
        return 1


async def _until_signalled(parsed: argparse.Namespace, root: Path, first: Loaded) -> int:
    loop = asyncio.get_running_loop()
    serving = asyncio.create_task(_serve(parsed, root, first))

    def asked_to_stop() -> None:
        if serving.cancelling():
            os._exit(130)  # asked twice
        serving.cancel()
        _say(f"stopping; running answers have {_GRACE_SECONDS:.0f} s, Ctrl-C again ends them")

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, asked_to_stop)
    try:
        await serving
    except asyncio.CancelledError:
        return 0
    return 1


async def _serve(parsed: argparse.Namespace, root: Path, first: Loaded) -> None:
    made = _key_for_this_run(first, wanted=parsed.welcome)
    beside = [] if made is None else [_virtual_key(made, first)]
    # Short: a Unix socket's path has at most 108 bytes, and a state directory may lie deep.
    with tempfile.TemporaryDirectory(prefix="trunkline-") as sockets:
        address = f"unix:{sockets}/operator"
        operator = Operator(
            lambda world, changes: Folder(root, world, changes, beside=beside, told=_tell, first=first),
            partial(compile_world, memo=Memo()),
            LogReporter(),
            Listener(address=address, authenticator=Anybody()),
        )
        # Without a state directory: the last known good holds provider keys and would end up on a disk, and the
        # directory itself is there to start from.
        gateway = Gateway(
            GatewaySettings(
                operator=address,
                host=parsed.host,
                port=parsed.port,
                admin_port=parsed.admin_port,
                max_body_bytes=parsed.max_body_bytes,
                fetch_image_urls=parsed.fetch_image_urls,
                drain_delay_seconds=0,  # nobody is behind it who would hear of its end late
                shutdown_grace_seconds=_GRACE_SECONDS,
            )
        )
        operating = asyncio.create_task(operator.run())
        try:
            # The gateway would find it a moment later all the same, but not without a warning.
            await _either(operator.listening.wait(), operating)
            await gateway.start()
            await _either(process.tune(gateway.wait_ready()), operating)
            url = f"http://{_reachable(parsed.host)}:{gateway.port}"
            env = parsed.state_dir / "env"
            if made is not None:
                welcome.write_env(env, f"{url}/v1", made)
            with _if_read():
                if made is not None and not parsed.welcome:
                    print(f"There is no VirtualKey in {root}; a key for this run, also in {env}:\n{made}", flush=True)
                print(f"ready {url}", flush=True)
                if made is not None and parsed.welcome:
                    await welcome.greet(f"{url}/v1", made, env)
            await asyncio.shield(operating)
        finally:
            await gateway.stop()
            operating.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await operating


def _say(text: str) -> None:
    """Tell people on stderr, after what was logged before, and without waiting for somebody to read it."""
    if (handler := logs.handler()) is not None:
        handler.write_lines(f"{text}\n".encode("utf-8", "backslashreplace"))


@contextlib.contextmanager
def _if_read() -> Iterator[None]:
    """Print what people may want to know; that nobody reads stdout (any more) must not end a server."""
    try:
        yield
    except OSError:
        # What is left in the buffer would fail again at the interpreter's end, and make it the exit code.
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)


async def _either(started: Any, operating: asyncio.Task[None]) -> None:  # noqa: ANN401 - any coroutine
    """Wait for a step of the start; an operator that ends before that ends everything, with its own error."""
    waiting = asyncio.ensure_future(started)
    await asyncio.wait({waiting, operating}, timeout=_START_SECONDS, return_when=asyncio.FIRST_COMPLETED)
    if not waiting.done():
        waiting.cancel()
        if operating.done():
            await operating
        raise OSError(f"the gateway had no table after {_START_SECONDS:.0f} s")


def _tell(loaded: Loaded, news: Sequence[Problem]) -> None:
    for problem in news:
        _LOG.warning("%s", problem)
    if not _serves_something(loaded):
        _LOG.warning("nothing valid is left in the directory")


def _invalid(loaded: Loaded) -> list[Problem]:
    """Everything that is wrong by itself, with file and line; references are the compiler's to judge."""
    fields = [problem for manifest in loaded.manifests for problem in directory.field_problems(manifest)]
    return sorted([*loaded.problems, *fields])


def _serves_something(loaded: Loaded) -> bool:
    return any(
        manifest.ref.kind in resources.KINDS and not directory.field_problems(manifest) for manifest in loaded.manifests
    )


def _key_for_this_run(loaded: Loaded, *, wanted: bool) -> str | None:
    given = any(manifest.ref.kind == "VirtualKey" for manifest in loaded.manifests)
    return keys.new_key() if wanted or not given else None


def _virtual_key(key: str, loaded: Loaded) -> Mapping[str, Any]:
    """May call every public name, and every direct model, of the namespace where most ModelGroups are."""
    namespaces = Counter(each.ref.namespace for each in loaded.manifests if each.ref.kind == "ModelGroup")
    return {
        "apiVersion": resources.API_VERSION,
        "kind": "VirtualKey",
        "metadata": {
            "name": _KEY_NAME,
            "namespace": namespaces.most_common(1)[0][0] if namespaces else "default",
            "resourceVersion": str(loaded.revision),
            "generation": 1,
        },
        "spec": {"keyHash": keys.key_hash(key), "models": ["*", "*:*"]},
    }


def _reachable(host: str) -> str:
    """What to put in a URL for somebody on this machine."""
    if host in ("0.0.0.0", "::"):  # noqa: S104 - this asks, it does not bind
        return "127.0.0.1"
    return f"[{host}]" if ":" in host else host
