"""``trunkline-operator``: the operator over a cluster, as a process."""

import asyncio
import contextlib
import logging
import signal
import socket
import sys
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import Any, Final

import uvloop

from trunkline_operator import admin, kube, settings
from trunkline_operator.authority_objects import AuthorityObjects
from trunkline_operator.compile.compiler import compile as compile_world
from trunkline_operator.compile.memo import Memo
from trunkline_operator.metrics import Metrics, by_label, single
from trunkline_operator.peers.client import Credentials
from trunkline_operator.problems import Pod, Problems
from trunkline_operator.publish.authenticate import Authenticator, Nobody, ServiceAccountTokens
from trunkline_operator.publish.tls import ServingCertificate, TLSError, default_names
from trunkline_operator.readiness import Readiness
from trunkline_operator.replica import Replica, own_account, own_address
from trunkline_operator.report.events import EventRecorder
from trunkline_operator.report.writer import Patch, StatusWriter
from trunkline_operator.rights import Rights, needed
from trunkline_operator.runtime import Listener, Operator
from trunkline_operator.settings import Settings
from trunkline_operator.tokens import TokenReviews
from trunkline_operator.watch.cluster import ClusterSource
from trunkline_operator.watch.lists import BY_KIND
from trunkline_operator.watch.source import Changes
from trunkline_operator.watch.world import Ref, World
from trunkline_protocol import logs

_LOG: Final = logging.getLogger(__name__)

_EVENTS: Final = "/apis/events.k8s.io/v1"


def main(argv: Sequence[str] | None = None) -> None:
    """Run until SIGTERM or SIGINT; exit code 2 where the settings are wrong, 1 where it cannot run."""
    given = settings.read(argv)
    logs.configure(level=given.log_level, log_format=given.log_format)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        code = runner.run(_until_signalled(given))
    sys.exit(code)


async def _until_signalled(given: Settings) -> int:
    loop = asyncio.get_running_loop()
    running = asyncio.create_task(run(given))
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, running.cancel)
    try:
        await running
    except asyncio.CancelledError:
        _LOG.info("Stopped")
        return 0
    except kube.ConfigurationError as error:
        _LOG.error("Cannot reach a cluster: %s", error)
        return 2
    except (OSError, TLSError) as error:
        _LOG.error("Cannot start: %s", error)
        return 1
    return 0


async def run(given: Settings) -> None:
    """Run the operator over a cluster until cancelled.

    Raises:
        kube.ConfigurationError: there is no kubeconfig and no ServiceAccount.
        OSError, TLSError: it cannot listen.
    """
    client = await kube.Kube.connect(given.kubeconfig)
    async with contextlib.AsyncExitStack() as stack:
        stack.push_async_callback(client.close)
        recorder = EventRecorder(partial(_create_event, client))
        patch: Patch = partial(_patch_status, client)
        problems = Problems(partial(_create_event, client), Pod.of())
        replica = _replica(client, given, problems)
        if replica is not None:
            patch = replica.guarded(patch)
        writer = StatusWriter(patch, recorder.post, writes=given.writes and replica is None)
        tokens = TokenReviews(client)
        authenticator = ServiceAccountTokens(
            given.gateway_service_account,
            tokens,
            clock=_unix_seconds,
            keys=tokens.keys,
        )
        peers = _peers(tokens, given)
        names = default_names(
            settings.own_namespace() or given.gateway_service_account[0], hostname=socket.gethostname()
        )
        certificate = ServingCertificate(given.tls_dir, (*names, *given.tls_names))
        rights = Rights(
            client,
            list(needed(given.namespaces, secret=given.tls_secret, config_map=given.ca_configmap, lease=given.lease)),
            problems.tell,
        )
        authority = _authority(client, certificate, given, problems)
        sources: list[ClusterSource] = []

        def source(world: World, changes: Changes) -> ClusterSource:
            made = ClusterSource(
                client,
                world,
                changes,
                kubeconfig=given.kubeconfig,
                namespaces=given.namespaces,
                tell=problems.tell,
            )
            sources.append(made)
            return made

        operator = Operator(
            source,
            partial(compile_world, memo=Memo(), platform_namespaces=frozenset(given.platform_namespaces) or None),
            writer,
            Listener(
                address=f"{_bracketed(given.host)}:{given.grpc_port}",
                authenticator=authenticator,
                certificate=certificate,
                peers=peers,
            ),
            tell=problems.tell,
        )
        if replica is not None:
            credentials = Credentials(
                ca_file=given.tls_dir / "ca.crt",
                token_file=given.peer_token_file,
                server_name=given.peer_tls_name,
            )
            replica.join(operator, writer, credentials)
            replica.register(operator.metrics)
        _register(operator.metrics, sources[0], writer, recorder)
        _register_certificate(operator.metrics, certificate, authority)

        def why_nothing_is_served() -> list[str]:
            # Nothing is listed before there is something to serve with.
            return (authority.why_not() if authority is not None else []) or operator.why_not_ready()

        readiness = Readiness(why_nothing_is_served, rights)
        pages = admin.Pages(
            why_not_ready=readiness.why_not,
            warnings=lambda: [*readiness.warnings(), *(replica.warnings() if replica is not None else ())],
            metrics=operator.metrics.render,
            gateways=operator.gateways,
            relist=sources[0].relist,
            replicas=replica.page if replica is not None else None,
        )
        runner = await admin.serve(given.host, given.admin_port, pages)
        stack.push_async_callback(runner.cleanup)
        background: list[Callable[[], Awaitable[None]]] = [problems.run, rights.run]
        if isinstance(peers, ServiceAccountTokens):
            background.append(peers.refresh_keys)
        if authority is not None:
            background.append(authority.run)
            await _meanwhile(authority.until_usable, background)
        if replica is not None:
            background += replica.background
        await operator.run(writer.run, recorder.run, authenticator.refresh_keys, *background)


async def _meanwhile(done: Callable[[], Awaitable[None]], background: Sequence[Callable[[], Awaitable[None]]]) -> None:
    """Wait for ``done`` while ``background`` runs."""

    async def awaited(each: Callable[[], Awaitable[None]]) -> None:
        await each()

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(awaited(each)) for each in background]
        await done()
        for task in tasks:
            task.cancel()


def _authority(
    client: kube.Kube, certificate: ServingCertificate, given: Settings, problems: Problems
) -> AuthorityObjects | None:
    """What shares the CA among replicas; None: each has its own, or somebody else makes the certificate."""
    if given.tls_secret is None or given.ca_configmap is None:
        return None
    return AuthorityObjects(
        client,
        certificate,
        secret=given.tls_secret,
        config_map=given.ca_configmap,
        tell=problems.tell,
        delay=given.ca_publish_delay,
    )


def _replica(client: kube.Kube, given: Settings, problems: Problems) -> Replica | None:
    """This operator as one of several; None: it is the only one, or never writes."""
    if given.lease is None or not given.writes:
        return None
    address = given.peer_address or (own_address(given.grpc_port) if settings.own_namespace() else "")
    return Replica(client, given.lease, address, problems.tell)


def _peers(tokens: TokenReviews, given: Settings) -> Authenticator | None:
    """Who may report as another replica; None: there are no others."""
    if given.lease is None:
        return None
    account = given.operator_service_account or own_account(given.peer_token_file)
    if account is None:
        return Nobody("which ServiceAccount other replicas have is not known (--operator-service-account)")
    may = "report what gateways say (--operator-service-account)"
    return ServiceAccountTokens(account, tokens, clock=_unix_seconds, keys=tokens.keys, may=may)


async def _patch_status(client: kube.Kube, ref: Ref, body: Mapping[str, Any]) -> int:
    path = BY_KIND[ref.kind].path(ref.namespace, ref.name, "status")
    answer = await client.request(
        "PATCH", path, body, query={"fieldManager": "trunkline-operator"}, content_type=kube.MERGE_PATCH
    )
    return int(answer["metadata"]["resourceVersion"])


async def _create_event(client: kube.Kube, namespace: str, event: Mapping[str, Any]) -> None:
    await client.request("POST", kube.object_path(_EVENTS, namespace, "events"), event)


def _register(metrics: Metrics, source: ClusterSource, writer: StatusWriter, recorder: EventRecorder) -> None:
    metrics.counter(
        "status_writes",
        "Statuses written, gone before that, decided anew since the object had changed (conflict), or failed.",
        by_label("outcome", lambda: writer.outcomes),
        "outcome",
    )
    metrics.gauge("status_pending", "Statuses that wait to be written.", single(lambda: writer.pending))
    metrics.counter(
        "events", "Events posted, repeated or dropped.", by_label("outcome", lambda: recorder.outcomes), "outcome"
    )
    metrics.counter(
        "watch_events", "Events from the API server's watches.", by_label("kind", lambda: source.events), "kind"
    )
    metrics.counter("watch_restarts", "Times that watching had to start again.", single(lambda: source.restarts))
    metrics.gauge(
        "watch_event_age_seconds", "Time since the last event from any watch.", single(source.event_age_seconds)
    )
    metrics.counter("relists", "Complete re-LISTs.", single(lambda: source.relists))
    metrics.counter(
        "relist_phantoms",
        "Objects that a re-LIST found gone without an event.",
        by_label("kind", lambda: source.phantoms),
        "kind",
    )
    metrics.counter(
        "relist_missed",
        "Objects that a re-LIST found newer than any event.",
        by_label("kind", lambda: source.missed),
        "kind",
    )


def _register_certificate(
    metrics: Metrics, certificate: ServingCertificate, authority: AuthorityObjects | None
) -> None:
    metrics.gauge(
        "serving_certificate_expires_seconds",
        "When the serving certificate ends, in Unix seconds.",
        single(lambda: certificate.expires.timestamp() if certificate.expires else None),
    )
    if authority is not None:
        metrics.counter(
            "authorities_made",
            "Authorities for the serving certificates that this replica has made.",
            single(lambda: authority.rotations),
        )


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _unix_seconds() -> float:
    return time.time()  # noqa: TID251 - tokens expire by the wall clock


if __name__ == "__main__":
    main()
