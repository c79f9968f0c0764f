"""The authority that all replicas share: what to do with what stands in the Secret and the ConfigMap. Pure.

The Secret holds the newest CA with its key, and while that may not sign yet, the one before it. The ConfigMap holds
the bundle that gateways trust, and in an annotation since when the newest CA has been in it. A CA signs only once the
bundle with it had the time to reach every pod; until then the one before it signs, and where that is gone (somebody
has emptied the Secret) each replica serves on with the leaf that it has. So whatever is served is trusted by whoever
has a bundle of the last two minutes.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Final

from cryptography import x509

from trunkline_operator.publish.authority import CA_NAME, LEAF_LIFETIME, Authority, certificates, fingerprint

LIFETIME: Final = timedelta(days=365)
ROTATE_BEFORE_END: Final = timedelta(days=90)
PUBLISH_DELAY: Final = timedelta(minutes=2)
# A leaf of an authority that no longer signs is gone by then.
KEPT_AFTER: Final = LEAF_LIFETIME + timedelta(hours=1)
_MOST: Final = 16

ANNOTATION: Final = "trunkline.dev/ca-published"
CRT: Final = "ca.crt"
KEY: Final = "ca.key"
PREVIOUS_CRT: Final = "previous.crt"
PREVIOUS_KEY: Final = "previous.key"


class ForeignAuthorityError(Exception):
    """The Secret holds something that the operator has not made and does not overwrite; a sentence."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What stands in the two objects.

    Attributes:
        newest: The CA in the Secret; None: there is none.
        previous: The one before it, while that is needed.
        bundle: The certificates in the ConfigMap.
        published: Which CA (by fingerprint) was put into the bundle when, by the API server's clock.
    """

    newest: Authority | None = None
    previous: Authority | None = None
    bundle: tuple[x509.Certificate, ...] = ()
    published: tuple[str, datetime] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What to do; at most one of ``secret`` and ``bundle`` is to be written, and then everything is read again.

    Attributes:
        secret: Changes of the Secret's entries; None removes an entry. Empty: none.
        bundle: What the ConfigMap should hold instead; None: it is fine.
        published: Its annotation; None: it is fine.
        signer: Who signs leaves now; None: nobody, and each replica keeps the leaf that it has.
        why_no_signer: In words.
    """

    secret: Mapping[str, bytes | None] = field(default_factory=dict, repr=False)
    bundle: tuple[x509.Certificate, ...] | None = None
    published: tuple[str, datetime] | None = None
    signer: Authority | None = None
    why_no_signer: str = ""


def read(secret: Mapping[str, bytes], bundle: bytes, annotation: str) -> Found:
    """Read the entries of the Secret, and the ConfigMap's ``ca.crt`` and annotation.

    Raises:
        ForeignAuthorityError: the Secret's CA cannot be used.
    """
    newest = None
    if secret.get(CRT) and secret.get(KEY):
        try:
            newest = Authority.read(secret[CRT], secret[KEY])
        except ValueError as error:
            raise ForeignAuthorityError(
                f"{error}; it is not overwritten: remove {CRT} and {KEY} from the Secret to have a new one made"
            ) from None
    previous = None
    if secret.get(PREVIOUS_CRT) and secret.get(PREVIOUS_KEY):
        try:
            previous = Authority.read(secret[PREVIOUS_CRT], secret[PREVIOUS_KEY])
        except ValueError:
            previous = None  # no more than a convenience; it goes when the newest one signs
    return Found(newest=newest, previous=previous, bundle=tuple(certificates(bundle)), published=_published(annotation))


def annotation(published: tuple[str, datetime]) -> str:
    """The ConfigMap's annotation."""
    name, since = published
    return f"{name} {since.astimezone(UTC).strftime('%Y-%m-%dT%H:%M:%SZ')}"


def decide(
    found: Found,
    *,
    now: datetime,
    seen: timedelta,
    serving: Iterable[x509.Certificate] = (),
    delay: timedelta = PUBLISH_DELAY,
) -> Plan:
    """Say what to do.

    Args:
        found: As just read.
        now: By the API server's clock, as is the annotation: those of the replicas may differ.
        seen: For how long this replica itself, by its own monotonic clock, has seen the newest CA in the bundle. It
            helps where the annotation lies in the future.
        serving: The CAs of the leaf that this replica serves with.
        delay: How long a CA has to be in the bundle before it signs.
    """
    newest = found.newest
    since = _since(found)
    age = max(now - since, seen) if since is not None else timedelta(0)
    # Nobody who trusts another one is there to be lost: the very first CA need not wait.
    is_alone = since is not None and newest is not None and set(found.bundle) == {newest.certificate}
    may_sign = _can_sign(newest, found.bundle, now) and (is_alone or age >= delay) and since is not None
    previous = found.previous if _can_sign(found.previous, found.bundle, now) else None
    signer = newest if may_sign else previous
    if newest is None or now >= newest.certificate.not_valid_after_utc - ROTATE_BEFORE_END:
        return _with_a_new_one(signer, now)
    until = ((since or now) + delay).strftime("%H:%M:%SZ")
    why = "" if signer else f"a new authority signs from {until} on, when every gateway has had the time to hear of it"
    wanted = _bundle(found, newest, now, serving, retired=since is not None and age >= KEPT_AFTER)
    if set(wanted) != set(found.bundle) or since is None:
        published = (fingerprint(newest.certificate), since or now)
        return Plan(bundle=wanted, published=published, signer=signer, why_no_signer=why)
    if may_sign and found.previous is not None:
        return Plan(secret={PREVIOUS_CRT: None, PREVIOUS_KEY: None}, signer=signer)
    return Plan(signer=signer, why_no_signer=why)


def _since(found: Found) -> datetime | None:
    """When the newest CA was published; None: it is not, or nobody knows."""
    newest = found.newest
    if newest is None or found.published is None or newest.certificate not in found.bundle:
        return None
    name, since = found.published
    return since if name == fingerprint(newest.certificate) else None


def _with_a_new_one(signer: Authority | None, now: datetime) -> Plan:
    """Make one; whoever signs now does so until the new one may."""
    made = Authority.make(now, LIFETIME).pems()
    kept = signer.pems() if signer is not None else None
    return Plan(
        secret={
            CRT: made.certificate,
            KEY: made.key,
            PREVIOUS_CRT: kept.certificate if kept else None,
            PREVIOUS_KEY: kept.key if kept else None,
        },
        signer=signer,
        why_no_signer="" if signer else "there is no authority yet",
    )


def _can_sign(authority: Authority | None, bundle: tuple[x509.Certificate, ...], now: datetime) -> bool:
    if authority is None or authority.certificate not in bundle:
        return False
    return now + LEAF_LIFETIME < authority.certificate.not_valid_after_utc


def _bundle(
    found: Found, newest: Authority, now: datetime, serving: Iterable[x509.Certificate], *, retired: bool
) -> tuple[x509.Certificate, ...]:
    """The newest first, then whatever may have signed a leaf that is still served, then what others have put there."""
    previous = [found.previous.certificate] if found.previous is not None else []
    others = [each for each in found.bundle if not (retired and each.subject == CA_NAME)]
    wanted = [newest.certificate, *serving, *previous, *others]
    return tuple(dict.fromkeys(each for each in wanted if each.not_valid_after_utc > now))[:_MOST]


def _published(text: str) -> tuple[str, datetime] | None:
    name, _, since = text.partition(" ")
    try:
        return name, datetime.strptime(since, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
    except ValueError:
        return None
