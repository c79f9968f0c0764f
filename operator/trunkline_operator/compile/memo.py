"""Remembering results between compilations, so that one change costs what it touches and not what there is."""

from collections.abc import Callable, Hashable
from typing import Any, TypeVar, TypeVarTuple

_T = TypeVar("_T")
_Args = TypeVarTuple("_Args")


class Memo:
    """The last result of each pure function at each slot, with the arguments that it rests on.

    A result is used again only for equal arguments (which are compared by identity first, so that is cheap), hence a
    memo cannot be seen in a result. It belongs to whoever compiles; one memo serves one world at a time.
    """

    __slots__ = ("_keeping", "_known", "_touched", "kept")

    def __init__(self) -> None:
        self.kept: dict[Hashable, Any] = {}
        self._keeping: dict[Hashable, Any] = {}
        self._known: dict[Hashable, tuple[object, tuple[Any, ...], Any]] = {}
        self._touched: dict[Hashable, tuple[object, tuple[Any, ...], Any]] = {}

    def call(self, slot: Hashable, function: Callable[[*_Args], _T], *args: *_Args) -> _T:
        """``function(*args)``. It has to be pure, and its arguments and result may never be changed by anybody."""
        known = self._known.get(slot)
        if known is None or known[0] is not function or known[1] != args:
            known = (function, args, function(*args))
        self._touched[slot] = known
        result: _T = known[2]
        return result

    def keep(self, slot: Hashable, thing: object) -> None:
        """Have ``thing`` in ``kept`` next time, for whoever knows better when it still holds."""
        self._keeping[slot] = thing

    def turn(self) -> None:
        """End one compilation: what was not asked for or kept in it is forgotten."""
        self._known, self._touched = self._touched, {}
        self.kept, self._keeping = self._keeping, {}
