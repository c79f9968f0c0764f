"""ProviderCredential: an account at a provider."""

from typing import Annotated, ClassVar, Final, Literal

from pydantic import BeforeValidator, Field

from trunkline_protocol.accounts import AZURE_UNDATED, AZURE_V1
from trunkline_protocol.providers import AZURE, PROVIDERS
from trunkline_protocol.resources.formats import (
    BaseURL,
    DnsLabel,
    GrantGlob,
    ProviderId,
    ProxyURL,
    Time,
)
from trunkline_protocol.resources.metadata import Namespaces, ObjectMeta, SecretKeyRef
from trunkline_protocol.resources.rules import Block, Items, Pattern, Rule

FORBIDDEN_HEADERS: Final = frozenset(
    {
        # What proves who calls: only `keys` may, so that every secret stands in a Secret.
        *(row.auth_header for row in PROVIDERS.values()),
        *("authorization", "proxy-authorization", "x-api-key", "api-key", "x-goog-api-key", "cookie"),
        # https://www.rfc-editor.org/rfc/rfc9110#section-7.6.1 and what else belongs to a connection or its framing
        *("connection", "proxy-connection", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade"),
        *("content-length", "expect", "host", "http2-settings", "proxy-authenticate"),
        # What the gateway says itself about the body that it sends and the answer that it can read.
        *("content-type", "content-encoding", "accept-encoding"),
    }
)
"""Names of headers, in lower case, that a credential cannot add."""

KEYED_PROVIDERS: Final = tuple(sorted(name for name, row in PROVIDERS.items() if row.auth == "required"))
"""Providers that never answer without a key."""

KEYLESS_PROVIDERS: Final = tuple(sorted(name for name, row in PROVIDERS.items() if row.auth == "none"))
"""Providers that need no key whatever `auth` says."""


HOMELESS_PROVIDERS: Final = tuple(
    sorted(
        name
        for name, row in PROVIDERS.items()
        if not row.base_url and not row.in_process and not name.endswith("-compatible")
    )
)
"""Providers that stand wherever somebody has put them. Those that are compatible with another have a rule of their own,
which knows even those that this version does not."""


def _quoted(words: tuple[str, ...]) -> str:
    """A list in CEL."""
    return "[" + ", ".join(f"'{word}'" for word in words) + "]"


_SENDS_NO_KEY = "(has(self.auth) && self.auth.type == 'None')"


class Header(Block):
    """A header of upstream requests."""

    name: Annotated[
        str,
        Field(max_length=256),
        Pattern("^[-!#$%&'*+.^_`|~0-9A-Za-z]+$", "must be the name of a header, such as x-tenant"),
        Rule(
            cel=f"!(self.lowerAscii() in {_quoted(tuple(sorted(FORBIDDEN_HEADERS)))})",
            check=lambda name: name.lower() not in FORBIDDEN_HEADERS,
            message="this header cannot be added: keys belong into `keys`, and the gateway sets the headers of the "
            "connection and the body itself",
        ),
    ] = Field(description="Name of the header; case does not matter.")
    value: Annotated[
        str,
        Field(max_length=4096),
        Pattern(
            r"^[!-~]([ \t!-~]*[!-~])?$",
            "must be printable ASCII without line breaks and without white space at its ends",
        ),
    ] = Field(description="Its value. Everybody who may read this object sees it: it is no place for a secret.")


class Endpoint(Block):
    """Where the provider listens and how to get there."""

    base_url: BaseURL | None = Field(
        None,
        alias="baseURL",
        description="Address of the API, as the provider's own SDK takes it (OpenAI-like ones with `/v1`, Anthropic "
        "and Gemini without). Default: the provider's public address; where there is none (`…-compatible`, Azure, "
        "servers of one's own) it is required.",
    )
    proxy_url: ProxyURL | None = Field(
        None, alias="proxyURL", description="HTTP proxy through which the provider is reached."
    )
    ca_secret_ref: SecretKeyRef | None = Field(
        None, description="PEM bundle of the authorities to trust instead of the well-known ones."
    )
    headers: Annotated[
        tuple[Header, ...],
        Items(16, key="name"),
        Rule(
            cel="self.all(a, self.exists_one(b, a.name.lowerAscii() == b.name.lowerAscii()))",
            check=lambda headers: len({header.name.lower() for header in headers}) == len(headers),
            message="each header may stand once; upper and lower case make no difference",
        ),
    ] = Field((), description="Headers to add to every upstream request, such as an organisation's id.")


class Auth(Block):
    """Who proves what to the provider."""

    type: Literal["APIKey", "None"] = Field(
        "APIKey", description="`APIKey`: one of `keys` is sent. `None`: nothing is sent."
    )


class Azure(Block):
    """What Azure wants to know."""

    api_version: (
        Annotated[
            str,
            Field(max_length=32),
            Pattern(
                f"^([0-9]{{4}}-[0-9]{{2}}-[0-9]{{2}}(-preview)?|{'|'.join(AZURE_UNDATED)})$",
                "must be a version of Azure's API, such as 2024-10-21 or 2025-04-01-preview, or v1",
            ),
        ]
        | None
    ) = Field(
        None,
        description="Version of the API, such as `2024-10-21`. `v1`, `preview` and `latest` mean the API without dates "
        "(`/openai/v1`), as does a base URL that ends with it.",
    )


class ProviderKey(Block):
    """One key of the account."""

    name: DnsLabel = Field(description="Name of the key, for status, logs and metrics.")
    secret_ref: SecretKeyRef = Field(description="Where the key stands.")
    weight: Annotated[int, Field(ge=1, le=1000)] = Field(
        1, description="Its share of the requests, relative to the other keys."
    )
    expiration_time: Time | None = Field(
        None, description="When the key stops being used, in RFC 3339. Default: never."
    )
    state: Literal["Active", "Disabled"] = Field("Active", description="`Disabled`: keep the key but do not use it.")


class ProviderCredentialSpec(Block):
    """What the account is."""

    rules: ClassVar = (
        Rule(
            cel=f"!{_SENDS_NO_KEY} || !has(self.keys) || size(self.keys) == 0",
            check=lambda spec: not (spec.sends_no_key and spec.keys),
            message="`auth.type: None` sends no key: remove keys, or leave auth out",
            field=".keys",
        ),
        Rule(
            cel=f"!{_SENDS_NO_KEY} || !(self.provider in {_quoted(KEYED_PROVIDERS)})",
            check=lambda spec: not (spec.sends_no_key and spec.provider in KEYED_PROVIDERS),
            message="this provider does not answer without a key: leave auth out and give keys",
            field=".auth",
        ),
        Rule(
            cel=f"{_SENDS_NO_KEY} || self.provider in {_quoted(KEYLESS_PROVIDERS)}"
            " || (has(self.keys) && size(self.keys) > 0)",
            check=lambda spec: spec.sends_no_key or spec.provider in KEYLESS_PROVIDERS or bool(spec.keys),
            message="give at least one of keys, each with the Secret that holds it; an upstream that asks for no key "
            "takes `auth: {type: None}`",
            field=".keys",
            reason="FieldValueRequired",
        ),
        Rule(
            cel="!self.provider.endsWith('-compatible') || (has(self.endpoint) && has(self.endpoint.baseURL))",
            check=lambda spec: (
                not spec.provider.endswith("-compatible")
                or (spec.endpoint is not None and spec.endpoint.base_url is not None)
            ),
            message="a compatible provider has no address of its own: give endpoint.baseURL",
            field=".endpoint",
            reason="FieldValueRequired",
        ),
        Rule(
            cel=f"!(self.provider in {_quoted(HOMELESS_PROVIDERS)})"
            " || (has(self.endpoint) && has(self.endpoint.baseURL))",
            check=lambda spec: spec.provider not in HOMELESS_PROVIDERS or bool(spec.base_url),
            message="this provider has another address for everybody: give endpoint.baseURL, such as "
            "https://RESOURCE.openai.azure.com or http://vllm.models:8000/v1",
            field=".endpoint",
            reason="FieldValueRequired",
        ),
        Rule(
            cel=f"!has(self.azure) || self.provider == '{AZURE}'",
            check=lambda spec: spec.azure is None or spec.provider == AZURE,
            message=f"azure is for `provider: {AZURE}` only: remove it",
            field=".azure",
        ),
        Rule(
            cel=f"self.provider != '{AZURE}' || (has(self.azure) && has(self.azure.apiVersion))"
            " || !has(self.endpoint) || !has(self.endpoint.baseURL)"
            f" || self.endpoint.baseURL.matches(r'{AZURE_V1.pattern}')",
            check=lambda spec: (
                spec.provider != AZURE
                or bool(spec.api_version)
                or not spec.base_url
                or AZURE_V1.search(spec.base_url) is not None
            ),
            message="give azure.apiVersion, such as 2024-10-21, or a base URL that ends with /openai/v1",
            field=".azure",
            reason="FieldValueRequired",
        ),
    )

    provider: ProviderId = Field(
        description="Which provider, by its id in the registry: `openai`, `openai-compatible`, `echo`, …"
    )
    endpoint: Endpoint | None = Field(None, description="Where the provider listens and how to get there.")
    auth: Auth | None = Field(None, description="What is proved to the provider. Default: an API key.")
    azure: Azure | None = Field(None, description="What Azure wants to know, with `provider: azure-openai`.")
    keys: Annotated[tuple[ProviderKey, ...], Items(64, key="name")] = Field(
        (), description="The keys of the account. Requests are spread over those that work, so they can be rotated."
    )
    direct_models: Annotated[tuple[GrantGlob, ...], Items(64)] = Field(
        (),
        description="Models of the account (names, or globs with `*`) that may be called without a ModelGroup, as "
        "`credential:model`, by VirtualKeys whose `models` name `credential:…`.",
    )
    allowed_namespaces: Namespaces | None = Field(
        None, description="Whose ModelGroups may refer to this credential. Default: those of its own namespace."
    )

    @property
    def sends_no_key(self) -> bool:
        """Whether ``auth`` says that nothing is sent."""
        return self.auth is not None and self.auth.type == "None"

    @property
    def base_url(self) -> str:
        """That of ``endpoint``, or nothing."""
        return (self.endpoint.base_url if self.endpoint is not None else None) or ""

    @property
    def api_version(self) -> str:
        """That of ``azure``, or nothing."""
        return (self.azure.api_version if self.azure is not None else None) or ""


class ProviderCredential(Block):
    """An account at a provider: which provider, where it listens, how to authenticate, its keys."""

    api_version: Literal["trunkline.dev/v1alpha1"]
    kind: Literal["ProviderCredential"]
    metadata: ObjectMeta
    spec: ProviderCredentialSpec = Field(description="What the account is.")
    status: Annotated[None, BeforeValidator(lambda _: None)] = Field(None, exclude=True, repr=False)
