"""What the registry says of a provider, and what comes of it for an account: where it is reached, what is spoken."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal, TypeAlias

Dialect = Literal[
    "openai_chat",
    "openai_responses",
    "openai_embeddings",
    "anthropic_messages",
    "gemini_generate",
    "gemini_embed",
    "bedrock_converse",
]
"""A wire format. A row may speak what some gateway has no codec for: that gateway leaves it out."""

Auth = Literal["required", "optional", "none"]

Paths: TypeAlias = Mapping[str, str]
"""Operation (``chat``, ``embeddings``, ``count_tokens``), or operation and ``+stream`` → path below the base URL."""

ANTHROPIC_VERSION: Final = ("anthropic-version", "2023-06-01")
"""https://docs.anthropic.com/en/api/versioning"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Speaks:
    """Where and how a provider speaks one dialect, as far as it differs from the row.

    Attributes:
        base_url: An address of its own, beside the row's. It counts only while the account has no
            ``endpoint.baseURL``: nothing tells where a proxy or another region has it, so then it is not spoken.
        at_root: Below the base URL without the version at its end, since the dialect's own paths begin with theirs.
        paths: In place of the dialect's own; ``{model}`` is the model, ``{api-version}`` the account's.
        auth_header: In lower case; empty: the row's, with its scheme.
        auth_scheme: With ``auth_header``.
    """

    base_url: str = ""
    at_root: bool = False
    paths: Paths = field(default_factory=dict)
    auth_header: str = ""
    auth_scheme: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Provider:
    """One row of the registry.

    Attributes:
        base_url: As the provider's own SDK takes it; empty where the credential has to say it.
        tolerates: What a user's base URL may end with though the SDK would not take it; the first that fits is cut off.
        auth: Whether an account needs a key. ``none``: a key would have nowhere to go.
        auth_header: Header that carries the key upstream, in lower case.
        auth_scheme: What stands before the key in that header, with its space; may be empty.
        speaks: What the provider speaks by itself, the preferred one first.
        pinnable: What it speaks besides, to targets that ask for it with ``dialect``.
        quirks: Ways in which it differs from its dialects, by the names of the gateway's dialects (``QUIRKS`` of
            `trunkline_gateway.dialects.openai_chat.quirks` and of others); what a gateway does not know it ignores.
        beta_headers: Values of beta headers that it takes; see `routing.proto`.
        models: The provider whose rows of the bundled table of models are true of it; empty: its own name.
        azure: Its accounts have an ``azure.apiVersion``, and there is an API without dates.
        in_process: Served by the gateway itself; no connection is made.
    """

    base_url: str = ""
    tolerates: tuple[str, ...] = ()
    auth: Auth = "required"
    auth_header: str = "authorization"
    auth_scheme: str = "Bearer "
    speaks: Mapping[Dialect, Speaks] = field(default_factory=dict)
    pinnable: Mapping[Dialect, Speaks] = field(default_factory=dict)
    quirks: tuple[str, ...] = ()
    beta_headers: tuple[str, ...] = ()
    models: str = ""
    azure: bool = False
    in_process: bool = False


@dataclass(frozen=True, slots=True)
class Spoken:
    """One dialect of an account; what is empty is as the account has it.

    Attributes:
        headers: That the dialect needs.
    """

    dialect: Dialect
    base_url: str = ""
    paths: Paths = field(default_factory=dict)
    auth_header: str = ""
    auth_scheme: str = ""
    headers: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Resolved:
    """Where an account is reached, and what is spoken there, the preferred dialect first."""

    base_url: str
    spoken: tuple[Spoken, ...]
    pinnable: tuple[Spoken, ...]


AZURE_V1: Final = re.compile("/openai/v1/?$")
"""The end of a base URL of Azure's API without dates."""

AZURE_UNDATED: Final = ("v1", "preview", "latest")
"""Values of ``azure.apiVersion`` that mean that API too; ``v1`` is not sent, since it is what is meant without one."""


def resolve(row: Provider, base_url: str = "", api_version: str = "") -> Resolved:
    """Where an account of ``row`` is reached, and what is spoken there.

    Args:
        row: Its provider.
        base_url: Of the account; empty: the row's.
        api_version: Azure's.
    """
    base = (base_url or row.base_url).rstrip("/")
    if row.azure and (AZURE_V1.search(base) or api_version in AZURE_UNDATED):
        return _azure_v1(base, api_version)
    base = next((base.removesuffix(end) for end in row.tolerates if base.endswith(end)), base)
    return Resolved(
        base,
        tuple(_spoken(base, dialect, speaks, api_version) for dialect, speaks in _there(row.speaks, base_url)),
        tuple(_spoken(base, dialect, speaks, api_version) for dialect, speaks in _there(row.pinnable, base_url)),
    )


def _there(given: Mapping[Dialect, Speaks], base_url: str) -> list[tuple[Dialect, Speaks]]:
    return [(dialect, speaks) for dialect, speaks in given.items() if not (base_url and speaks.base_url)]


def _spoken(base: str, dialect: Dialect, speaks: Speaks, api_version: str) -> Spoken:
    own = speaks.base_url
    if speaks.at_root and (root := re.sub("/v[0-9]+(beta)?$", "", base)) != base:
        own = root
    return Spoken(
        dialect,
        own,
        {operation: path.replace("{api-version}", api_version) for operation, path in speaks.paths.items()},
        speaks.auth_header,
        speaks.auth_scheme,
        (ANTHROPIC_VERSION,) if dialect == "anthropic_messages" else (),
    )


def _azure_v1(base: str, api_version: str) -> Resolved:
    """Azure's API without dates: OpenAI's own paths, the deployment in the body."""
    if not AZURE_V1.search(base):
        base = base.removesuffix("/openai") + "/openai/v1"
    query = f"?api-version={api_version}" if api_version not in ("", "v1") else ""
    paths: Mapping[Dialect, Paths] = {
        "openai_chat": {"chat": f"/chat/completions{query}"},
        "openai_responses": {"chat": f"/responses{query}", "count_tokens": f"/responses/input_tokens{query}"},
        "openai_embeddings": {"embeddings": f"/embeddings{query}"},
    }
    return Resolved(base, tuple(Spoken(dialect, "", each if query else {}) for dialect, each in paths.items()), ())
