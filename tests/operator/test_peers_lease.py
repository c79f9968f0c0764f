"""Never two holders of the Lease, whatever is slow, lost, late or stopped; and soon one again."""

import random
from dataclasses import dataclass, field, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from builders.virtual_time import Loop
from trunkline_operator.peers.lease import DEADLINE_SECONDS, DURATION_SECONDS, LONGEST_SECONDS, Candidate, Claim, Record


@dataclass
class Server:
    """The API server: one object, whose writes rest on its revision."""

    record: Record = field(default_factory=Record)
    revision: int = 0
    changes: int = 0
    ever: bool = False

    def edit(self, **to: object) -> None:
        """Somebody changes it by hand."""
        self.revision, self.changes = self.revision + 1, self.changes + 1
        self.record = replace(self.record, revision=str(self.revision), **to)  # type: ignore[arg-type]

    def delete(self) -> None:
        """Somebody deletes it."""
        self.changes += 1
        self.record = Record()

    def write(self, claim: Claim) -> str | None:
        if claim.record.revision != self.record.revision:
            return None
        self.revision, self.changes, self.ever = self.revision + 1, self.changes + 1, True
        self.record = Record(
            holder=claim.record.holder,
            address=claim.record.address,
            duration_seconds=claim.record.duration_seconds,
            transitions=claim.record.transitions,
            revision=str(self.revision),
            used=claim.record.used,
        )
        return self.record.revision


class Process:
    """A replica over a network that delays and loses; its own clock has its own offset and pace."""

    def __init__(self, name: str, loop: Loop, server: Server, chance: random.Random, *, trouble: float) -> None:
        self.candidate = Candidate(name, f"{name}:8443")
        self.loop = loop
        self.server = server
        self.chance = chance
        self.trouble = trouble
        self.offset, self.pace = chance.uniform(0, 1e6), chance.uniform(0.98, 1.02)
        self.dead = False
        self.newest = -1
        loop.call_later(chance.uniform(0, 2), self.step)

    def clock(self) -> float:
        return self.offset + self.loop.now * self.pace

    def delay(self) -> float:
        return self.chance.choice([0.01, 0.5, 5, 20, 60]) if self.chance.random() < self.trouble else 0.01

    def lost(self) -> bool:
        return self.chance.random() < self.trouble / 2

    def step(self) -> None:
        if self.dead:
            return
        claim = self.candidate.claim(self.clock()) if self._is_own() else None
        if claim is not None:
            self.send(claim)
        else:
            self.read()
        # A stopped process goes on later, with whatever it believes.
        stopped = self.chance.random() < self.trouble / 10
        self.loop.call_later(self.chance.choice([30, 100]) if stopped else 2, self.step)

    def _is_own(self) -> bool:
        record = self.candidate.record
        return record is not None and record.holder == self.candidate.identity and self.chance.random() > self.trouble

    def read(self) -> None:
        def asked() -> None:
            answer, changes = self.server.record, self.server.changes
            if self.candidate.record is None and self.server.ever and not answer.revision:
                return  # nobody can know what somebody has deleted before it came
            if not self.lost():
                self.loop.call_later(self.delay(), lambda: self.answered(answer, changes))

        if not self.lost():
            self.loop.call_later(self.delay(), asked)

    def answered(self, record: Record, changes: int) -> None:
        if self.dead or changes < self.newest:
            return  # one request at a time, in the real thing: answers do not overtake
        self.newest = changes
        self.candidate.observed(record, self.clock())
        if (claim := self.candidate.claim(self.clock())) is not None:
            self.send(claim)

    def send(self, claim: Claim) -> None:
        def arrived() -> None:
            revision, changes = self.server.write(claim), self.server.changes
            if not self.lost():
                self.loop.call_later(self.delay(), lambda: self.wrote(claim, revision, changes))

        if not self.lost():
            self.loop.call_later(self.delay(), arrived)

    def wrote(self, claim: Claim, revision: str | None, changes: int) -> None:
        if self.dead or changes < self.newest:
            return
        if revision is None:
            self.candidate.refused()
            self.read()
        else:
            self.newest = changes
            self.candidate.written(claim, revision, self.clock())

    def holds(self) -> bool:
        return not self.dead and self.candidate.holds(self.clock())


def holders(processes: list[Process]) -> list[str]:
    return [each.candidate.identity for each in processes if each.holds()]


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 4), st.sampled_from([0.0, 0.1, 0.3, 0.6]))
def test_there_are_never_two_holders(seed: int, count: int, trouble: float) -> None:
    chance = random.Random(seed)
    loop, server = Loop(), Server()
    processes = [Process(f"r{n}", loop, server, chance, trouble=trouble) for n in range(count)]
    for _ in range(1200):
        loop.advance(0.25)
        assert len(holders(processes)) <= 1
        if chance.random() < 0.003:
            victim = chance.choice(processes)
            if chance.random() < 0.5 and (claim := victim.candidate.release(victim.clock())) is not None:
                server.write(claim)
            victim.dead = True
            processes.append(Process(f"n{loop.now}", loop, server, chance, trouble=trouble))
    if trouble == 0:
        loop.advance(DURATION_SECONDS * 1.1 + 4)
        assert len(holders(processes)) == 1


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 2**32), st.integers(2, 4), st.sampled_from([0.0, 0.1, 0.3, 0.6]))
def test_there_are_never_two_holders_whoever_deletes_or_edits_the_lease(seed: int, count: int, trouble: float) -> None:
    chance = random.Random(seed)
    loop, server = Loop(), Server()
    processes = [Process(f"r{n}", loop, server, chance, trouble=trouble) for n in range(count)]
    edited = 0.0
    for _ in range(1600):
        loop.advance(0.25)
        assert len(holders(processes)) <= 1
        # Not two within what an answer may take: a Lease that came and went unseen was never there.
        if chance.random() < 0.05 and server.ever and loop.now > edited + 70:
            edited = loop.now
            match chance.choice(["delete", "empty", "other", "stranger", "label"]):
                case "delete":
                    server.delete()
                case "empty" if server.record.revision:
                    server.edit(holder="", address="")
                case "other" if server.record.revision:
                    server.edit(holder=chance.choice(processes).candidate.identity)
                case "stranger" if server.record.revision:
                    server.edit(holder="intruder", duration_seconds=float(chance.choice([1, 15, 20, 2**31 - 1])))
                case "label" if server.record.revision:
                    server.edit()
                case _:
                    pass
    if trouble == 0:
        loop.advance(LONGEST_SECONDS * 1.1 + 4)
        assert len(holders(processes)) == 1


def test_a_lease_that_was_deleted_is_put_right_by_its_holder_and_nobody_else_takes_it_meanwhile() -> None:
    loop, server = Loop(), Server()
    chance = random.Random(1)
    first = Process("a", loop, server, chance, trouble=0)
    loop.advance(5)
    second = Process("b", loop, server, chance, trouble=0)
    loop.advance(20)
    before = server.record.transitions
    server.delete()
    for _ in range(400):
        loop.advance(0.1)
        assert holders([second]) == []
    assert holders([first]) == ["a"]
    assert (server.record.holder, server.record.transitions) == ("a", before)
    server.delete()
    first.dead = True
    loop.advance(DURATION_SECONDS + 4)
    assert holders([second]) == ["b"]
    assert second.candidate.succeeded
    assert server.record.transitions == before + 1


def test_a_count_of_holders_that_cannot_grow_begins_anew() -> None:
    candidate = Candidate("a")
    candidate.observed(Record(revision="7", used=True, duration_seconds=1, transitions=2**31 - 1), 0)
    claim = candidate.claim(0)
    assert claim is not None
    assert claim.record.transitions == 0


def test_a_killed_holder_is_followed_when_the_lease_has_run_out_and_not_before() -> None:
    loop, server = Loop(), Server()
    chance = random.Random(1)
    first = Process("a", loop, server, chance, trouble=0)
    loop.advance(5)
    second = Process("b", loop, server, chance, trouble=0)
    loop.advance(60)
    assert holders([first, second]) == ["a"]
    first.dead = True
    loop.advance(DURATION_SECONDS - 3)
    assert holders([second]) == []
    loop.advance(5)
    assert holders([second]) == ["b"]
    assert second.candidate.succeeded
    assert server.record.transitions == 1
    assert server.record.address == "b:8443"


def test_a_holder_that_cannot_renew_stops_well_before_anybody_follows() -> None:
    candidate = Candidate("a")
    candidate.observed(Record(), 100)
    claim = candidate.claim(100)
    assert claim is not None
    assert not candidate.holds(100)
    candidate.written(claim, "1", 103)  # the answer was slow: its time counts from the question
    assert candidate.holds(100 + DEADLINE_SECONDS - 0.01)
    assert not candidate.holds(100 + DEADLINE_SECONDS)
    other = Candidate("b")
    other.observed(Record(holder="a", revision="1", used=True), 101)
    assert other.claim(101 + DURATION_SECONDS - 0.01) is None
    assert other.claim(101 + DURATION_SECONDS) is not None
    assert not candidate.succeeded


def test_what_was_given_back_is_taken_at_once_and_its_new_holder_knows_that_there_was_one() -> None:
    first, second = Candidate("a", "a:1"), Candidate("b", "b:1")
    first.observed(Record(), 0)
    claim = first.claim(0)
    assert claim is not None
    first.written(claim, "1", 0)
    given_back = first.release(1)
    assert given_back is not None
    assert (given_back.record.holder, given_back.record.address) == ("", "")
    assert not first.holds(1)
    second.observed(Record(holder="", revision="2", used=True, duration_seconds=given_back.record.duration_seconds), 1)
    taken = second.claim(1)
    assert taken is not None
    second.written(taken, "3", 1)
    assert second.holds(2)
    assert second.succeeded


def test_a_lease_that_somebody_else_took_is_not_given_back() -> None:
    candidate = Candidate("a")
    candidate.observed(Record(), 0)
    claim = candidate.claim(0)
    assert claim is not None
    candidate.written(claim, "1", 0)
    candidate.observed(Record(holder="b", revision="2", used=True), 20)
    assert not candidate.holds(1)
    assert candidate.release(20) is None


def test_a_lease_that_its_owner_made_beforehand_is_taken_at_once_and_nobody_was_before() -> None:
    candidate = Candidate("a")
    candidate.observed(Record(revision="7"), 0)
    claim = candidate.claim(0)
    assert claim is not None
    assert claim.record.revision == "7"
    candidate.written(claim, "8", 0)
    assert not candidate.succeeded


def test_a_deadline_that_leaves_no_time_between_two_holders_is_refused() -> None:
    with pytest.raises(ValueError, match="stop before"):
        Candidate("a", duration_seconds=10, deadline_seconds=10)
