"""The table of cases against the models, and the table itself against the schema."""

import pytest

from protocol.cases.case import Case
from protocol.cases.table import CASES, points
from trunkline_protocol.resources import KINDS, validate


@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_case_is_accepted_at_its_bound_and_refused_beyond_it(case: Case):
    assert validate(case.accepted) == []
    errors = validate(case.refused)
    assert [error for error in errors if error.path == case.at and case.says in error.message], errors
    assert len(errors) == 1, "a case breaks one thing only"


@pytest.mark.parametrize("kind", KINDS)
def test_each_rule_and_bound_of_the_schema_has_a_case(kind: str):
    cases = [case for case in CASES if case.kind == kind]
    missing = [
        (path, keyword, message)
        for path, keyword, message in points(kind)
        if not any(
            case.path == path and case.keyword == keyword and (keyword != "rule" or case.says in message)
            for case in cases
        )
    ]
    assert missing == []


@pytest.mark.parametrize("kind", KINDS)
def test_each_case_is_about_a_rule_or_bound_that_exists(kind: str):
    known = list(points(kind))
    stale = [
        str(case)
        for case in CASES
        if case.kind == kind
        and not any(
            case.path == path and case.keyword == keyword and (keyword != "rule" or case.says in message)
            for path, keyword, message in known
        )
    ]
    assert stale == []
