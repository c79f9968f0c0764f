"""YAML with lines: what kubectl would read, where it stands, and what is refused however it is built."""

import time
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from trunkline_operator.watch.yaml_lines import MAX_DEPTH, MAX_NODES, YAMLLineError, documents


def value(text: str) -> Any:
    (document,) = documents(text)
    return document.value


def test_every_field_knows_its_line() -> None:
    text = "# comment\na: 1\nspec:\n  targets:\n  - name: x\n    weight: 2\n  - {name: y,\n     weight: 3}\n---\nb: 1\n"
    first, second = documents(text)
    assert (first.line, second.line) == (2, 10)
    assert first.line_of("spec.targets[0].weight") == 6
    assert first.line_of("spec.targets[1]") == 7
    assert first.line_of("spec.targets[1].weight") == 8


def test_a_field_that_is_not_there_has_the_line_of_what_should_hold_it() -> None:
    (document,) = documents("a: 1\nspec:\n  targets:\n  - name: x\n")
    assert document.line_of("spec.targets[0].credentialRef.name") == 4
    assert document.line_of("spec.models") == 2
    assert document.line_of("nothing.at.all") == 1
    assert document.line_of("") == 1


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("yes", True),
        ("off", False),
        ("~", None),
        ("", None),
        ("'yes'", "yes"),
        ("010", 8),
        ("0x1F", 31),
        ("0b11", 3),
        ("-7", -7),
        ("1_000", 1000),
        ("089", 89.0),
        ("1.5", 1.5),
        ("1e3", 1000.0),
        ("1.2.3", "1.2.3"),
        ("2027-06-30", "2027-06-30"),
        ("2027-06-30T00:00:00Z", "2027-06-30T00:00:00Z"),
        ("12:30", "12:30"),
        ("!!str 1", "1"),
        ("sha256:00", "sha256:00"),
    ],
)
def test_plain_scalars_mean_what_they_mean_to_kubectl(text: str, meant: object) -> None:
    found = value(f"a: {text}\n")["a"]
    assert found == meant
    assert type(found) is type(meant)


def test_aliases_and_merges_are_expanded() -> None:
    assert value("a: &a {x: 1}\nb: *a\nc: {<<: *a, y: 2}\nd: {<<: [*a, {x: 2, z: 3}], x: 0}\n") == {
        "a": {"x": 1},
        "b": {"x": 1},
        "c": {"x": 1, "y": 2},
        "d": {"x": 0, "z": 3},
    }


@pytest.mark.parametrize(
    ("text", "line", "says"),
    [
        ("a: 1\nb: 2\na: 3\n", 3, 'field "a" stands twice, first in line 1'),
        ("a: 1\nb: {c: 1,\n c: 2}\n", 3, "stands twice"),
        ("a: [1\nb: 2\n", 2, "not YAML"),
        ("a:\n\t- b\n", 2, "not YAML"),
        ("a: *nowhere\n", 1, "refers to nothing"),
        ("a: 1\nb: &b [*b]\n", 2, "refers to nothing"),
        ("a: 1\n? [x]\n: 1\n", 2, "name of a field must be a string"),
        ("a: &a x\n*a : 1\n", 2, "cannot be the name"),
        ("a: !!binary aGk=\n", 1, "tags are not taken"),
        ("a: !!python/object:os.system {}\n", 1, "tags are not taken"),
        ("a: {<<: 1}\n", 1, "<< takes a mapping"),
        ("a: \x07\n", 0, "characters that YAML does not allow"),
    ],
)
def test_what_is_refused_says_where_and_why(text: str, line: int, says: str) -> None:
    with pytest.raises(YAMLLineError, match=says.replace("(", r"\(")) as caught:
        documents(text)
    assert caught.value.line == line


def test_errors_quote_no_values() -> None:
    for text in ("a: sk-canary\na: sk-canary\n", "a: [sk-canary\nb", "a: !!binary sk-canary\n"):
        with pytest.raises(YAMLLineError) as caught:
            documents(text)
        assert "sk-canary" not in str(caught.value)


def test_aliases_cannot_expand_without_bound() -> None:
    bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
        f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 12)
    )
    begun = time.monotonic()
    with pytest.raises(YAMLLineError, match=f"more than {MAX_NODES} values"):
        documents(bomb)
    assert time.monotonic() - begun < 5


@pytest.mark.parametrize("brackets", ["[", "{a: "])
def test_depth_is_bounded(brackets: str) -> None:
    with pytest.raises(YAMLLineError, match=f"deeper than {MAX_DEPTH}"):
        documents(brackets * 100_000)


_SCALARS = st.none() | st.booleans() | st.integers(-(2**40), 2**40) | st.text(max_size=8)
_VALUES = st.recursive(
    _SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
)


class Quoting(yaml.SafeDumper):
    """Quotes every string: PyYAML and kubectl do not agree on which may stand plain."""


Quoting.add_representer(str, lambda dumper, text: dumper.represent_scalar("tag:yaml.org,2002:str", text, style='"'))


@given(st.lists(st.dictionaries(st.text(max_size=5), _VALUES, min_size=1, max_size=4), max_size=3))
def test_what_was_dumped_is_read_again(given_values: list[Any]) -> None:
    text = yaml.dump_all(given_values, Dumper=Quoting, allow_unicode=False)
    assert [document.value for document in documents(text)] == given_values


@given(st.text(max_size=60))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        found = documents(text)
    except YAMLLineError:
        return
    assert all(document.line >= 1 for document in found)
