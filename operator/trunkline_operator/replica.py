"""This operator as one of several: the Lease, what it reports to the writer, and what it does as the writer."""

import asyncio
import contextlib
import ipaddress
import socket
from collections.abc import Awaitable, Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Final

import jwt

from trunkline_operator import kube
from trunkline_operator.metrics import Metrics, single
from trunkline_operator.peers.bounds import MAX_PEERS
from trunkline_operator.peers.client import UNREACHABLE_SECONDS, Credentials, PeerClient
from trunkline_operator.peers.duty import Duty
from trunkline_operator.peers.elector import Elector, Standing, identity
from trunkline_operator.peers.lease import Candidate
from trunkline_operator.report.writer import Patch, StatusWriter
from trunkline_operator.runtime import Operator
from trunkline_operator.watch.world import Ref

PATCH_SECONDS: Final = 4.0
"""How long a write may take: less than there is between the end of one writer's time and the beginning of the next."""


class Replica:
    """One replica. Construct it in the loop that runs it, then `join` the operator before that runs."""

    def __init__(
        self,
        client: kube.Kube,
        lease: tuple[str, str],
        address: str,
        tell: Callable[[str, str], None] = lambda topic, sentence: None,
    ) -> None:
        """Make one that neither writes nor reports.

        Args:
            client: The API server.
            lease: Namespace and name of the Lease.
            address: ``HOST:PORT`` where the others reach this one; empty: nobody reports to it.
            tell: Told what is in the way; `problems.Problems.tell`.
        """
        self._address = address
        self._tell = tell
        self._elector = Elector(client, lease, Candidate(identity(), address), self._moved, tell=tell)
        self._others: dict[str, None] = {}
        self._nowhere: asyncio.TimerHandle | None = None
        self._duty: Duty | None = None
        self._client: PeerClient | None = None
        self._operator: Operator | None = None

    def guarded(self, patch: Patch) -> Patch:
        """``patch`` while the Lease is held, at the very moment of each write."""

        async def guarded(ref: Ref, body: Mapping[str, Any]) -> int:
            if not self._elector.holds():
                raise kube.UnavailableError("this replica does not hold the Lease")
            try:
                async with asyncio.timeout(PATCH_SECONDS):
                    return await patch(ref, body)
            except TimeoutError:
                raise kube.UnavailableError(f"no answer in {PATCH_SECONDS:.0f} s") from None

        return guarded

    def join(self, operator: Operator, writer: StatusWriter, credentials: Credentials) -> None:
        """Wire an operator and its writer, which is to be made with its writes off."""

        def begin() -> None:
            writer.clear()
            operator.resume_reports()
            writer.set_writes(True)

        def end() -> None:
            writer.set_writes(False)
            operator.suspend_reports()
            writer.clear()

        operator.suspend_reports()
        self._operator = operator
        self._client = PeerClient(
            operator.fleet,
            self._elector.identity,
            credentials,
            self._elector.look,
            address=self._address,
            tell=self._tell,
            told=self._heard_of,
        )
        operator.follow(self._client.changed)
        self._duty = Duty(begin=begin, end=end, report_to=self._report_to)

    @property
    def background(self) -> tuple[Callable[[], Awaitable[None]], ...]:
        """What has to run as long as the operator."""
        return (self._campaign, *([self._client.run] if self._client is not None else []))

    def register(self, metrics: Metrics) -> None:
        """Add the metrics."""
        metrics.gauge(
            "is_writer",
            "Whether this replica writes statuses and Events: it holds the Lease.",
            single(lambda: float(self._elector.standing.writes)),
        )
        metrics.counter(
            "lease_transitions",
            "Changes of the Lease's holder that this replica has seen.",
            single(lambda: self._elector.transitions),
        )
        metrics.gauge(
            "peers_connected",
            "Replicas that report to this one, or 1 where it reports to the writer.",
            single(lambda: len(self._peers()) + bool(self._client and self._client.connected)),
        )

    def warnings(self) -> list[str]:
        """What does not work, and does not make this replica unready."""
        if self._elector.standing.sure:
            return []
        return ["this replica does not reach the API server: its gateways may serve what is old, or was revoked"]

    def page(self) -> dict[str, Any]:
        """For the debug page."""
        standing, client = self._elector.standing, self._client
        now = asyncio.get_running_loop().time()
        return {
            "identity": self._elector.identity,
            "peerAddress": self._address,
            "lease": self._elector.lease,
            "holder": standing.holder,
            "holderAddress": standing.address,
            "isWriter": standing.writes,
            "writes": self._duty is not None and self._duty.writes,
            "sure": standing.sure,
            "knownPeers": list(self._others),
            "reporting": client is not None and client.connected,
            "reportingError": client.last_error if client is not None and not standing.writes else "",
            "peers": [
                {
                    "identity": peer.identity,
                    "gateways": sorted(peer.gateways),
                    "names": len(peer.table),
                    "connectedSeconds": round(now - peer.since, 1),
                    "lastReportSeconds": round(now - peer.seen, 1),
                }
                for peer in self._peers()
            ],
            "missing": [
                {
                    "identity": peer.identity,
                    "gateways": sorted(peer.gateways),
                    "lastReportSeconds": round(now - peer.seen, 1),
                }
                for peer in (self._operator.whole.missing if self._operator is not None else ())
            ],
        }

    async def _campaign(self) -> None:
        """A replica that has not listed everything has nothing to write, and must not keep others from it."""
        if self._operator is not None:
            await self._operator.compiled_once.wait()
        await self._elector.run()

    def _moved(self, standing: Standing) -> None:
        if self._duty is not None:
            self._duty.changed(standing)

    def _report_to(self, address: str) -> None:
        """To the holder, and to all that we know while we cannot ask who that is: one of them writes."""
        standing = self._elector.standing
        if self._operator is not None and (found := self._operator.whole.addresses):
            self._others = dict.fromkeys(found[:MAX_PEERS])
        searching = not standing.writes and not standing.sure
        addresses = [address, *self._others] if searching else [address]
        # Where the Lease still names the process that was here before us, that is ourselves.
        if self._client is not None:
            self._client.to(*(each for each in addresses if each != self._address), searching=searching)
        self._complain_of_nowhere(standing)

    def _heard_of(self, addresses: Iterable[str]) -> None:
        standing = self._elector.standing
        found = dict.fromkeys(each for each in addresses if each != self._address)
        if standing.writes:
            return
        if standing.sure:
            self._others = found
        elif found.keys() - self._others.keys():
            self._others = dict.fromkeys([*self._others, *found][:MAX_PEERS])
            self._report_to(standing.address)

    def _complain_of_nowhere(self, standing: Standing) -> None:
        """Say that the holder takes no reports, where that lasts."""
        if self._nowhere is not None:
            self._nowhere.cancel()
            self._nowhere = None
        if standing.writes or not standing.holder or standing.address:
            self._tell("holder", "")
            return
        sentence = (
            f"the holder of the Lease {self._elector.lease}, {standing.holder}, does not say where it takes reports: "
            "statuses do not speak of the gateways here (--peer-address)"
        )
        loop = asyncio.get_running_loop()
        self._nowhere = loop.call_later(UNREACHABLE_SECONDS, self._tell, "holder", sentence)

    def _peers(self) -> list[Any]:
        return list(self._operator.whole.peers) if self._operator is not None else []


def own_account(token_file: Path | None) -> tuple[str, str] | None:
    """Namespace and name of the ServiceAccount whose token this is: our own, so nobody has to check it."""
    if token_file is None:
        return None
    with contextlib.suppress(OSError, ValueError, jwt.PyJWTError):
        claims = jwt.decode(token_file.read_text(encoding="ascii").strip(), options={"verify_signature": False})
        kind, _, rest = str(claims.get("sub")).partition("serviceaccount:")
        namespace, _, name = rest.partition(":")
        if kind == "system:" and namespace and name:
            return namespace, name
    return None


def own_address(port: int) -> str:
    """Where other pods reach this one's ``port``, by the name that Kubernetes gave it; empty: that is not known."""
    try:
        found = socket.getaddrinfo(socket.gethostname(), port, type=socket.SOCK_STREAM)
    except OSError:
        return ""
    for *_, (host, *_) in found:
        if not ipaddress.ip_address(str(host).partition("%")[0]).is_loopback:
            return f"[{host}]:{port}" if ":" in str(host) else f"{host}:{port}"
    return ""
