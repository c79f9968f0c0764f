"""What the compiler says: the table, and a verdict on each resource."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from trunkline_operator.watch.world import Ref
from trunkline_protocol.table import Name
from trunkline_protocol.v1 import routing_pb2 as pb


@dataclass(frozen=True, slots=True)
class Finding:
    """One condition as far as compiling can tell.

    Attributes:
        ok: Whether the condition is True.
        reason: CamelCase, from the tables in the API reference; where ok, the condition's own name.
        message: A sentence that says what to do; never holds a secret.
    """

    ok: bool
    reason: str
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyFinding:
    """The state of one key of a ProviderCredential, before gateways report theirs.

    Attributes:
        state: ``Active``, ``Missing`` or ``Disabled``; expiry needs a clock, so the report stage adds it.
        expires: Unix seconds; 0: never.
    """

    name: str
    state: str
    reason: str = ""
    expires: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What is known of one resource after compiling.

    Attributes:
        programs: The table resources that carry it; it is programmed when every gateway has these versions.
        held: It is invalid, and gateways keep the version that they have.
        expires: When it stops being accepted (a VirtualKey's expirationTime), in Unix seconds; 0: never.
        display: For the printer columns; the report stage completes it.
        models: Public names that a ModelGroup owns.
        keys: Of a ProviderCredential.
        policy: Name of the RoutePolicy of a ModelGroup; empty: the defaults.
    """

    accepted: Finding
    resolved_refs: Finding
    programs: tuple[Name, ...] = ()
    held: bool = False
    expires: int = 0
    display: Mapping[str, str] = field(default_factory=dict)
    models: tuple[str, ...] = ()
    keys: tuple[KeyFinding, ...] = ()
    policy: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Compiled:
    """One compilation. Two replicas that observed the same produce the same, byte for byte.

    Attributes:
        resources: The table.
        holds: Names that have no compiled version because their source is invalid: never removed, never replaced.
        verdicts: One for each of our resources in the world.
        denied: Names that have no resource although what they are named after exists → the sources of that decision
            (of a VirtualKey whose Secret is gone: both). They go out with the removal.
        marks: Views that decided something without being a source of anything: of Namespaces, where selectors were
            looked at. A Namespace that lost a label is in no Route any more, but gateways have to know how new that is.
    """

    resources: Mapping[Name, pb.Resource] = field(repr=False)
    holds: frozenset[Name]
    verdicts: Mapping[Ref, Verdict]
    denied: Mapping[Name, Mapping[str, int]] = field(default_factory=dict)
    marks: Mapping[str, int] = field(default_factory=dict)
