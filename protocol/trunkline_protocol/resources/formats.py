"""The strings that resources are made of: names, globs, addresses, times. Each type has a bound and says what it wants.

Expressions are anchored and free of look-around, so that CEL (RE2), pydantic (Rust) and a reader agree on them.
"""

import ipaddress
import re
from datetime import datetime
from typing import Annotated, TypeAlias

from pydantic import AfterValidator, Field

from trunkline_protocol.parameters import NUMBERS, PARAMETERS, POINTER, RESERVED
from trunkline_protocol.resources.rules import Pattern, Rule

_LABEL = "[a-z0-9]([-a-z0-9]*[a-z0-9])?"

DnsLabel: TypeAlias = Annotated[
    str,
    Field(max_length=63),
    Pattern(f"^{_LABEL}$", "must be a DNS label: lower-case letters, digits and '-' between them, such as team-a"),
]

DnsSubdomain: TypeAlias = Annotated[
    str,
    Field(max_length=253),
    Pattern(rf"^{_LABEL}(\.{_LABEL})*$", "must be the name of an object: lower-case letters, digits, '-' and '.'"),
]

SecretKey: TypeAlias = Annotated[
    str,
    Field(max_length=253),
    Pattern("^[-._a-zA-Z0-9]+$", "must be a key of the Secret's data: letters, digits, '-', '_' and '.'"),
]

ProviderId: TypeAlias = Annotated[
    str,
    Field(max_length=63),
    Pattern(f"^{_LABEL}$", "must be the id of a provider, such as openai or openai-compatible"),
]

# ---- names of models ------------------------------------------------------------------------------------------------

_NO_SPACE = Pattern(
    r"^[^\pZ\x00-\x1f\x7f-\x9f]+$", "must be a name without white space or control characters, such as gpt-4o"
)

Word: TypeAlias = Annotated[str, Field(max_length=253), _NO_SPACE]
"""A name that somebody else chose: a team, a user, a group."""

ModelGlob: TypeAlias = Annotated[
    str,
    Field(max_length=253),
    _NO_SPACE,
    Pattern(r"^[^*]*(\*[^*]*)?$", "may hold one '*', which stands for any characters: write two entries instead"),
]
"""A model, or a family of them. One ``*`` at most, so that "what the ``*`` matched" has one meaning."""

GrantGlob: TypeAlias = Annotated[
    str,
    Field(max_length=253),
    _NO_SPACE,
    Pattern(r"^[^*]*(\*[^*]*(\*[^*]*)?)?$", "may hold two '*', each for any characters: write several entries instead"),
]
"""What may be called. Two ``*`` allow ``*:*`` and ``*mini*``; more would make matching costly for no use."""

# ---- parameters of requests -----------------------------------------------------------------------------------------

_NAMES = "[" + ", ".join(f"'{name}'" for name in PARAMETERS) + "]"
_NUMBERS = "[" + ", ".join(f"'{name}'" for name in NUMBERS) + "]"
_WELL_FORMED = Rule(
    cel=f"!self.startsWith('/') || self.matches(r'{POINTER}')",
    check=lambda name: not name.startswith("/") or re.search(POINTER, name) is not None,
    message="must be a JSON Pointer, in which '~' is written ~0 and '/' within a name ~1",
)
_NOT_RESERVED = Rule(
    cel=f"!self.matches(r'{RESERVED}')",
    check=lambda name: re.search(RESERVED, name) is None,
    message="must not point at model or stream: the gateway says those itself",
)

ParameterName: TypeAlias = Annotated[
    str,
    Field(max_length=256),
    Rule(
        cel=f"self.startsWith('/') || self in {_NAMES}",
        check=lambda name: name.startswith("/") or name in PARAMETERS,
        message="must be a parameter of OpenAI's chat completions, such as max_tokens, or a JSON Pointer into the "
        "body, such as /metadata/team",
    ),
    _WELL_FORMED,
    _NOT_RESERVED,
]

NumberName: TypeAlias = Annotated[
    str,
    Field(max_length=256),
    Rule(
        cel=f"self.startsWith('/') || self in {_NUMBERS}",
        check=lambda name: name.startswith("/") or name in NUMBERS,
        message="must be a parameter that is a number, such as temperature, or a JSON Pointer into the body, such as "
        "/options/num_ctx",
    ),
    _WELL_FORMED,
    _NOT_RESERVED,
]

DecimalNumber: TypeAlias = Annotated[
    str,
    Field(max_length=24),
    Pattern(r"^-?(0|[1-9][0-9]{0,11})(\.[0-9]{1,9})?$", 'must be a number in quotes, such as "0.999" or "4096"'),
]

# ---- times ----------------------------------------------------------------------------------------------------------

_LEAP_YEAR = "([0-9]{2}(0[48]|[2468][048]|[13579][26])|([02468][048]|[13579][26])00)"
_DATE = (
    "([0-9]{4}-((0[13578]|1[02])-(0[1-9]|[12][0-9]|3[01])|(0[469]|11)-(0[1-9]|[12][0-9]|30)|02-(0[1-9]|1[0-9]|2[0-8]))"
    f"|{_LEAP_YEAR}-02-29)"
)
_TIME = r"([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](\.[0-9]{1,9})?(Z|[+-]([01][0-9]|2[0-3]):[0-5][0-9])"

Time: TypeAlias = Annotated[
    str,
    Field(max_length=35),
    # The calendar is in the expression because CEL's timestamp() fails instead of answering false.
    Pattern(f"^{_DATE}T{_TIME}$", 'must be an existing time in RFC 3339, such as "2027-06-30T00:00:00Z"'),
    Pattern("^[2-9]", "must be in the year 2000 or later"),
]


def unix_seconds(time: str) -> int:
    """Read a ``Time``; a fraction of a second is cut off."""
    return int(datetime.fromisoformat(time).timestamp())


# ---- addresses ------------------------------------------------------------------------------------------------------

_HOST_LABEL = "[A-Za-z0-9_]([-A-Za-z0-9_]{0,61}[A-Za-z0-9_])?"
_H = "[0-9A-Fa-f]{1,4}"
# https://www.rfc-editor.org/rfc/rfc4291#section-2.2 without forms 3 (embedded IPv4) and zones
_IPV6 = "|".join(
    (
        f"({_H}:){{7}}{_H}",
        f"({_H}:){{1,7}}:",
        f"({_H}:){{1,6}}:{_H}",
        *(f"({_H}:){{1,{6 - n}}}(:{_H}){{1,{n + 1}}}" for n in range(1, 6)),
        f":((:{_H}){{1,7}}|:)",
    )
)
_HOST = rf"({_HOST_LABEL}(\.{_HOST_LABEL})*\.?|\[({_IPV6})\])"
_PORT = "([1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5])"
_PATH = "(/([-A-Za-z0-9._~!$&'()*+,;=:@/]|%[0-9A-Fa-f]{2})*)?"

_USER_INFO = "^[A-Za-z][-+.A-Za-z0-9]*://[^/?#]*@"

BaseURL: TypeAlias = Annotated[
    str,
    Field(max_length=2048),
    Rule(
        cel=f"!self.matches(r'{_USER_INFO}')",
        check=lambda url: re.search(_USER_INFO, url) is None,
        message="must not hold user:password, which everybody who may read this object would see: put the key into a "
        "Secret and name it in keys",
    ),
    Rule(
        cel="!self.contains('?') && !self.contains('#')",
        check=lambda url: "?" not in url and "#" not in url,
        message="must end with the path: leave out what begins with '?' or '#'",
    ),
    Pattern(
        f"^https?://{_HOST}(:{_PORT})?{_PATH}$",
        "must be an http or https URL with a host, such as https://api.example.com/v1",
    ),
]

ProxyURL: TypeAlias = Annotated[
    str,
    Field(max_length=2048),
    Rule(
        cel=f"!self.matches(r'{_USER_INFO}')",
        check=lambda url: re.search(_USER_INFO, url) is None,
        message="must not hold user:password, which everybody who may read this object would see: let the proxy know "
        "the gateways by their addresses",
    ),
    Pattern(
        f"^https?://{_HOST}(:{_PORT})?/?$",
        "must be an http or https URL of a host and a port only, such as http://proxy.example.com:3128",
    ),
]


def _is_cidr(text: str) -> bool:
    """What CEL's ``isCIDR`` takes: no netmask, zone or IPv4-mapped address; bits after the prefix are fine."""
    address, slash, length = text.partition("/")
    if not slash or not length.isascii() or not length.isdigit() or (length[0] == "0" and length != "0"):
        return False
    try:
        network = ipaddress.ip_network(text, strict=False)
    except ValueError:
        return False
    if isinstance(network, ipaddress.IPv4Network):
        return True
    return "%" not in address and ipaddress.IPv6Address(address).ipv4_mapped is None


Cidr: TypeAlias = Annotated[
    str,
    Field(max_length=49),
    Rule(
        cel="isCIDR(self)",
        check=_is_cidr,
        message="must be a range of addresses, such as 10.0.0.0/8, 192.0.2.7/32 or 2001:db8::/32",
    ),
    AfterValidator(lambda text: str(ipaddress.ip_network(text, strict=False))),
]
"""A range of addresses; it parses into its canonical form, bits after the prefix cleared."""
