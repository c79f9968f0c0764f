"""What is worth telling people when a status changes: the reasons that came and the ones that went."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

QUIET: Final = frozenset({"Pending", "NoGateways"})
"""Reasons that say something about the fleet and the moment, not about this object."""


@dataclass(frozen=True, slots=True)
class Transition:
    """One change of one condition.

    Attributes:
        reason: Of the condition; where it recovered, the condition's own name.
    """

    type: Literal["Warning", "Normal"]
    condition: str
    reason: str
    message: str


def transitions(before: Mapping[str, Any], after: Mapping[str, Any]) -> tuple[Transition, ...]:
    """What changed between two statuses of one object.

    A condition that is not True and says a new reason is a warning. One that is True again after such a reason is good
    news. A new object that is fine is no news.
    """
    old = {each["type"]: each for each in before.get("conditions") or ()}
    found: list[Transition] = []
    for condition in after.get("conditions") or ():
        kind, reason = condition["type"], condition["reason"]
        previous = old.get(kind)
        was_wrong = previous is not None and previous.get("status") != "True" and previous.get("reason") not in QUIET
        if condition["status"] == "True":
            if was_wrong:
                found.append(Transition("Normal", kind, kind, condition["message"] or f"{kind} again."))
        elif reason not in QUIET and _is_news(kind, reason, previous, after):
            found.append(Transition("Warning", kind, reason, condition["message"]))
    return tuple(found)


def _is_news(kind: str, reason: str, previous: Mapping[str, Any] | None, after: Mapping[str, Any]) -> bool:
    if previous is not None and previous.get("status") != "True" and previous.get("reason") == reason:
        return False
    # What is not served because it is not accepted is one piece of news, told by the other condition.
    others = (each for each in after["conditions"] if each["type"] != kind)
    return kind != "Programmed" or reason == "Rejected" or all(each["status"] == "True" for each in others)
