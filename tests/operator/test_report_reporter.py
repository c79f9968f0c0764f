"""The reporter writes what changed, when it changed, and looks at nothing else."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from builders.wire_ends import until
from trunkline_operator.compile.result import Compiled, Finding, KeyFinding, Verdict
from trunkline_operator.report.log import LogReporter
from trunkline_operator.report.reporter import Reporter
from trunkline_operator.report.status import KeyHealth, Rollout, Subject, Waits, status
from trunkline_operator.watch.world import Observed, Ref, World
from trunkline_protocol.table import Name, resource
from trunkline_protocol.v1 import routing_pb2 as pb

EPOCH = datetime(2026, 5, 1, tzinfo=UTC)
FINE = Finding(True, "Accepted", "It is valid.")
RESOLVED = Finding(True, "ResolvedRefs", "Everything it names exists.")
BROKEN = Finding(False, "Invalid", "spec: no")


class Fleet:
    def __init__(self):
        self.gateways = {}  # name → versions it lacks
        self.health = {}

    def rollout(self, names, *, held):
        wanted = set(names)
        behind = tuple(node for node, lacks in self.gateways.items() if wanted & lacks)
        return Rollout(gateways=len(self.gateways), behind=behind, kept=bool(held))

    def key_health(self, upstream):
        return self.health.get(upstream, {})


class Sink:
    """Writes at once, as a cluster would."""

    def __init__(self, world):
        self.world = world
        self.written = []
        self.revision = 1000
        self.overtakes = False

    def write(self, write, written):
        self.written.append(write)
        self.revision += 1
        if self.overtakes:
            write.overtaken()
        else:
            written(self.revision)

    def forget(self, ref):
        pass


class Stage:
    def __init__(self):
        self.seconds = 0.0
        self.world = World()
        self.fleet = Fleet()
        self.sink = Sink(self.world)
        self.verdicts = {}
        self.reporter = Reporter(
            self.world,
            self.fleet,
            self.sink,
            clock=lambda: EPOCH + timedelta(seconds=self.seconds),
            monotonic=lambda: self.seconds,
        )

    def observe(self, ref, *, generation=1, revision=1, status=None):
        self.world.objects[ref] = Observed(
            ref=ref,
            uid=f"uid-{ref.name}",
            generation=generation,
            revision=revision,
            created=0,
            parsed=None,
            errors=(),
            raw={},
            status=status or {},
        )

    def compile(self, **verdicts):
        self.verdicts |= {REFS[name]: verdict for name, verdict in verdicts.items()}
        names = {name for verdict in self.verdicts.values() for name in verdict.programs if not verdict.held}
        body = {name: resource(name, pb.Route(group=f"{name} {self.verdicts}"), {}) for name in names}
        held = frozenset(name for each in self.verdicts.values() if each.held for name in each.programs)
        self.reporter.compiled(Compiled(resources=body, holds=held, verdicts=dict(self.verdicts)))
        self.look()

    def look(self):
        self.reporter.look()
        written, self.sink.written = self.sink.written, []
        return written

    def pass_time(self, seconds):
        self.seconds += seconds
        return self.look()


GROUP = Ref("ModelGroup", "team-a", "gpt-4o")
OTHER = Ref("ModelGroup", "team-a", "other")
ACCOUNT = Ref("ProviderCredential", "team-a", "main")
REFS = {"group": GROUP, "other": OTHER, "account": ACCOUNT}


def verdict(ref, **more):
    return Verdict(
        accepted=FINE, resolved_refs=RESOLVED, programs=(Name(pb.TYPE_ROUTE, f"{ref.namespace}/{ref.name}"),), **more
    )


@pytest.fixture
def stage():
    made = Stage()
    made.observe(GROUP)
    made.observe(OTHER)
    return made


def programmed(write):
    return next((each["status"], each["reason"]) for each in write.status["conditions"] if each["type"] == "Programmed")


def test_one_write_says_it_all_when_gateways_are_quick(stage):
    stage.fleet.gateways = {"gw-1": {Name(pb.TYPE_ROUTE, "team-a/gpt-4o")}}
    stage.compile(group=verdict(GROUP))
    assert stage.look() == []
    stage.seconds += 0.1
    stage.fleet.gateways = {"gw-1": set()}
    stage.reporter.fleet_changed({Name(pb.TYPE_ROUTE, "team-a/gpt-4o")})
    (write,) = stage.look()
    assert programmed(write) == ("True", "Programmed")
    assert stage.pass_time(1000) == []


def test_a_write_that_was_overtaken_waits_for_the_watch_but_not_for_ever(stage):
    stage.fleet.gateways = {"gw-1": set()}
    stage.sink.overtakes = True
    stage.compile(group=verdict(GROUP))
    assert [len(stage.pass_time(0.1)) for _ in range(5)] == [0] * 5, "it knows nothing newer"
    tries = sum(len(stage.pass_time(1)) for _ in range(120))
    assert 5 <= tries <= 10, "what the watch does not show is tried all the same, at a falling pace"
    stage.sink.overtakes = False
    stage.observe(GROUP, revision=2)
    stage.reporter.observed(GROUP)
    (second,) = stage.look()
    assert second.revision == 2
    assert stage.pass_time(1000) == []


def test_a_gateway_that_is_late_shows_after_two_seconds(stage):
    stage.fleet.gateways = {"gw-1": {Name(pb.TYPE_ROUTE, "team-a/gpt-4o")}}
    stage.compile(group=verdict(GROUP))
    (early,) = stage.pass_time(0.3)
    assert [each["type"] for each in early.status["conditions"]] == ["Accepted", "ResolvedRefs"]
    assert stage.pass_time(1.5) == []
    (late,) = stage.pass_time(0.3)
    assert programmed(late) == ("False", "Pending")


def test_a_gateway_that_joins_or_leaves_writes_nothing(stage):
    stage.fleet.gateways = {"gw-1": set()}
    stage.compile(group=verdict(GROUP), other=verdict(OTHER))
    stage.pass_time(1)
    everything = {Name(pb.TYPE_ROUTE, "team-a/gpt-4o"), Name(pb.TYPE_ROUTE, "team-a/other")}
    for gateways in ({"gw-1": set(), "gw-2": set()}, {"gw-2": set()}):
        stage.fleet.gateways = gateways
        stage.reporter.fleet_changed(everything)
        assert stage.pass_time(60) == []


def test_without_gateways_what_was_programmed_stays_so_for_a_while(stage):
    name = Name(pb.TYPE_ROUTE, "team-a/gpt-4o")
    stage.fleet.gateways = {"gw-1": set()}
    stage.reporter.fleet_changed(())
    stage.compile(group=verdict(GROUP))
    stage.pass_time(100)
    stage.fleet.gateways = {}
    stage.reporter.fleet_changed({name})
    assert stage.pass_time(3) == []
    (write,) = stage.pass_time(2)
    assert programmed(write) == ("Unknown", "NoGateways")
    stage.fleet.gateways = {"gw-1": set()}
    stage.reporter.fleet_changed({name})
    assert programmed(*stage.look()) == ("True", "Programmed")


def test_only_what_changed_is_written(stage):
    stage.fleet.gateways = {"gw-1": set()}
    stage.compile(group=verdict(GROUP), other=verdict(OTHER))
    stage.observe(GROUP, generation=2, revision=2)
    stage.reporter.compiled(
        Compiled(
            resources={},
            holds=frozenset(),
            verdicts={**stage.verdicts, GROUP: replace(verdict(GROUP), accepted=BROKEN)},
        )
    )
    stage.seconds += 1
    assert GROUP in {write.ref for write in stage.look()}


def test_what_it_wrote_itself_is_no_news(stage):
    stage.fleet.gateways = {"gw-1": set()}
    stage.reporter.fleet_changed(())
    stage.verdicts[GROUP] = verdict(GROUP)
    stage.reporter.compiled(
        Compiled(
            resources={name: resource(name, pb.Route(), {}) for name in verdict(GROUP).programs},
            holds=frozenset(),
            verdicts=stage.verdicts,
        )
    )
    (write,) = stage.look()
    stage.observe(GROUP, revision=stage.sink.revision, status=write.status)
    stage.reporter.observed(GROUP)
    assert stage.pass_time(1) == []
    meddled = {**write.status, "conditions": []}
    stage.observe(GROUP, revision=stage.sink.revision + 1, status=meddled)
    stage.reporter.observed(GROUP)
    assert len(stage.look()) == 1


def test_a_status_is_about_the_generation_that_was_compiled(stage):
    stage.fleet.gateways = {"gw-1": set()}
    stage.reporter.fleet_changed(())
    stage.verdicts[GROUP] = verdict(GROUP)
    stage.reporter.compiled(Compiled(resources={}, holds=frozenset(), verdicts=stage.verdicts))
    stage.observe(GROUP, generation=2, revision=2)
    (write,) = stage.look()
    assert write.status["observedGeneration"] == 1


def test_it_wakes_up_when_something_expires(stage):
    stage.fleet.gateways = {"gw-1": set()}
    stage.compile(group=verdict(GROUP, expires=int(EPOCH.timestamp()) + 3600))
    assert stage.pass_time(3599) == []
    (write,) = stage.pass_time(2)
    assert write.status["conditions"][0]["reason"] == "Expired"
    assert [each.reason for each in write.transitions] == ["Expired"]


def test_the_health_of_keys_is_written_at_a_bounded_pace(stage):
    stage.observe(ACCOUNT)
    stage.fleet.gateways = {"gw-1": set()}
    stage.compile(account=verdict(ACCOUNT, keys=(KeyFinding(name="a", state="Active"),)))
    writes = []
    for n in range(20):
        stage.fleet.health = {"team-a/main": {"a": KeyHealth(("CoolingDown", "Active")[n % 2], "429", 0)}}
        stage.reporter.health_changed({"team-a/main"})
        writes += stage.pass_time(1)
    assert 2 <= len(writes) <= 5
    assert writes[0].status["keys"][0]["state"] == "CoolingDown"


def test_a_directory_gets_a_log_line_for_each_transition(stage, caplog):
    reporter = Reporter(stage.world, stage.fleet, LogReporter(), monotonic=lambda: stage.seconds)
    stage.fleet.gateways = {"gw-1": set()}
    caplog.set_level("INFO")
    for given in (verdict(GROUP), replace(verdict(GROUP), accepted=BROKEN), replace(verdict(GROUP), accepted=BROKEN)):
        reporter.compiled(Compiled(resources={}, holds=frozenset(given.programs), verdicts={GROUP: given}))
        reporter.look()
    assert [record.message for record in caplog.records] == ["ModelGroup team-a/gpt-4o: Invalid: spec: no"]


def test_two_operators_that_disagree_soon_stop_writing_over_each_other(stage):
    stage.fleet.gateways = {"gw-1": set()}
    stage.compile(group=verdict(GROUP))
    stage.pass_time(1)
    theirs = {"conditions": [{"type": "Programmed", "status": "Unknown", "reason": "NoGateways", "message": "none"}]}
    writes, times = 0, []
    for turn in range(300):
        # The other one writes over whatever we wrote, at once.
        if stage.reporter._tracks[GROUP].sent is not None:
            stage.observe(GROUP, revision=10_000 + turn, status=theirs)
            stage.reporter.observed(GROUP)
        stage.sink.revision = 20_000 + turn
        if written := stage.pass_time(1):
            writes += len(written)
            times.append(turn)
        # What we wrote is older than what they write next.
        if (sent := stage.reporter._tracks[GROUP]).sent is not None:
            sent.sent_revision = 9_999 + turn
    assert 3 <= writes <= 12, times
    assert times[0] <= 1, "the first time it is repaired at once"


async def test_whoever_stands_by_writes_nothing_and_then_only_what_is_not_there_already(stage):
    name = Name(pb.TYPE_ROUTE, "team-a/gpt-4o")
    stage.fleet.gateways = {"gw-1": set()}
    stage.reporter.fleet_changed(())
    stage.reporter.stand_by()
    running = asyncio.create_task(stage.reporter.run())
    stage.verdicts |= {GROUP: verdict(GROUP), OTHER: verdict(OTHER)}
    names = {each for given in stage.verdicts.values() for each in given.programs}
    bodies = {each: resource(each, pb.Route(), {}) for each in names}
    stage.reporter.compiled(Compiled(resources=bodies, holds=frozenset(), verdicts=stage.verdicts))
    for _ in range(20):
        stage.reporter.fleet_changed({name})
        await asyncio.sleep(0)
    assert stage.sink.written == []
    # Somebody else has written one of the two meanwhile.
    theirs = status(
        Subject(kind="ModelGroup", generation=1, status={}),
        verdict(GROUP),
        Rollout(gateways=2),
        now=EPOCH,
        waits=Waits(10, 0),
    )
    stage.observe(GROUP, revision=7, status=theirs)
    stage.reporter.resume()
    await until(lambda: stage.sink.written)
    for _ in range(20):
        await asyncio.sleep(0)
    running.cancel()
    assert [write.ref for write in stage.sink.written] == [OTHER]


def test_a_new_writer_does_not_say_that_there_is_no_gateway_before_it_can_know(stage):
    stage.fleet.gateways = {"gw-1": set()}
    stage.reporter.fleet_changed(())
    stage.verdicts[GROUP] = verdict(GROUP)
    bodies = {name: resource(name, pb.Route(), {}) for name in verdict(GROUP).programs}
    stage.reporter.compiled(Compiled(resources=bodies, holds=frozenset(), verdicts=stage.verdicts))
    (write,) = stage.look()
    stage.observe(GROUP, revision=5, status=write.status)
    stage.reporter.stand_by()
    stage.fleet.gateways = {}
    stage.reporter.fleet_changed(())
    stage.seconds += 100
    stage.reporter.resume()
    assert stage.pass_time(3) == []
    assert programmed(*stage.pass_time(2)) == ("Unknown", "NoGateways")
