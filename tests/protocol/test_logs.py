"""One line for each event, whatever is in it."""

import io
import json
import logging
import os
import subprocess
import sys
import time
import weakref

import pytest

from trunkline_protocol import logs

LONG = b"x\n" * (1 << 19)
"""Many times what a pipe holds."""


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
        logs.handler().write_lines(line * 500)
        logging.getLogger("operator").info("after")
        assert json.loads(reader.readline())["msg"] == "before"
        assert b"".join(reader.readline() for _ in range(500)) == line * 500
        assert json.loads(reader.readline())["msg"] == "after"
        logs.handler().close()


def test_without_configure_there_is_no_handler_of_ours(stream):
    logging.getLogger().handlers[:] = []
    assert logs.handler() is None


@pytest.mark.parametrize("log_format", logs.FORMATS)
def test_the_handler_knows_its_format(stream, log_format):
    logs.configure(stream=stream, log_format=log_format)
    assert logs.handler().log_format == log_format


def test_nobody_who_logs_waits_for_a_pipe_that_is_not_read(stream):
    reading, writing = os.pipe()
    with open(reading, "rb") as reader, open(writing, "w", encoding="utf-8") as piped:
        logs.configure(stream=piped)
        for number in range(2000):  # several times what a pipe holds
            logging.getLogger("operator").info("%d %s", number, "x" * 200)
        said = [json.loads(reader.readline())["msg"].split()[0] for _ in range(2000)]
        assert said == [str(number) for number in range(2000)]
        logs.handler().close()


def test_a_stuck_stream_does_not_hold_up_the_end_of_the_process(stream):
    reading, writing = os.pipe()
    with open(reading, "rb") as reader, open(writing, "w", encoding="utf-8") as piped:
        logs.configure(stream=piped)
        logs.handler().write_lines(LONG)
        assert reader.read(2) == b"x\n"  # it has begun
        began = time.monotonic()
        logging.shutdown([weakref.ref(logs.handler())])
        assert 1.5 < time.monotonic() - began < 4  # waited for two seconds, then gave up
        logging.getLogger("operator").info("later")  # does not block either, and is lost
        assert reader.read(len(LONG) - 2) == LONG[2:]


def test_what_is_logged_after_the_end_is_written_where_it_can_be(stream):
    reading, writing = os.pipe()
    with open(reading, "rb") as reader, open(writing, "w", encoding="utf-8") as piped:
        logs.configure(stream=piped)
        logging.getLogger("operator").info("before")
        logging.shutdown([weakref.ref(logs.handler())])
        logging.getLogger("operator").info("after")
        assert [json.loads(reader.readline())["msg"] for _ in range(2)] == ["before", "after"]


def test_a_closed_pipe_costs_the_lines_and_counts_them(stream):
    reading, writing = os.pipe()
    os.close(reading)
    with open(writing, "w", encoding="utf-8") as piped:
        logs.configure(stream=piped)
        logging.getLogger("operator").info("one")
        logs.handler().write_lines(b"two\nthree\n")
        logs.handler().close()
        assert logs.handler().dropped == 3


def test_without_a_stream_everything_is_dropped_and_counted(stream, monkeypatch):
    monkeypatch.setattr(sys, "stderr", None)  # as in a process that was started without one
    logs.configure()
    logging.getLogger("operator").info("one")
    logs.handler().write_lines(b"two\n")
    assert logs.handler().dropped == 2


def test_configuring_again_writes_what_the_handler_before_had(stream):
    reading, writing = os.pipe()
    with open(reading, "rb") as reader:
        with open(writing, "w", encoding="utf-8") as piped:
            logs.configure(stream=piped)
            logging.getLogger("operator").info("one")
            logs.configure(stream=stream)
        logging.getLogger("operator").info("two")
        assert [json.loads(line)["msg"] for line in reader] == ["one"]
    assert json.loads(stream.getvalue())["msg"] == "two"


@pytest.mark.parametrize("log_format", logs.FORMATS)
def test_a_record_that_cannot_be_rendered_is_said_without_what_it_holds(stream, log_format):
    logs.configure(stream=stream, log_format=log_format)
    canary = "-".join(["canary", "1f2e"])
    logging.getLogger("operator").info("%d", canary)
    assert "cannot be rendered" in stream.getvalue()
    assert "test_logs.py" in stream.getvalue()
    assert canary not in stream.getvalue()


def test_what_utf_8_cannot_say_is_escaped(stream):
    logs.configure(stream=stream)
    logging.getLogger("operator").info("\ud800")
    assert json.loads(stream.getvalue())["msg"] == "\ud800"


@pytest.mark.parametrize("end", ["", "sys.exit(3)", "raise OSError('a crash')", "asyncio.run(ending())"])
def test_a_short_lived_program_loses_no_line(end):
    program = f"""
import asyncio, logging, sys
from trunkline_protocol import logs

async def ending():
    logging.getLogger("a").info("last")
    sys.exit(1)

logs.configure()
for number in range(3000):
    logging.getLogger("a").info("%d", number)
{end}
"""
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=30, check=False)
    said = [json.loads(line)["msg"] for line in ended.stderr.splitlines() if line.startswith("{")]
    assert said[:3000] == [str(number) for number in range(3000)]
    assert ("a crash" in ended.stderr) is ("crash" in end)
    assert (said[-1] == "last") is ("ending" in end)
