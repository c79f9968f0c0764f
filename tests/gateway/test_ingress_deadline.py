"""The deadline of a connection, in a time of the test's own."""

from __future__ import annotations

from collections.abc import Callable

from trunkline_gateway.ingress.deadline import Deadline


class Clock:
    """Time, and timers that ring when it is moved on; counts how many were set."""

    def __init__(self) -> None:
        self.now = 100.0
        self.set = 0
        self.timers: list[tuple[float, Timer]] = []

    def __call__(self) -> float:
        return self.now

    def after(self, seconds: float, callback: Callable[[], object]) -> Timer:
        self.set += 1
        timer = Timer(callback)
        self.timers.append((self.now + seconds, timer))
        return timer

    def move_on(self, seconds: float) -> None:
        until = self.now + seconds
        while due := sorted((at, id(timer), timer) for at, timer in self.timers if at <= until):
            self.now, _, timer = due[0]
            self.timers.remove((self.now, timer))
            if not timer.cancelled:
                timer.callback()
        self.now = until


class Timer:
    def __init__(self, callback: Callable[[], object]) -> None:
        self.callback = callback
        self.cancelled = False

    def cancel(self) -> None:
        self.cancelled = True


def made() -> tuple[Clock, Deadline, list[float]]:
    clock, passed = Clock(), list[float]()
    return clock, Deadline(clock, clock, lambda: passed.append(clock.now)), passed  # type: ignore[arg-type]


def test_it_passes_once_and_when_it_was_set_for() -> None:
    clock, deadline, passed = made()
    deadline.set(10)
    clock.move_on(9.9)
    assert passed == []
    clock.move_on(100)
    assert passed == [110.0]


def test_one_that_is_cleared_does_not_pass() -> None:
    clock, deadline, passed = made()
    deadline.set(10)
    deadline.clear()
    clock.move_on(100)
    assert passed == []
    deadline.set(10)
    clock.move_on(100)
    assert passed == [210.0]


def test_putting_it_off_takes_no_timer() -> None:
    clock, deadline, passed = made()
    for _ in range(1000):
        deadline.set(75)
        clock.move_on(0.01)
        deadline.clear()
    deadline.set(75)
    assert clock.set == 1
    clock.move_on(100)
    assert [round(at) for at in passed] == [185]


def test_bringing_it_forward_is_not_forgotten() -> None:
    clock, deadline, passed = made()
    deadline.set(75)
    deadline.set(10)
    clock.move_on(100)
    assert passed == [110.0]


def test_one_that_is_closed_holds_no_timer() -> None:
    clock, deadline, passed = made()
    deadline.set(10)
    deadline.close()
    assert all(timer.cancelled for _, timer in clock.timers)
    clock.move_on(100)
    assert passed == []
