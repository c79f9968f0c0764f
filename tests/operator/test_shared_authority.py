"""Sharing an authority: made once, published before it signs, replaced in time, forgotten when nothing needs it."""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from hypothesis import given, settings
from hypothesis import strategies as st

from harness import certificates
from trunkline_operator.publish import shared_authority as shared
from trunkline_operator.publish.authority import Authority, bundle, fingerprint
from trunkline_operator.publish.shared_authority import Found, Plan, decide

NOW = datetime(2026, 1, 1, tzinfo=UTC)
OLD = Authority.make(NOW, shared.LIFETIME)
NEW = Authority.make(NOW, shared.LIFETIME)
NEVER = timedelta(0)


def found(newest: Authority | None, *trusted: Authority, since: datetime = NOW, **more: Authority) -> Found:
    published = (fingerprint(newest.certificate), since) if newest else None
    return Found(newest=newest, bundle=tuple(each.certificate for each in trusted), published=published, **more)


def test_the_first_authority_is_made_published_and_signs_at_once() -> None:
    made = decide(Found(), now=NOW, seen=NEVER)
    assert made.signer is None
    first = Authority.read(made.secret[shared.CRT] or b"", made.secret[shared.KEY] or b"")
    assert first.certificate.not_valid_after_utc == NOW + shared.LIFETIME
    published = decide(Found(newest=first), now=NOW, seen=NEVER)
    assert published.bundle == (first.certificate,)
    assert published.signer is None  # it is not there yet
    assert decide(found(first, first), now=NOW, seen=NEVER) == Plan(signer=first)


def test_a_new_one_beside_another_signs_when_it_has_been_published_for_two_minutes() -> None:
    there = found(NEW, NEW, OLD)
    early = decide(there, now=NOW + timedelta(seconds=119), seen=NEVER)
    assert early.signer is None
    assert "00:02:00Z" in early.why_no_signer
    assert decide(there, now=NOW + timedelta(seconds=120), seen=NEVER).signer == NEW


def test_the_one_before_signs_meanwhile_where_it_is_still_there() -> None:
    there = found(NEW, NEW, OLD, previous=OLD)
    assert decide(there, now=NOW, seen=NEVER) == Plan(signer=OLD)
    late = decide(there, now=NOW + timedelta(minutes=2), seen=NEVER)
    assert late.signer == NEW
    assert late.secret == {shared.PREVIOUS_CRT: None, shared.PREVIOUS_KEY: None}


def test_it_is_replaced_before_its_end_and_kept_until_the_new_one_signs() -> None:
    due = NOW + shared.LIFETIME - shared.ROTATE_BEFORE_END
    assert decide(found(OLD, OLD), now=due - timedelta(seconds=1), seen=NEVER) == Plan(signer=OLD)
    plan = decide(found(OLD, OLD), now=due, seen=NEVER)
    assert plan.signer == OLD
    assert plan.secret[shared.PREVIOUS_CRT] == OLD.pems().certificate
    assert plan.secret[shared.PREVIOUS_KEY] == OLD.pems().key


def test_one_that_does_not_sign_yet_does_not_sign_for_its_successor_either() -> None:
    due = NOW + shared.LIFETIME - shared.ROTATE_BEFORE_END
    plan = decide(found(NEW, NEW, OLD, since=due), now=due, seen=NEVER)
    assert plan.signer is None
    assert plan.secret[shared.PREVIOUS_KEY] is None


def test_the_old_one_stays_trusted_until_no_leaf_of_it_can_be_left() -> None:
    there = found(NEW, NEW, OLD)
    kept = decide(there, now=NOW + shared.KEPT_AFTER - timedelta(seconds=1), seen=NEVER)
    assert kept.bundle is None
    gone = decide(there, now=NOW + shared.KEPT_AFTER, seen=NEVER)
    assert gone.bundle == (NEW.certificate,)
    assert gone.published == (fingerprint(NEW.certificate), NOW)


def test_what_a_replica_serves_with_is_put_back_into_the_bundle() -> None:
    plan = decide(found(NEW, NEW), now=NOW + timedelta(hours=1), seen=NEVER, serving=[OLD.certificate])
    assert plan.bundle == (NEW.certificate, OLD.certificate)


def test_certificates_that_others_have_put_into_the_bundle_stay(tmp_path: Path) -> None:
    files = certificates.serving_certificate(tmp_path)
    other = x509.load_pem_x509_certificate(files.ca.read_bytes())
    now = datetime.now(UTC)
    newest = Authority.make(now, shared.LIFETIME)
    since = now - shared.KEPT_AFTER
    there = Found(newest=newest, bundle=(newest.certificate, other), published=(fingerprint(newest.certificate), since))
    assert decide(there, now=now, seen=NEVER) == Plan(signer=newest)


def test_a_publication_in_the_future_is_waited_for_by_ones_own_clock() -> None:
    there = found(NEW, NEW, OLD, since=NOW + timedelta(days=1))
    assert decide(there, now=NOW, seen=timedelta(seconds=119)).signer is None
    assert decide(there, now=NOW, seen=timedelta(seconds=120)).signer == NEW


def test_an_annotation_about_another_authority_says_nothing() -> None:
    there = Found(newest=NEW, bundle=(NEW.certificate, OLD.certificate), published=(fingerprint(OLD.certificate), NOW))
    later = NOW + timedelta(days=2)
    plan = decide(there, now=later, seen=timedelta(days=2))
    assert plan.signer is None
    assert plan.published == (fingerprint(NEW.certificate), later)


def test_objects_are_read_back_as_they_were_written() -> None:
    mark = (fingerprint(NEW.certificate), NOW)
    entries = {shared.CRT: NEW.pems().certificate, shared.KEY: NEW.pems().key}
    read = shared.read(entries, bundle([NEW.certificate, OLD.certificate]) + b"rubbish", shared.annotation(mark))
    assert read.newest is not None
    assert read.newest.certificate == NEW.certificate
    assert read.bundle == (NEW.certificate, OLD.certificate)
    assert read.published == mark
    assert shared.read({}, b"", "rubbish") == Found()
    assert shared.read({shared.CRT: b"", shared.KEY: b""}, b"", "") == Found()


@pytest.mark.parametrize(
    "entries",
    [
        {shared.CRT: b"rubbish", shared.KEY: NEW.pems().key},
        {shared.CRT: NEW.pems().certificate, shared.KEY: b"rubbish"},
        {shared.CRT: OLD.pems().certificate, shared.KEY: NEW.pems().key},
    ],
)
def test_what_cannot_be_used_is_an_error_without_its_content(entries: dict[str, bytes]) -> None:
    with pytest.raises(shared.ForeignAuthorityError, match="not overwritten") as refused:
        shared.read(entries, b"", "")
    assert "PRIVATE" not in str(refused.value)
    assert "rubbish" not in str(refused.value)


def test_no_key_is_shown() -> None:
    shown = f"{NEW!r} {found(NEW, NEW)!r} {decide(Found(), now=NOW, seen=NEVER)!r} {NEW.pems()!r}"
    assert "PRIVATE" not in shown
    assert "EllipticCurvePrivateKey" not in shown


# ---- several replicas, and gateways whose bundle lags behind -------------------------------------------------------


@dataclass
class Replica:
    """What serves: the authority of its leaf, which it looks after every ten seconds, by a clock that is off."""

    skew: timedelta
    serves: x509.Certificate | None = None
    first_seen: tuple[str, int] = ("", 0)


@dataclass
class Cluster:
    """Both objects, and what they were: gateways see the bundle of up to 90 seconds ago."""

    there: Found = field(default_factory=Found)
    bundles: list[tuple[x509.Certificate, ...]] = field(default_factory=list)

    def replace(self, second: int) -> None:
        """What `decide` does when the CA comes to its end, which is too far away to wait for."""
        signer = decide(self.there, now=NOW + timedelta(seconds=second), seen=NEVER).signer
        made = Authority.make(NOW, shared.LIFETIME)
        self.there = Found(newest=made, previous=signer, bundle=self.there.bundle, published=self.there.published)

    def step(self, replica: Replica, second: int) -> None:
        for _ in range(6):
            newest = self.there.newest
            mark = fingerprint(newest.certificate) if newest and newest.certificate in self.there.bundle else ""
            if replica.first_seen[0] != mark:
                replica.first_seen = (mark, second)
            plan = decide(
                self.there,
                now=NOW + timedelta(seconds=second) + replica.skew,
                seen=timedelta(seconds=second - replica.first_seen[1] if mark else 0),
                serving=[replica.serves] if replica.serves else [],
            )
            if plan.signer is not None:
                replica.serves = plan.signer.certificate
            if plan.secret:
                entries = {name: content for name, content in plan.secret.items() if content}
                if shared.CRT not in plan.secret and newest is not None:
                    entries |= {shared.CRT: newest.pems().certificate, shared.KEY: newest.pems().key}
                read = shared.read(entries, b"", "")
                self.there = Found(
                    newest=read.newest,
                    previous=read.previous,
                    bundle=self.there.bundle,
                    published=self.there.published,
                )
            elif plan.bundle is not None:
                self.there = Found(
                    newest=newest, previous=self.there.previous, bundle=plan.bundle, published=plan.published
                )
            else:
                return


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.tuples(st.integers(5, 400), st.sampled_from(["empty", "restart 0", "restart 1", "due"])), max_size=6),
    st.integers(-15, 15),
)
def test_no_gateway_ever_meets_a_certificate_that_it_does_not_trust(acts: list[tuple[int, str]], skew: int) -> None:
    cluster = Cluster()
    replicas = [Replica(timedelta(0)), Replica(timedelta(seconds=skew))]
    due = {}
    second = 0
    for pause, act in [*acts, (400, "end")]:
        second += pause
        due[second // 10 * 10] = act
    for now in range(0, second + 10, 10):
        match due.get(now, ""):
            case "empty":
                cluster.there = Found(bundle=cluster.there.bundle, published=cluster.there.published)
            case "due":
                cluster.replace(now)
            case "restart 0":
                replicas[0] = Replica(replicas[0].skew)
            case "restart 1":
                replicas[1] = Replica(replicas[1].skew)
        for replica in replicas:
            cluster.step(replica, now)
        cluster.bundles.append(cluster.there.bundle)
        if now < 100:
            continue  # gateways hear of the very first one when they can
        for lagging in cluster.bundles[-10:]:  # a kubelet is up to 90 seconds late
            for replica in replicas:
                assert replica.serves is None or replica.serves in lagging
    assert all(replica.serves is not None for replica in replicas)
