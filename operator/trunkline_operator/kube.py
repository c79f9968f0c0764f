"""The operator's own connection to the API server: a thin layer over ``kubernetes.aio`` that speaks plain JSON.

The library brings what is hard to get right (kubeconfigs, exec plugins, in-cluster credentials and their rotation, TLS,
proxies); its generated models would cost more than they give, so objects are mappings here. Watching is kopf's part.
"""

import asyncio
import ipaddress
import json
import logging
import time
import warnings
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any, Final, Self
from urllib.parse import quote, urlencode, urlsplit

import aiohttp
import msgspec
from kubernetes.aio import config as kubernetes_config
from kubernetes.aio.client import ApiClient, Configuration

from trunkline_operator import shallow

# Half of the library is annotated, and none of the functions used here.
_config: Any = kubernetes_config
logging.getLogger("kubernetes").setLevel(logging.ERROR)  # what matters of it is raised
_ApiClient: Any = ApiClient

_LOG: Final = logging.getLogger(__name__)

_TIMEOUT_SECONDS: Final = 15.0
_PAGE: Final = 500
_RELOAD_SECONDS: Final = 10.0

JSON: Final = "application/json"
MERGE_PATCH: Final = "application/merge-patch+json"
METADATA: Final = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"
METADATA_LIST: Final = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"


class ConfigurationError(ValueError):
    """There is no usable kubeconfig and we do not run in a cluster; a sentence that says so."""


class ApiError(Exception):
    """The API server answered with an error.

    Attributes:
        status: The HTTP status.
        reason: Kubernetes' own word for it, such as ``NotFound``; may be empty.
        retry_after_seconds: What it asked for; 0: nothing.
    """

    def __init__(self, status: int, reason: str, message: str, retry_after_seconds: float = 0) -> None:
        super().__init__(f"{status} {reason}: {message}")
        self.status = status
        self.reason = reason
        self.retry_after_seconds = retry_after_seconds


class UnavailableError(Exception):
    """There was no answer."""


@dataclass(frozen=True, slots=True)
class Page:
    """One page of a LIST; ``revision`` is that of the whole list."""

    items: list[dict[str, Any]]
    revision: int


async def load_configuration(kubeconfig: Path | None) -> Configuration:
    """Read a kubeconfig (``--kubeconfig``), else the in-cluster ServiceAccount, else the default kubeconfig.

    Raises:
        ConfigurationError: there is none of them, or it cannot be read.
    """
    configuration = Configuration()
    if kubeconfig is not None and not _exists(kubeconfig):
        raise ConfigurationError(f"there is no kubeconfig {kubeconfig}")
    try:
        if kubeconfig is not None:
            await _load_file(str(kubeconfig), configuration)
        else:
            try:
                _config.load_incluster_config(client_configuration=configuration)
            except kubernetes_config.ConfigException:
                await _load_file(None, configuration)
    except (kubernetes_config.ConfigException, OSError, ValueError) as error:
        where = f"kubeconfig {kubeconfig}" if kubeconfig else "neither an in-cluster ServiceAccount nor a kubeconfig"
        raise ConfigurationError(f"{where}: {error}") from error
    # As client-go does: the machine's proxy settings are not for the loopback interface.
    # Python 3.13 alone refuses the authorities of many clusters, which lack a key usage or identifier of RFC 5280.
    configuration.disable_strict_ssl_verification = True
    configuration.client_session_kwargs = {"trust_env": not _is_loopback(configuration.host)}
    return configuration


async def _load_file(path: str | None, configuration: Configuration) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        await _config.load_kube_config(config_file=path, client_configuration=configuration, persist_config=False)


def _exists(path: Path) -> bool:
    return path.is_file()


def _is_loopback(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class Kube:
    """A client of one API server. Belongs to one event loop."""

    def __init__(self, configuration: Configuration, kubeconfig: Path | None) -> None:
        self._kubeconfig = kubeconfig
        self._client = _ApiClient(configuration)
        self._reloaded = 0.0
        self._reloading = asyncio.Lock()
        self._ahead = timedelta(0)

    @classmethod
    async def connect(cls, kubeconfig: Path | None) -> Self:
        """Load the configuration; no request is made yet.

        Raises:
            ConfigurationError: see `load_configuration`.
        """
        return cls(await load_configuration(kubeconfig), kubeconfig)

    async def close(self) -> None:
        """Close its connections."""
        await self._client.close()

    def server_time(self) -> datetime:
        """The API server's clock, as its last answer had it (to a second); before the first one our own."""
        return datetime.now(UTC) + self._ahead

    async def get(self, path: str, *, accept: str = JSON, **query: str) -> dict[str, Any]:
        """GET ``path``; see `request` for what it raises."""
        return await self.request("GET", path, accept=accept, query=query)

    async def request(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        *,
        query: Mapping[str, str] | None = None,
        accept: str = JSON,
        content_type: str = JSON,
        timeout_seconds: float = _TIMEOUT_SECONDS,
    ) -> dict[str, Any]:
        """Send one request and return the answer's JSON.

        A 401 makes it read the configuration again, once: tokens rotate.

        Raises:
            ApiError: the answer's status is 400 or more.
            UnavailableError: there was no answer in ``timeout_seconds``.
        """
        url = path + (f"?{urlencode(query)}" if query else "")
        for attempt in (1, 2):
            client = self._client
            headers = {"Accept": accept, "Content-Type": content_type, "User-Agent": "trunkline-operator"}
            try:
                await client.update_params_for_auth(headers, [], ["BearerToken"], url, method, body)
                answer = await client.rest_client.request(
                    method,
                    client.configuration.host + url,
                    headers=headers,
                    body=body,
                    _request_timeout=aiohttp.ClientTimeout(total=timeout_seconds),
                )
                content: bytes = await answer.read()
            except (aiohttp.ClientError, OSError, TimeoutError, kubernetes_config.ConfigException) as error:
                raise UnavailableError(f"{method} {path}: {type(error).__name__}: {error}") from error
            if answer.status == 401 and attempt == 1 and await self._reload(client):
                continue
            self._note_time(answer.headers.get("Date", ""))
            return _decoded(answer.status, answer.headers, content)
        raise AssertionError("unreachable")  # pragma: no cover

    async def pages(self, path: str, *, label_selector: str = "", metadata_only: bool = False) -> AsyncIterator[Page]:
        """LIST ``path`` page by page.

        Raises:
            ApiError, UnavailableError: as `request`; a 410 means that the list took too long and has to start again.
        """
        query = {"limit": str(_PAGE)} | ({"labelSelector": label_selector} if label_selector else {})
        while True:
            answer = await self.request("GET", path, query=query, accept=METADATA_LIST if metadata_only else JSON)
            metadata = answer.get("metadata", {})
            yield Page(answer.get("items") or [], int(metadata.get("resourceVersion") or 0))
            if not (following := metadata.get("continue")):
                return
            query["continue"] = following

    async def token_review(self, token: str, audience: str) -> dict[str, Any]:
        """Ask whose ``token`` this is; the ``status`` of the review.

        Raises:
            ApiError, UnavailableError: as `request`.
        """
        review = {
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenReview",
            "spec": {"token": token, "audiences": [audience]},
        }
        answer = await self.request("POST", "/apis/authentication.k8s.io/v1/tokenreviews", review, timeout_seconds=5)
        status: dict[str, Any] = answer.get("status") or {}
        return status

    async def jwks(self) -> dict[str, Any]:
        """The public keys that ServiceAccount tokens are signed with.

        Raises:
            ApiError, UnavailableError: as `request`.
        """
        return await self.get("/openid/v1/jwks", accept="application/jwk-set+json, application/json")

    async def issuer(self) -> str:
        """Who signs ServiceAccount tokens; empty where the API server does not say.

        https://kubernetes.io/docs/tasks/configure-pod-container/configure-service-account/#service-account-issuer-discovery

        Raises:
            ApiError, UnavailableError: as `request`.
        """
        return str((await self.get("/.well-known/openid-configuration")).get("issuer") or "")

    async def whoami(self) -> str:
        """The user that we are to the API server, such as ``system:serviceaccount:NS:NAME``.

        https://kubernetes.io/docs/reference/access-authn-authz/authentication/#self-subject-review

        Raises:
            ApiError, UnavailableError: as `request`.
        """
        review = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}
        answer = await self.request("POST", "/apis/authentication.k8s.io/v1/selfsubjectreviews", review)
        return str(((answer.get("status") or {}).get("userInfo") or {}).get("username") or "")

    async def may(self, attributes: Mapping[str, str]) -> bool:
        """Whether we may do what ``attributes`` say: verb, group, resource, subresource, namespace, name.

        https://kubernetes.io/docs/reference/access-authn-authz/authorization/#checking-api-access

        Raises:
            ApiError, UnavailableError: as `request`.
        """
        review = {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SelfSubjectAccessReview",
            "spec": {"resourceAttributes": dict(attributes)},
        }
        answer = await self.request("POST", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", review)
        return (answer.get("status") or {}).get("allowed") is True

    async def rules(self, namespace: str) -> tuple[list[dict[str, Any]], bool]:
        """What we may do in ``namespace``, rights of the whole cluster included, and whether that is all of it.

        An authorizer may not be able to list what it allows; then it is not all, and `may` tells of a single thing.
        https://kubernetes.io/docs/reference/kubernetes-api/authorization-resources/self-subject-rules-review-v1/

        Raises:
            ApiError, UnavailableError: as `request`.
        """
        review = {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SelfSubjectRulesReview",
            "spec": {"namespace": namespace},
        }
        answer = await self.request("POST", "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews", review)
        status = answer.get("status") or {}
        return status.get("resourceRules") or [], status.get("incomplete") is False

    def _note_time(self, date: str) -> None:
        try:
            self._ahead = parsedate_to_datetime(date) - datetime.now(UTC)
        except (ValueError, TypeError):
            return

    async def _reload(self, refused: ApiClient) -> bool:
        """Replace the client whose credentials were refused; whether there is a new one."""
        async with self._reloading:
            if self._client is not refused:
                return True
            if time.monotonic() - self._reloaded < _RELOAD_SECONDS:
                return False
            self._reloaded = time.monotonic()
            try:
                configuration = await load_configuration(self._kubeconfig)
            except ConfigurationError as error:
                _LOG.warning("The API server refuses our credentials, and there are no new ones: %s", error)
                return False
            self._client = _ApiClient(configuration)
            # Requests that are still under way on the old one get to finish.
            asyncio.get_running_loop().call_later(_TIMEOUT_SECONDS, _close_later, refused.close)
            return True


_closing: Final[set[asyncio.Task[None]]] = set()


def _close_later(close: Callable[[], Coroutine[Any, Any, None]]) -> None:
    task = asyncio.ensure_future(close())
    _closing.add(task)
    task.add_done_callback(_closing.discard)


async def session(configuration: Configuration, *, trace_configs: list[aiohttp.TraceConfig]) -> aiohttp.ClientSession:
    """An HTTP session with the same address, trust and credentials, for kopf; belongs to the calling loop.

    Raises:
        ConfigurationError: the credentials cannot be read.
    """
    client = _ApiClient(configuration)
    headers: dict[str, str] = {}
    try:
        await client.update_params_for_auth(headers, [], ["BearerToken"], "", "GET", None)
    except (kubernetes_config.ConfigException, OSError) as error:
        raise ConfigurationError(str(error)) from error
    return aiohttp.ClientSession(
        response_class=_Response,
        connector=aiohttp.TCPConnector(limit=0, ssl=client.rest_client.ssl_context),
        headers=headers,
        proxy=configuration.proxy,
        trust_env=not _is_loopback(configuration.host),
        trace_configs=trace_configs,
    )


class _Response(aiohttp.ClientResponse):
    """For whoever else uses a session of ours: kopf."""

    async def json(self, **_: object) -> Any:  # noqa: ANN401 - whatever JSON holds
        """Decode the body.

        Raises:
            json.JSONDecodeError: it is not JSON; kopf takes that for an answer without one.
        """
        try:
            return shallow.decode(await self.read())
        except msgspec.DecodeError as error:
            raise json.JSONDecodeError(str(error), "", 0) from None


def object_path(root: str, namespace: str, plural: str, name: str = "", subresource: str = "") -> str:
    """The path of a collection, or of an object; ``root`` such as ``/api/v1``, an empty namespace: of the cluster."""
    parts = [root]
    if namespace:
        parts += ["namespaces", quote(namespace, safe="")]
    parts.append(plural)
    parts += [quote(part, safe="") for part in (name, subresource) if part]
    return "/".join(parts)


def _decoded(status: int, headers: Mapping[str, str], content: bytes) -> dict[str, Any]:
    try:
        answer = shallow.decode(content) if content else {}
    except msgspec.DecodeError:
        answer = {}
        if status < 400:
            raise UnavailableError("the answer is not JSON") from None
    if not isinstance(answer, dict):
        raise UnavailableError("the answer is not a JSON object")
    if status >= 400:
        retry_after = headers.get("Retry-After", "")
        message = str(answer.get("message") or "no message")[:500]
        raise ApiError(
            status, str(answer.get("reason") or ""), message, float(retry_after or 0) if retry_after.isdigit() else 0
        )
    return answer
