"""Plain numbers behind the metrics of requests, bound once to their labels.

They are counted on the event loop alone and read by a scrape in another thread, without locks: a number that is read
may miss what is being counted at that moment, no more.
"""

from bisect import bisect_left
from typing import Final

BOUNDS_SECONDS: Final = (0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)
"""Upper bounds of the buckets, themselves included."""

_LABELS: Final = (*(str(float(bound)) for bound in BOUNDS_SECONDS), "+Inf")


class Durations:
    """A histogram of seconds."""

    __slots__ = ("_counts", "sum")

    def __init__(self) -> None:
        self.sum = 0.0
        self._counts = [0] * len(_LABELS)

    def observe(self, seconds: float) -> None:
        """Count one."""
        self._counts[bisect_left(BOUNDS_SECONDS, seconds)] += 1
        self.sum += seconds

    def buckets(self) -> list[tuple[str, float]]:
        """Give (``le``, how many took no longer) of each bucket; the last holds all. Empty: nothing was counted."""
        cumulated: list[tuple[str, float]] = []
        total = 0
        # Of one copy, so that the count is that of +Inf whatever is counted meanwhile.
        for label, count in zip(_LABELS, self._counts.copy(), strict=True):
            total += count
            cumulated.append((label, total))
        return cumulated if total else []


class GroupSeries:
    """What is counted for a group."""

    __slots__ = ("disconnects", "durations", "first_bytes")

    def __init__(self) -> None:
        self.durations = Durations()
        self.first_bytes = Durations()
        self.disconnects = 0


class TargetSeries:
    """What is counted for a target of a group.

    Attributes:
        of_group: Those of its group.
        requests: By status.
        attempts: By how they went.
        prompt, completion, cached, reasoning: Tokens.
        truncated: Answers that broke off.
    """

    __slots__ = ("attempts", "cached", "completion", "of_group", "prompt", "reasoning", "requests", "truncated")

    def __init__(self, of_group: GroupSeries) -> None:
        self.of_group = of_group
        self.requests: dict[int, int] = {}
        self.attempts: dict[str, int] = {}
        self.prompt = 0
        self.completion = 0
        self.cached = 0
        self.reasoning = 0
        self.truncated = 0

    def tokens(self) -> tuple[tuple[str, int], ...]:
        """Give (kind, count) of each kind of tokens."""
        return (
            ("prompt", self.prompt),
            ("completion", self.completion),
            ("cached", self.cached),
            ("reasoning", self.reasoning),
        )
