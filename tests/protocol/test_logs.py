"""One line for each event, whatever is in it."""

import io
import json
import logging

import pytest

from trunkline_protocol import logs


@pytest.fixture
def stream():
    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    yield io.StringIO()
    root.handlers[:] = before
    root.setLevel(level)


def test_json_has_the_fields_of_the_event(stream):
    logs.configure(stream=stream)
    logging.getLogger("operator").info("hello\n%s", "you", extra=logs.fields(node="gw-1", msg="not this"))
    event = json.loads(stream.getvalue())
    assert event["msg"] == "hello\nyou"
    assert (event["level"], event["logger"], event["node"]) == ("info", "operator", "gw-1")
    assert event["ts"].endswith("Z")
    assert stream.getvalue().count("\n") == 1


def test_text_is_one_line(stream):
    logs.configure(log_format="text", stream=stream)
    logging.getLogger("operator").warning("a\nb", extra=logs.fields(node="gw-1"))
    assert stream.getvalue().count("\n") == 1
    assert stream.getvalue().endswith("warning operator: a\\nb node=gw-1\n")


@pytest.mark.parametrize("log_format", logs.FORMATS)
def test_an_exception_shows_no_local_variables(stream, log_format):
    logs.configure(log_format=log_format, stream=stream)
    canary = "-".join(["canary", "1f2e"])
    try:
        [][len(canary)]
    except IndexError:
        logging.getLogger("operator").exception("failed")
    assert "IndexError: list index out of range" in stream.getvalue()
    assert canary not in stream.getvalue()


def test_what_is_below_the_level_is_not_logged(stream):
    logs.configure(level="warning", stream=stream)
    logging.getLogger("operator").info("no")
    assert stream.getvalue() == ""
