"""One line for each event, whatever is in it."""

import io
import json
import logging
import os
import threading
import weakref

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


def test_lines_of_others_go_where_records_go(stream):
    logs.configure(stream=stream)
    logging.getLogger("operator").info("one")
    logs.handler().write_lines('{"two": "ü"}\n'.encode())
    one, two = (json.loads(line) for line in stream.getvalue().splitlines())
    assert (one["msg"], two) == ("one", {"two": "ü"})


def test_lines_pass_a_full_pipe_whole_and_in_order_with_records(stream):
    reading, writing = os.pipe()
    os.set_blocking(writing, False)  # as whoever shares a terminal may leave it
    line = b"x" * 1000 + b"\n"
    with open(reading, "rb") as reader, open(writing, "w", encoding="utf-8") as piped:
        logs.configure(stream=piped)
        logging.getLogger("operator").info("before")
        writer = threading.Thread(target=logs.handler().write_lines, args=(line * 500,))
        writer.start()
        assert json.loads(reader.readline())["msg"] == "before"
        assert b"".join(reader.readline() for _ in range(500)) == line * 500
        writer.join()


def test_without_configure_there_is_no_handler_of_ours(stream):
    logging.getLogger().handlers[:] = []
    assert logs.handler() is None


@pytest.mark.parametrize("log_format", logs.FORMATS)
def test_the_handler_knows_its_format(stream, log_format):
    logs.configure(stream=stream, log_format=log_format)
    assert logs.handler().log_format == log_format


def test_a_stuck_stream_does_not_hold_up_the_end_of_the_process(stream):
    reading, writing = os.pipe()
    with open(reading, "rb") as reader, open(writing, "w", encoding="utf-8") as piped:
        logs.configure(stream=piped)
        lines = b"x\n" * (1 << 19)  # more than a pipe holds
        writer = threading.Thread(target=logs.handler().write_lines, args=(lines,))
        writer.start()
        assert reader.read(2) == b"x\n"  # it has begun
        logging.shutdown([weakref.ref(logs.handler())])
        assert writer.is_alive()
        assert reader.read(len(lines) - 2) == lines[2:]
        writer.join()
