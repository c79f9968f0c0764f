"""Lines reach a slow place whole and in order, and nobody waits for them."""

import logging
import threading

import pytest

from trunkline_gateway.telemetry.lines import LineWriter


class Slow:
    """A place that does not take anything before it is let."""

    def __init__(self) -> None:
        self.open = threading.Event()
        self.entered = threading.Event()
        self.taken: list[bytes] = []

    def write(self, lines: bytes) -> None:
        self.entered.set()
        assert self.open.wait(10)
        self.taken.append(lines)


def test_lines_are_written_in_order_and_whole_before_close_returns() -> None:
    place = Slow()
    place.open.set()
    writer = LineWriter(place.write)
    for number in range(1000):
        writer.put(b"%d\n" % number)
    writer.close()
    assert b"".join(place.taken) == b"".join(b"%d\n" % number for number in range(1000))
    assert writer.dropped == 0


def test_what_does_not_fit_is_dropped_as_whole_lines_and_counted() -> None:
    place = Slow()
    writer = LineWriter(place.write, bound_bytes=10)
    writer.put(b"aaa\n")
    assert place.entered.wait(10)
    writer.put(b"bbb\nccc\nddd\n")  # 6 bytes are left: one line
    writer.put(b"eee\n")
    writer.put(b"f\n")
    assert writer.dropped == 3
    place.open.set()
    writer.close()
    assert b"".join(place.taken) == b"aaa\nbbb\nf\n"


def test_what_was_written_makes_room() -> None:
    place = Slow()
    place.open.set()
    writer = LineWriter(place.write, bound_bytes=4)
    writer.put(b"aaa\n")
    writer.close()
    writer.put(b"bbb\n")
    writer.close()
    assert b"".join(place.taken) == b"aaa\nbbb\n"
    assert writer.dropped == 0


def test_close_gives_up_on_a_place_that_is_stuck() -> None:
    place = Slow()
    writer = LineWriter(place.write)
    writer.put(b"a\n")
    writer.close(timeout_seconds=0.01)
    assert place.taken == []
    place.open.set()


def test_drops_are_said_at_once_and_then_at_most_once_a_minute(caplog: pytest.LogCaptureFixture) -> None:
    now = 0.0

    def broken(_lines: bytes) -> None:
        raise BrokenPipeError

    writer = LineWriter(broken, clock=lambda: now)
    with caplog.at_level(logging.WARNING):
        for now in (0.0, 1.0, 59.0, 60.0):  # noqa: B007  # the clock reads it
            writer.put(b"a\nb\n")
            writer.close()
    assert [record.__dict__["fields"]["lines"] for record in caplog.records] == [2, 6]
    assert writer.dropped == 8
