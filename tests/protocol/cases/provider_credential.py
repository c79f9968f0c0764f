"""Cases of ProviderCredential."""

from typing import Any

from protocol.cases import common
from protocol.cases.case import ABSENT, Case, case, edited, required
from trunkline_protocol.resources.provider_credential import (
    FORBIDDEN_HEADERS,
    HOMELESS_PROVIDERS,
    KEYED_PROVIDERS,
    KEYLESS_PROVIDERS,
)

HTTP = "must be an http or https URL"
USER_INFO = "must not hold user:password"


def key(name: str) -> dict[str, Any]:
    return {"name": name, "secretRef": {"name": "upstream", "key": name}}


OPENAI: dict[str, Any] = {
    "apiVersion": "trunkline.dev/v1alpha1",
    "kind": "ProviderCredential",
    "metadata": {"name": "main"},
    "spec": {"provider": "openai", "keys": [key("primary")]},
}
COMPATIBLE = edited(OPENAI, "spec", {"provider": "openai-compatible", "endpoint": {"baseURL": "http://vllm:8000/v1"}})
OPEN = edited(COMPATIBLE, "spec.auth", {"type": "None"})
AZURE = edited(edited(OPENAI, "spec.provider", "azure-openai"), "spec.endpoint.baseURL", "https://a.openai.azure.com")
AZURE = edited(AZURE, "spec.azure.apiVersion", "2024-10-21")
WITH_CA = edited(OPENAI, "spec.endpoint.caSecretRef", {"name": "ca", "key": "ca.crt"})
WITH_HEADER = edited(OPENAI, "spec.endpoint.headers", [{"name": "x-a", "value": "b"}])


def spec(base: dict[str, Any], accepted: dict[str, Any], refused: dict[str, Any], says: str, at: str) -> Case:
    """A case of several fields of the spec; ``ABSENT`` takes one out."""

    def merged(changes: dict[str, Any]) -> dict[str, Any]:
        return {name: value for name, value in {**base["spec"], **changes}.items() if value is not ABSENT}

    return case(base, "spec", "rule", merged(accepted), merged(refused), says, at=at)


def needs(provider: str) -> dict[str, Any]:
    """What a credential of this provider has to say besides."""
    return {"endpoint": {"baseURL": "https://a.test/openai/v1"}} if provider in HOMELESS_PROVIDERS else {}


def azure() -> list[Case]:
    path, there = "spec.azure.apiVersion", {"baseURL": "https://a.openai.azure.com"}
    wrong = "must be a version of Azure's API"
    version, lacks = {"apiVersion": "2024-10-21"}, "give azure.apiVersion"
    return [
        case(AZURE, path, "maxLength", "2024-10-21", "2024-10-21" + "0" * 23, "32"),
        case(AZURE, path, "rule", "2025-04-01-preview", "2025-04-01-Preview", wrong),
        case(AZURE, path, "rule", "v1", "2024", wrong),
        case(AZURE, path, "rule", "preview", "latest?x=1", wrong),
        case(AZURE, path, "rule", "latest", "", wrong),
        spec(OPENAI, {}, {"azure": version}, "azure is for `provider: azure-openai` only", ".azure"),
        spec(OPENAI, {}, {"azure": {}}, "azure is for `provider: azure-openai` only", ".azure"),
        spec(AZURE, {}, {"azure": ABSENT}, lacks, ".azure"),
        spec(AZURE, {}, {"azure": {}}, lacks, ".azure"),
        spec(
            AZURE,
            {"endpoint": {"baseURL": "https://a.openai.azure.com/openai/v1/"}, "azure": ABSENT},
            {"endpoint": {"baseURL": "https://a.openai.azure.com/openai/v1/x"}, "azure": ABSENT},
            lacks,
            ".azure",
        ),
        *(
            spec(
                OPENAI,
                {"provider": provider, "endpoint": there, **({"azure": version} if provider == "azure-openai" else {})},
                {"provider": provider, **({"azure": version} if provider == "azure-openai" else {})},
                "has another address for everybody",
                ".endpoint",
            )
            for provider in HOMELESS_PROVIDERS
        ),
    ]


def base_urls() -> list[Case]:
    path = "spec.endpoint.baseURL"
    longest = "http://a/" + "x" * 2039
    pairs = [
        ("https://api.openai.com/v1", "api.openai.com/v1", HTTP),
        ("http://127.0.0.1:9100/v1", "ftp://127.0.0.1/v1", HTTP),
        ("http://[2001:db8::1]:65535", "http://[2001:db8::1]:65536", HTTP),
        ("http://[::]/", "http://[1::2::3]/", HTTP),
        ("http://[1:2:3:4:5:6:7:8]", "http://[1:2:3:4:5:6:7]", HTTP),
        ("http://a_b.c-d.svc.cluster.local.", "http://-a", HTTP),
        ("http://a:1", "http://a:0", HTTP),
        ("https://a/b//c%20d", "https://a/b c", HTTP),
        ("https://a/~b/@c:d", "https://a/%zz", HTTP),
        (f"https://{'a' * 63}", f"https://{'a' * 64}", HTTP),
        ("https://xn--bcher-kva.example", "https://bücher.example", HTTP),
        ("https://a", "https://", HTTP),
        ("https://a/", "https:///v1", HTTP),
        ("https://a/v1", "", HTTP),
        ("https://a/v1", "https://a/v1\n", HTTP),
        ("https://a/v1", "https://user:password@a/v1", USER_INFO),
        ("https://a/user@host", "https://token@a/v1", USER_INFO),
        ("https://a/v1", "https://a/v1?key=1", "must end with the path"),
        ("https://a/v1", "https://a/v1#top", "must end with the path"),
    ]
    return [
        case(OPENAI, path, "maxLength", longest, longest + "x", "2048"),
        *(case(OPENAI, path, "rule", good, bad, says) for good, bad, says in pairs),
    ]


def proxy_urls() -> list[Case]:
    path = "spec.endpoint.proxyURL"
    longest = "http://" + f"{'a' * 63}." * 31 + "a" * 57
    pairs = [
        ("http://proxy:3128", "socks5://proxy:1080", HTTP),
        ("https://proxy.example.com/", "https://proxy.example.com/pac", HTTP),
        ("http://[::1]:3128", "http://[::g]:3128", HTTP),
        ("http://proxy", "http://proxy?a", HTTP),
        ("http://proxy", "http://user:password@proxy", USER_INFO),
    ]
    return [
        case(OPENAI, path, "maxLength", longest, longest + "a", "2048"),
        *(case(OPENAI, path, "rule", good, bad, says) for good, bad, says in pairs),
    ]


def headers() -> list[Case]:
    path, forbidden = "spec.endpoint.headers", "this header cannot be added"
    name, value = f"{path}[].name", f"{path}[].value"

    def some(count: int) -> list[dict[str, str]]:
        return [{"name": f"x-{i}", "value": "v"} for i in range(count)]

    two = some(2)
    return [
        case(OPENAI, path, "maxItems", some(16), some(17), "16"),
        case(OPENAI, path, "unique", two, [two[0], two[0]], "Duplicate value", at="[1]"),
        case(OPENAI, path, "rule", two, [two[0], {"name": "X-0", "value": "v"}], "each header may stand once"),
        required(WITH_HEADER, name),
        required(WITH_HEADER, value),
        case(WITH_HEADER, name, "maxLength", "x" * 256, "x" * 257, "256"),
        case(WITH_HEADER, name, "rule", "OpenAI-Organization", "x y", "must be the name of a header"),
        case(WITH_HEADER, name, "rule", "!#$%&'*+-.^_`|~1a", "x:", "must be the name of a header"),
        case(WITH_HEADER, name, "rule", "x", "", "must be the name of a header"),
        *(case(WITH_HEADER, name, "rule", f"a-{word}", word, forbidden) for word in sorted(FORBIDDEN_HEADERS)),
        case(WITH_HEADER, name, "rule", "x-api-keys", "X-API-Key", forbidden),
        case(WITH_HEADER, name, "rule", "authorizations", "Authorization", forbidden),
        case(WITH_HEADER, value, "maxLength", "x" * 4096, "x" * 4097, "4096"),
        case(WITH_HEADER, value, "rule", "a b\tc; \"d\"='e'", "a\r\nx-b: c", "must be printable ASCII"),
        case(WITH_HEADER, value, "rule", "a", "a ", "must be printable ASCII"),
        case(WITH_HEADER, value, "rule", "~", "", "must be printable ASCII"),
        case(WITH_HEADER, value, "rule", "e", "é", "must be printable ASCII"),
    ]


def keys() -> list[Case]:
    def some(count: int) -> list[dict[str, Any]]:
        return [key(f"k{i}") for i in range(count)]

    two = some(2)
    return [
        case(OPENAI, "spec.keys", "maxItems", some(64), some(65), "64"),
        case(OPENAI, "spec.keys", "unique", two, [two[0], two[0]], "Duplicate value", at="[1]"),
        required(OPENAI, "spec.keys[].name"),
        *common.dns_label(OPENAI, "spec.keys[].name"),
        required(OPENAI, "spec.keys[].secretRef"),
        *common.secret_ref(OPENAI, "spec.keys[].secretRef"),
        case(OPENAI, "spec.keys[].weight", "minimum", 1, 0, "1"),
        case(OPENAI, "spec.keys[].weight", "maximum", 1000, 1001, "1000"),
        *common.time(OPENAI, "spec.keys[].expirationTime"),
        case(OPENAI, "spec.keys[].state", "enum", "Disabled", "disabled", "supported values"),
    ]


def auth() -> list[Case]:
    none = {"type": "None"}
    return [
        case(OPENAI, "spec.auth.type", "enum", "APIKey", "Bearer", "supported values"),
        spec(OPEN, {}, {"keys": [key("a")]}, "sends no key", ".keys"),
        spec(OPENAI, {"auth": {}}, {"keys": ABSENT}, "give at least one of keys", ".keys"),
        spec(COMPATIBLE, {"auth": none}, {}, "give at least one of keys", ".keys"),
        spec(OPENAI, {"keys": [key("a")]}, {"keys": []}, "give at least one of keys", ".keys"),
        spec(
            OPENAI,
            {"provider": "unheard-of"},
            {"provider": "unheard-of", "keys": ABSENT},
            "give at least one of keys",
            ".keys",
        ),
        *(
            spec(
                OPENAI,
                {"provider": provider, **needs(provider)},
                {"provider": provider, **needs(provider), "keys": ABSENT, "auth": none},
                "this provider does not answer without a key",
                ".auth",
            )
            for provider in KEYED_PROVIDERS
        ),
        *(
            spec(OPENAI, {"provider": provider, "keys": ABSENT}, {"keys": ABSENT}, "give at least one of keys", ".keys")
            for provider in KEYLESS_PROVIDERS
        ),
        spec(
            COMPATIBLE,
            {"keys": [key("a")]},
            {"keys": [key("a")], "endpoint": {}},
            "give endpoint.baseURL",
            ".endpoint",
        ),
        spec(
            COMPATIBLE,
            {"provider": "anthropic-compatible", "keys": [key("a")]},
            {"provider": "anthropic-compatible", "keys": [key("a")], "endpoint": ABSENT},
            "give endpoint.baseURL",
            ".endpoint",
        ),
    ]


def cases() -> list[Case]:
    """All of them."""
    return [
        required(OPENAI, "spec"),
        required(OPENAI, "spec.provider"),
        *common.dns_label(OPENAI, "spec.provider", "must be the id of a provider"),
        *base_urls(),
        *proxy_urls(),
        *common.secret_ref(WITH_CA, "spec.endpoint.caSecretRef"),
        *headers(),
        *auth(),
        *azure(),
        *keys(),
        case(OPENAI, "spec.directModels", "maxItems", ["a"] * 64, ["a"] * 65, "64"),
        *common.grant_glob(OPENAI, "spec.directModels[]"),
        *common.namespaces(OPENAI, "spec.allowedNamespaces"),
    ]
