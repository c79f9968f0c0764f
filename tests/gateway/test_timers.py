"""Deadlines: none early, none more than a tick late, none after it was cancelled."""

import asyncio
import gc
from collections.abc import Callable

from hypothesis import given
from hypothesis import strategies as st

from gateway import fakes
from trunkline_gateway.timers import TICK_SECONDS, Timers

# In milliseconds: when it is set, after how long it is due, when it is cancelled (None: never).
SETTING = st.tuples(st.integers(0, 3000), st.integers(0, 3000), st.none() | st.integers(0, 6000))


@given(st.lists(SETTING, max_size=30))
def test_every_deadline_rings_once_within_its_tick_unless_it_was_cancelled(
    settings: list[tuple[int, int, int | None]],
) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        timers = Timers(loop)
        rung: dict[int, list[float]] = {}

        async def one(number: int, begin: int, seconds: int, cancelled: int | None) -> None:
            await asyncio.sleep(begin / 1000)
            timer = timers.after(seconds / 1000, lambda: rung.setdefault(number, []).append(loop.time()))
            if cancelled is not None:
                await asyncio.sleep(cancelled / 1000)
                timer.cancel()

        await asyncio.gather(*(one(number, *setting) for number, setting in enumerate(settings)))
        await asyncio.sleep(7)
        for number, (begin, seconds, cancelled) in enumerate(settings):
            due = 1000 + (begin + seconds) / 1000
            times = rung.get(number, [])
            assert len(times) <= 1
            if cancelled is None or cancelled / 1000 > seconds / 1000 + TICK_SECONDS:
                assert times
            if cancelled is not None and cancelled < seconds:
                assert not times
            for time in times:
                assert due - 1e-6 <= time <= due + TICK_SECONDS + 1e-6

    fakes.run(main())


def test_a_callback_may_set_and_cancel_others() -> None:
    async def main() -> list[str]:
        timers = Timers(asyncio.get_running_loop())
        rung: list[str] = []
        later = timers.after(1.0, lambda: rung.append("cancelled"))

        def first() -> None:
            later.cancel()
            timers.after(0.0, lambda: rung.append("next"))

        timers.after(0.99, first)
        await asyncio.sleep(3)
        return rung

    assert fakes.run(main()) == ["next"]


def test_a_callback_that_fails_is_reported_and_loses_no_other() -> None:
    async def main() -> tuple[list[str], list[object]]:
        loop = asyncio.get_running_loop()
        reported: list[object] = []
        loop.set_exception_handler(lambda _, context: reported.append(context["exception"]))
        timers = Timers(loop)
        rung: list[str] = []

        def fails() -> None:
            raise ValueError

        callbacks: list[Callable[[], object]] = [fails, lambda: rung.append("a"), lambda: rung.append("b")]
        for callback in callbacks:
            timers.after(1.0, callback)
        timers.after(2.0, lambda: rung.append("c"))
        await asyncio.sleep(3)
        return sorted(rung), reported

    rung, reported = fakes.run(main())
    assert rung == ["a", "b", "c"]
    assert [type(error) for error in reported] == [ValueError]


def test_what_is_cancelled_is_not_kept() -> None:
    async def main() -> None:
        timers = Timers(asyncio.get_running_loop())
        for _ in range(10_000):
            timers.after(600.0, print).cancel()
        gc.collect()
        assert sum(len(bucket) for bucket in timers._buckets.values()) == 0
        assert len(timers._buckets) == 1
        timers.after(1.0, print)
        timers.close()
        await asyncio.sleep(700)

    fakes.run(main())
