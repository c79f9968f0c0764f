"""VirtualKey → Key. What is wrong with one denies it: no Key, no access."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

from trunkline_operator.compile import entries, findings, loose
from trunkline_operator.compile.result import Finding, Verdict
from trunkline_operator.watch.world import Ref
from trunkline_protocol import resources, table
from trunkline_protocol.table import Name
from trunkline_protocol.v1 import routing_pb2 as pb

_LAST_SECOND: Final = 253_402_300_799
"""The last that a calendar can show: 9999-12-31T23:59:59 west of Greenwich is later than that."""


@dataclass(frozen=True, slots=True)
class Minted:
    """One VirtualKey compiled, before others with the same hash are known.

    Attributes:
        digest: SHA-256 of the key; None where there is none.
        resource: None: denied.
    """

    name: Name
    digest: bytes | None = field(repr=False)
    resource: pb.Resource | None = field(repr=False)
    verdict: Verdict
    sources: Mapping[str, int]


def secret_entry(parsed: resources.VirtualKey | None, raw: Mapping[str, object]) -> tuple[str, str] | None:
    """Name and key of the Secret entry that holds the key; None: it names none."""
    if parsed is None:
        return loose.entry_name(raw.get("secretRef"))
    reference = parsed.spec.secret_ref
    return None if reference is None else (reference.name, reference.key)


def mint(
    ref: Ref,
    parsed: resources.VirtualKey | None,
    errors: tuple[resources.FieldError, ...],
    revision: int,
    wanted: tuple[str, str] | None,
    secret: entries.View | None,
    secret_revision: int,
) -> Minted:
    """Compile one VirtualKey.

    Args:
        ref: Which.
        parsed: None: it is invalid.
        errors: Why.
        revision: Of the VirtualKey.
        wanted: Its `secret_entry`.
        secret: What is known of that Secret.
        secret_revision: As of when; 0: not known.
    """
    name = Name(pb.TYPE_KEY, f"{ref.namespace}/{ref.name}")
    sources = {str(ref): revision}
    value: bytes | Finding | None = None
    if wanted is not None and secret is not None:
        holder = Ref("Secret", ref.namespace, wanted[0])
        value = entries.entry(holder, secret, wanted[1])
        if secret_revision:
            sources[str(holder)] = secret_revision
    expires = 0
    if parsed is not None and parsed.spec.expiration_time is not None:
        expires = resources.unix_seconds(parsed.spec.expiration_time)
    verdict = Verdict(
        accepted=findings.invalid(errors) if parsed is None else findings.ACCEPTED,
        resolved_refs=value if isinstance(value, Finding) else findings.RESOLVED,
        programs=(name,),
        expires=expires,
        display={"expires": _day(expires)},
    )
    if parsed is None or isinstance(value, Finding):
        return Minted(name, None, None, verdict, sources)
    spec = parsed.spec
    if spec.key_hash is not None:
        digest = bytes.fromhex(spec.key_hash.partition(":")[2])
    else:
        digest = hashlib.sha256(value or b"").digest()
    body = pb.Key(
        sha256=digest,
        team=(spec.owner.team if spec.owner else None) or "",
        user=(spec.owner.user if spec.owner else None) or "",
        groups=spec.groups,
        namespace=ref.namespace,
        models=spec.models,
        expires=expires,
        disabled=spec.state == "Disabled",
        allowed_cidrs=spec.allowed_cidrs or (),
    )
    return Minted(name, digest, table.resource(name, body, sources), verdict, sources)


def conflicted(minted: Minted, older: Ref) -> Verdict:
    """The verdict on a key whose hash belongs to an older one."""
    accepted = Finding(
        False,
        "Conflicted",
        f"{findings.shown(older)}, which is older, has the same key: delete one of them, or give this one a key of "
        "its own",
    )
    verdict = minted.verdict
    return Verdict(
        accepted=accepted,
        resolved_refs=verdict.resolved_refs,
        programs=verdict.programs,
        expires=verdict.expires,
        display=verdict.display,
    )


def _day(expires: int) -> str:
    return datetime.fromtimestamp(min(expires, _LAST_SECOND), UTC).strftime("%Y-%m-%d") if expires else ""
