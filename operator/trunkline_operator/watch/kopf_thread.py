"""kopf, in a thread and an event loop of its own: it watches, and does nothing else.

Only ``@kopf.on.event`` handlers: they never write to an object. No index (its start-up is quadratic), no timers,
daemons or delete handlers (finalizers, annotations), no peering, no posted events. Its loop is not ours, because kopf
cancels every task of its loop when it stops. What it sees is handed to our loop, one call for each event.

kopf does not tell when it had to start over with a LIST because its watch broke. What was deleted since we last looked
is lost then, and so is what goes between our first LIST and kopf's, so each of its LISTs is reported; an aiohttp trace
sees it. The trace also sees whether watching works at all: kopf takes a 404, which an API server answers while it
starts, for final, and then neither watches nor returns.
"""

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import aiohttp
import kopf
from kopf._cogs.clients import api as kopf_api

from trunkline_operator import kube, shallow
from trunkline_operator.watch.lists import Watched
from trunkline_protocol.logs import fields

_LOG: Final = logging.getLogger(__name__)

_STOP_SECONDS: Final = 1.0
_FIRST_BACKOFF_SECONDS: Final = 0.5
_LAST_BACKOFF_SECONDS: Final = 30.0
_STABLE_SECONDS: Final = 60.0
_SAY_AGAIN_SECONDS: Final = 300.0
_RETRY_LOG_SECONDS: Final = 10.0
_FIRST_ERROR: Final = 400
_FINAL: Final = frozenset({403, 404})  # kopf gives up at them

# An event with a deep object would end the watch of its kind for good; kopf takes only `loads` from there.
vars(kopf_api)["json"] = shallow

Deliver = Callable[[Watched, str, Mapping[str, Any]], None]
"""A kind; the type of the event: ``ADDED``, ``MODIFIED``, ``DELETED``, or empty for an object of a LIST; the object."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Watching:
    """What to watch, and whom to tell. The callables run in our own loop.

    Attributes:
        namespaces: Empty: cluster-wide.
        deliver: Gets each event.
        gap: kopf has made a LIST of this kind: deletions before it may have been missed.
        seeing: Whether this kind is being watched; said at each answer to a request of kopf's.
    """

    kubeconfig: Path | None
    watched: Sequence[Watched]
    namespaces: Sequence[str]
    deliver: Deliver
    gap: Callable[[Watched], None]
    seeing: Callable[[Watched, bool], None]


async def watch(watching: Watching, on_restart: Callable[[], None]) -> None:
    """Keep kopf running until cancelled; when it dies it starts again, with a backoff.

    Args:
        watching: What to watch.
        on_restart: Called after each death.
    """
    _quieten()
    backoff = _FIRST_BACKOFF_SECONDS
    said = ("", float("-inf"))
    while True:
        started = time.monotonic()
        thread = _Thread(watching, asyncio.get_running_loop())
        try:
            await thread.died.wait()
        finally:
            await asyncio.shield(thread.stop())
        if time.monotonic() - started > _STABLE_SECONDS:
            backoff = _FIRST_BACKOFF_SECONDS
        # What stays wrong, a right that is missing perhaps, is said once and then every few minutes.
        again = thread.error == said[0] and time.monotonic() - said[1] < _SAY_AGAIN_SECONDS
        if not again:
            said = (thread.error, time.monotonic())
        _LOG.log(
            logging.DEBUG if again else logging.WARNING,
            "Watching stopped; it starts again",
            extra=fields(error=thread.error, backoff_seconds=backoff),
        )
        on_restart()
        await asyncio.sleep(backoff)
        backoff = min(backoff * 2, _LAST_BACKOFF_SECONDS)


class _Thread:
    """One life of kopf. Daemonic: a stuck one does not keep the process."""

    def __init__(self, watching: Watching, loop: asyncio.AbstractEventLoop) -> None:
        self._watching = watching
        self._loop = loop
        self._stop = threading.Event()
        self._failing: set[str] = set()
        self._logins = 0
        self.died = asyncio.Event()
        self.error = ""
        self._thread = threading.Thread(target=self._run, name="kopf", daemon=True)
        self._thread.start()

    async def stop(self) -> None:
        """Ask it to stop and wait for a moment."""
        self._stop.set()
        deadline = self._loop.time() + _STOP_SECONDS
        while self._thread.is_alive() and self._loop.time() < deadline:  # noqa: ASYNC110 - a thread has no event
            await asyncio.sleep(0.02)

    def _run(self) -> None:
        try:
            asyncio.run(self._operate())
        except BaseException as error:  # noqa: BLE001 - whatever it is, kopf is dead and our loop must know
            self.error = f"{type(error).__name__}: {str(error).split('{', 1)[0][:300]}"
        finally:
            self._tell(self.died.set)

    async def _operate(self) -> None:
        registry = kopf.OperatorRegistry()
        kopf.on.login(registry=registry, id="login")(self._login)
        settings = kopf.OperatorSettings()
        for watched in self._watching.watched:
            handler = self._handler(watched)
            kopf.on.event(watched.group, watched.version, watched.plural, registry=registry, id=watched.plural)(handler)
            if watched.label_selector:
                settings.watching.label_selectors[watched.group, watched.version, watched.plural] = (
                    watched.label_selector
                )
        settings.posting.enabled = False
        settings.scanning.disabled = True  # our own LIST has found every kind already
        settings.peering.standalone = True
        # It would SIGKILL this thread, and with it the process, when kopf takes long to stop.
        settings.process.ultimate_exiting_timeout = None
        settings.queueing.exit_timeout = 0.2
        settings.watching.chunk_size = 500
        # Longer pauses would make the first seconds after an outage of the API server blind.
        settings.networking.error_backoffs = (0.1, 0.2, 0.3, *([0.5] * 20))
        settings.networking.request_timeout = 60
        settings.networking.connect_timeout = 5
        try:
            await kopf.operator(
                registry=registry,
                settings=settings,
                standalone=True,
                clusterwide=not self._watching.namespaces,
                namespaces=list(self._watching.namespaces),
                stop_flag=self._stop,
                memo=object(),
            )
        finally:
            self._stop.set()  # else the loop's executor waits for it for ever

    def _handler(self, watched: Watched) -> Callable[..., Any]:
        async def handed_over(event: Mapping[str, Any], **_: object) -> None:
            self._tell(self._watching.deliver, watched, event.get("type") or "", event["object"])

        return handed_over

    async def _login(self, **_: object) -> kopf.AiohttpSession:
        # kopf asks again at once when the API server says 401.
        self._logins += 1
        if self._logins > 1:
            await asyncio.sleep(min(2.0 ** (self._logins - 2), _LAST_BACKOFF_SECONDS))
        client = await kube.load_configuration(self._watching.kubeconfig)
        return kopf.AiohttpSession(
            server=client.host, aiohttp_session=await kube.session(client, trace_configs=[self._trace()])
        )

    def _trace(self) -> aiohttp.TraceConfig:
        trace = aiohttp.TraceConfig()
        paths = {
            watched.path(namespace): watched
            for watched in self._watching.watched
            for namespace in (self._watching.namespaces or [""])
        }

        async def answered(_: object, __: object, params: aiohttp.TraceRequestEndParams) -> None:
            watched, status, query = paths.get(params.url.path), params.response.status, params.url.query
            if watched is None:
                return
            if status >= _FIRST_ERROR or query.get("watch") == "true":
                self._saw(watched, params.url.path, status < _FIRST_ERROR)
                if status in _FINAL:
                    self.error = f"the API server answered {status} for {params.url.path}"
                    self._tell(self.died.set)
            elif "continue" not in query:
                # At its answer, not before: what goes after that the watch tells of.
                self._tell(self._watching.gap, watched)

        async def failed(_: object, __: object, params: aiohttp.TraceRequestExceptionParams) -> None:
            if params.url.path in paths:
                self._saw(paths[params.url.path], params.url.path, False)

        trace.on_request_end.append(answered)
        trace.on_request_exception.append(failed)
        return trace

    def _saw(self, watched: Watched, path: str, works: bool) -> None:
        (self._failing.discard if works else self._failing.add)(path)
        self._tell(self._watching.seeing, watched, not self._failing)

    def _tell(self, callback: Callable[..., object], *arguments: object) -> None:
        if not self._loop.is_closed():
            try:
                self._loop.call_soon_threadsafe(callback, *arguments)
            except RuntimeError:  # closed in between
                self._stop.set()


class _KopfFilter(logging.Filter):
    """Lets kopf's warnings through, without the objects that it prints in some of them."""

    _quiet_until = 0.0

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether to log ``record``, which may be changed."""
        if record.levelno < logging.WARNING or "OS signals are ignored" in str(record.msg):
            return False
        message = record.getMessage()
        if message.startswith("Request attempt"):
            # One for each kind and attempt, while the API server is away.
            if time.monotonic() < self._quiet_until:
                return False
            self._quiet_until = time.monotonic() + _RETRY_LOG_SECONDS
            message = "The API server does not answer a watch; kopf tries again"
        record.msg, record.args = message.split("{", 1)[0][:300], ()
        record.exc_info = None
        return True


def _quieten() -> None:
    logger = logging.getLogger("kopf")
    logger.propagate = False
    logger.handlers[:] = [_Forward()]


class _Forward(logging.Handler):
    """Hands kopf's records on to the root logger's handlers; a logger's own filters would not see its children's."""

    def __init__(self) -> None:
        super().__init__()
        self.addFilter(_KopfFilter())

    def emit(self, record: logging.LogRecord) -> None:
        """Pass ``record`` on."""
        logging.getLogger().handle(record)
