"""Lines reach a slow place whole and in order, and nobody waits for them."""

import threading
import time

from trunkline_protocol.lines import LineWriter


class Slow:
    """A place that does not take anything before it is let, and never anything while it is broken."""

    def __init__(self, *, is_open: bool = True) -> None:
        self.open = threading.Event()
        self.entered = threading.Semaphore(0)
        self.left = threading.Semaphore(0)
        self.broken = False
        self.taken: list[bytes] = []
        if is_open:
            self.open.set()

    def write(self, lines: bytes) -> None:
        self.entered.release()
        assert self.open.wait(10)
        self.left.release()
        if self.broken:
            raise BrokenPipeError
        self.taken.append(lines)

    @property
    def text(self) -> bytes:
        return b"".join(self.taken)


def report(dropped: int) -> bytes:
    return b"dropped %d\n" % dropped


def test_lines_are_written_in_order_and_whole_before_close_returns() -> None:
    place = Slow()
    writer = LineWriter(place.write, report=report)
    for number in range(1000):
        assert writer.put(b"%d\n" % number)
    writer.close()
    assert place.text == b"".join(b"%d\n" % number for number in range(1000))
    assert writer.dropped == 0


def test_every_thread_may_give_and_its_lines_stay_whole_and_in_order() -> None:
    place = Slow()
    writer = LineWriter(place.write, report=report)

    def give(name: bytes) -> None:
        for number in range(500):
            writer.put(b"%s %d\n" % (name, number))

    givers = [threading.Thread(target=give, args=(name,)) for name in (b"a", b"b", b"c")]
    for giver in givers:
        giver.start()
    for giver in givers:
        giver.join()
    writer.close()
    lines = place.text.splitlines()
    for name in (b"a", b"b", b"c"):
        assert [line for line in lines if line.startswith(name)] == [b"%s %d" % (name, each) for each in range(500)]
    assert len(lines) == 1500


def test_many_short_lines_that_wait_are_written_in_few_pieces() -> None:
    place = Slow(is_open=False)
    writer = LineWriter(place.write, report=report)
    writer.put(b"first\n")
    assert place.entered.acquire(timeout=10)
    for _ in range(1000):
        writer.put(b"x\n")
    place.open.set()
    writer.close()
    assert place.taken == [b"first\n", b"x\n" * 1000]


def test_what_does_not_fit_is_dropped_as_whole_lines_and_counted_and_said() -> None:
    place = Slow(is_open=False)
    writer = LineWriter(place.write, report=report, bound_bytes=10)
    writer.put(b"aaa\n")
    assert place.entered.acquire(timeout=10)
    writer.put(b"bbb\nccc\nddd\n")  # 6 bytes are left: one line
    writer.put(b"eee\n")
    writer.put(b"f\n")
    assert writer.dropped == 3
    place.open.set()
    writer.close()
    assert place.text == b"aaa\ndropped 3\nbbb\nf\n"


def test_what_was_written_makes_room() -> None:
    place = Slow()
    writer = LineWriter(place.write, report=report, bound_bytes=4)
    for number in range(3):
        deadline = time.monotonic() + 10
        while True:
            before = writer.dropped
            writer.put(b"aa%d\n" % number)
            if writer.dropped == before:
                break
            assert time.monotonic() < deadline
    writer.close()
    assert [line for line in place.text.splitlines() if line[:2] == b"aa"] == [b"aa0", b"aa1", b"aa2"]


def test_close_gives_up_on_a_place_that_is_stuck() -> None:
    place = Slow(is_open=False)
    writer = LineWriter(place.write, report=report)
    writer.put(b"a\n")
    writer.close(timeout_seconds=0.01)
    assert place.taken == []
    writer.close(timeout_seconds=3600)  # the second time it does not wait at all
    place.open.set()


def test_after_close_nothing_is_taken() -> None:
    place = Slow()
    writer = LineWriter(place.write, report=report)
    writer.close()
    assert writer.put(b"a\n") is False
    assert place.taken == []


def test_drops_are_said_when_writing_works_again_then_once_a_minute_and_at_the_end() -> None:
    now = 0.0
    place = Slow()
    writer = LineWriter(place.write, report=report, clock=lambda: now)

    def put(lines: bytes, *, broken: bool) -> None:
        """Return when it is written, or not, and all that comes of it is done."""
        place.broken = broken
        writer.put(lines)
        assert place.left.acquire(timeout=10)

    put(b"lost\nlost\n", broken=True)
    put(b"a\n", broken=False)
    assert place.left.acquire(timeout=10)  # the report
    now = 59.0
    put(b"lost\n", broken=True)
    put(b"b\n", broken=False)
    put(b"c\n", broken=False)  # so whether to say it was decided for b
    now = 60.0
    put(b"d\n", broken=False)
    assert place.left.acquire(timeout=10)
    put(b"lost\n", broken=True)
    place.broken = False
    writer.close()
    assert writer.dropped == 4
    lines = place.text.splitlines()
    assert lines[:3] == [b"a", b"dropped 2", b"b"]
    assert lines[-1] == b"dropped 1"
    assert lines.count(b"dropped 1") == 2


def test_an_empty_report_says_nothing() -> None:
    place = Slow()
    place.broken = True
    writer = LineWriter(place.write, report=lambda _dropped: b"")
    writer.put(b"lost\n")
    assert place.left.acquire(timeout=10)
    place.broken = False
    writer.put(b"a\n")
    writer.close()
    assert place.text == b"a\n"
