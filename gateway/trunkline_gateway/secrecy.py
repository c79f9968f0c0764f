"""What must not leave in an upstream's error text: keys, and where the upstream is.

Errors of providers quote what they were sent. Their text is passed on because it helps, cut, and without anything
that looks like a key, ours or not.
"""

import re
from collections.abc import Sequence
from typing import Final
from urllib.parse import quote, urlsplit

MAX_TEXT_BYTES: Final = 1024
"""Of an upstream's error text."""

REDACTED: Final = "[redacted]"
UPSTREAM: Final = "[upstream]"

_SHORTEST_SECRET: Final = 4

# By their prefixes; the stars are those of providers that mask half of a key themselves.
_KEYS: Final = re.compile(
    r"""
    \b(?:
        (?:sk|pk|rk)-[\w*.…-]{6,}            # OpenAI, Anthropic, OpenRouter, DeepSeek, Stripe, our own
      | (?:sk|pk|rk)_(?:live|test)_\w{8,}
      | (?:xai|pplx|nvapi|csk|tgp_v1|key)-[A-Za-z0-9_*-]{16,}
      | (?:gsk|hf|fw|r8|ghp|gho|ghs|glpat|github_pat|xoxb|xoxp)[_-][A-Za-z0-9_*-]{10,}
      | AIza[\w*-]{16,}                       # Google
      | ya29\.[\w-]{10,}
      | (?:AKIA|ASIA|ABIA|ACCA)[A-Z0-9]{12,}  # AWS
      | eyJ[\w-]{8,}\.[\w-]{4,}(?:\.[\w-]*)?  # JWT
      | (?:org|proj)-[A-Za-z0-9]{20,}         # not a key, but whose account it is
    )
    """,
    re.VERBOSE,
)
_AUTHORIZATION: Final = re.compile(r"\b(bearer|basic)(\s+)(?=[^\s\"',;]*\d)[^\s\"',;<>]{8,}", re.IGNORECASE)
# A long token with a digit and a letter after a word that announces a key.
_IN_CONTEXT: Final = re.compile(
    r"((?:api|access|secret|subscription|private|account|auth)[\s_-]?(?:key|token)|\bkey|token|secret|password|"
    r"credentials?|authorization)"
    r"([\"']?\s{0,3}(?:provided|given|used|value)?\s{0,3}(?:is|was|[:=])?\s{0,3}[\"'`(\[<]?)"
    r"(?=[\w+/=~.*-]*\d)(?=[\w+/=~.*-]*[A-Za-z])([\w+/=~.*-]{16,})",
    re.IGNORECASE,
)
_IN_QUERY: Final = re.compile(
    r"([?&](?:key|api[_-]?key|access[_-]?token|token|sig|signature|secret|password|code|x-amz-[a-z-]+)=)[^&\s\"'<>]+",
    re.IGNORECASE,
)
_USERINFO: Final = re.compile(r"(https?://)[^/\s@\"'<>]{1,256}@")


class Scrubber:
    """Takes secrets and places of one account out of text."""

    __slots__ = ("_host", "_secrets")

    def __init__(self, secret_values: Sequence[str], base_url: str = "") -> None:
        """Prepare.

        Args:
            secret_values: The account's own; replaced wherever they stand, in a URL's spelling too.
            base_url: Where it listens; its host is not named.
        """
        known = {value for value in secret_values if len(value) >= _SHORTEST_SECRET}
        known |= {quote(value, safe="") for value in known}
        self._secrets = sorted(known, key=lambda value: (-len(value), value))
        self._host = _host_pattern(base_url)

    def __call__(self, text: str) -> str:
        """``text`` without what must not leave; the very same object where there was nothing."""
        scrubbed = text
        for secret in self._secrets:
            scrubbed = scrubbed.replace(secret, REDACTED)
        scrubbed = _USERINFO.sub(rf"\1{REDACTED}@", scrubbed)
        scrubbed = _IN_QUERY.sub(rf"\1{REDACTED}", scrubbed)
        scrubbed = _AUTHORIZATION.sub(rf"\1\2{REDACTED}", scrubbed)
        scrubbed = _KEYS.sub(REDACTED, scrubbed)
        scrubbed = _IN_CONTEXT.sub(rf"\1\2{REDACTED}", scrubbed)
        if self._host is not None:
            scrubbed = self._host.sub(UPSTREAM, scrubbed)
        return text if scrubbed == text else scrubbed


def scrub(text: str, secret_values: Sequence[str]) -> str:
    """``text`` without these secrets and without anything that looks like a key, cut to `MAX_TEXT_BYTES`."""
    return cut(Scrubber(secret_values)(text))


def cut(text: str, max_bytes: int = MAX_TEXT_BYTES) -> str:
    """The beginning of ``text`` that fits, between two characters, in UTF-8 with the mark of the cut."""
    if len(text) <= max_bytes and len(encoded := text.encode("utf-8", "replace")) <= max_bytes:
        return text
    encoded = text[:max_bytes].encode("utf-8", "replace")
    return encoded[: max_bytes - len("…".encode())].decode("utf-8", "ignore") + "…"


def _host_pattern(base_url: str) -> re.Pattern[str] | None:
    try:
        parts = urlsplit(base_url)
        host, port = parts.hostname, parts.port
    except ValueError:
        return None
    if not host:
        return None
    name = re.escape(host)
    if ":" in host:
        name = rf"\[?{name}\]?"
    if "." in host or ":" in host:
        return re.compile(rf"(?<![\w.-]){name}(?::\d{{1,5}})?(?![\w-])", re.IGNORECASE)
    # A word such as "vllm" may stand for other things: only where it is clearly an address.
    forms = [rf"(?<=//){name}(?::\d{{1,5}})?(?![\w.-])"]
    if port:
        forms.append(rf"(?<![\w.-]){name}:{port}(?!\d)")
    return re.compile("|".join(forms), re.IGNORECASE)
