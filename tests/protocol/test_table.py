"""Versions: of content, and of whole tables."""

from hypothesis import given, settings
from hypothesis import strategies as st

from trunkline_protocol import table
from trunkline_protocol.table import Name
from trunkline_protocol.v1 import routing_pb2 as pb

NAMES = st.builds(Name, st.sampled_from(sorted(table.KINDS)), st.text("abc/", min_size=1, max_size=4))
TABLES = st.dictionaries(NAMES, st.binary(min_size=16, max_size=16), max_size=6)


def test_every_body_type_has_the_kind_that_it_is_named_after() -> None:
    assert table.KINDS.keys() == table.BODY_TYPES.keys()


def test_the_version_is_of_type_name_and_body_and_of_nothing_else() -> None:
    name = Name(pb.TYPE_KEY, "a/k")
    one = table.resource(name, pb.Key(team="x"), {"VirtualKey/a/k": 1})
    assert one.version == table.resource(name, pb.Key(team="x"), {"VirtualKey/a/k": 2}, min_reader=3).version
    assert one.version != table.resource(name, pb.Key(team="y"), {"VirtualKey/a/k": 1}).version
    assert one.version != table.resource(Name(pb.TYPE_KEY, "a/l"), pb.Key(team="x"), {}).version
    assert len(one.version) == 16


def test_sources_stand_in_order() -> None:
    resource = table.resource(Name(pb.TYPE_KEY, "a/k"), pb.Key(), {"b": 2, "a": 1})
    assert [(source.ref, source.revision) for source in resource.sources] == [("a", 1), ("b", 2)]


@settings(deadline=None)
@given(TABLES, st.randoms())
def test_the_version_of_a_table_does_not_depend_on_the_order(versions: dict[Name, bytes], random: object) -> None:
    items = list(versions.items())
    random.shuffle(items)  # type: ignore[attr-defined]
    assert table.table_version(items) == table.table_version(versions.items())


@settings(deadline=None)
@given(TABLES, TABLES)
def test_different_tables_have_different_versions(one: dict[Name, bytes], other: dict[Name, bytes]) -> None:
    assert (table.table_version(one.items()) == table.table_version(other.items())) == (one == other)


@settings(deadline=None)
@given(TABLES, TABLES)
def test_step_by_step_gives_the_same_version_as_all_at_once(one: dict[Name, bytes], other: dict[Name, bytes]) -> None:
    fingerprint = table.Fingerprint(one.items())
    for name, version in one.items():
        if other.get(name) != version:
            fingerprint.remove(name, version)
    for name, version in other.items():
        if one.get(name) != version:
            fingerprint.add(name, version)
    assert str(fingerprint) == table.table_version(other.items())
