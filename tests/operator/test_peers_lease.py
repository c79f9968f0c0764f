"""Never two holders of the Lease, whatever is slow, lost, late or stopped; and soon one again."""

import random
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from builders.virtual_time import Loop
from trunkline_operator.peers.lease import DEADLINE_SECONDS, DURATION_SECONDS, Candidate, Claim, Record


@dataclass
class Server:
    """The API server: one object, whose writes rest on its revision."""

    record: Record = field(default_factory=Record)
    revision: int = 0

    def write(self, claim: Claim) -> str | None:
        if claim.record.revision != self.record.revision:
            return None
        self.revision += 1
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
            answer = self.server.record
            if not self.lost():
                self.loop.call_later(self.delay(), lambda: self.answered(answer))

        if not self.lost():
            self.loop.call_later(self.delay(), asked)

    def answered(self, record: Record) -> None:
        if self.dead:
            return
        known = self.candidate.record
        if known is not None and int(record.revision or 0) < int(known.revision or 0):
            return  # one request at a time, in the real thing: answers do not overtake
        self.candidate.observed(record, self.clock())
        if (claim := self.candidate.claim(self.clock())) is not None:
            self.send(claim)

    def send(self, claim: Claim) -> None:
        def arrived() -> None:
            revision = self.server.write(claim)
            if revision is not None and not self.lost():
                self.loop.call_later(self.delay(), lambda: self.wrote(claim, revision))

        if not self.lost():
            self.loop.call_later(self.delay(), arrived)

    def wrote(self, claim: Claim, revision: str) -> None:
        if not self.dead:
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
    second.observed(Record(holder="", revision="2", used=True), 1)
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
