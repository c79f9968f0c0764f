"""Words for verdicts: sentences that say what to do, in the terms of whoever uses kubectl. Values of Secrets never."""

from collections.abc import Iterable, Sequence
from typing import Final

from trunkline_operator.compile.result import Finding
from trunkline_operator.watch.world import Ref
from trunkline_protocol.resources import FieldError

ACCEPTED: Final = Finding(True, "Accepted", "It is valid and in force.")
RESOLVED: Final = Finding(True, "ResolvedRefs", "Everything that it names is there.")

_MOST: Final = 5


def some(items: Sequence[str], *, most: int = _MOST, separator: str = ", ") -> str:
    """The first few of them and how many more there are."""
    more = f" and {len(items) - most} more" if len(items) > most else ""
    return separator.join(items[:most]) + more


def shown(ref: Ref) -> str:
    """An object as people name it: ``ModelGroup team-a/gpt-4o``."""
    return f"{ref.kind} {ref.namespace}/{ref.name}" if ref.namespace else f"{ref.kind} {ref.name}"


def invalid(errors: Sequence[FieldError]) -> Finding:
    """An object that does not validate."""
    return Finding(False, "Invalid", some([str(error) for error in errors], most=3, separator="; "))


def _plural(kind: str) -> str:
    return f"{kind[:-1]}ies" if kind.endswith("cy") else f"{kind}s"


def namespace_not_allowed(ref: Ref) -> Finding:
    """A platform's kind where only tenants live."""
    return Finding(
        False,
        "NamespaceNotAllowed",
        f"{_plural(ref.kind)} are not taken from namespace {ref.namespace}: create it in a platform namespace, or let "
        f"the operator run with --platform-namespace {ref.namespace}",
    )


def resolved_refs(failures: Iterable[Finding]) -> Finding:
    """The condition for all references together: the reason of the first that fails, the messages of some."""
    found = list(dict.fromkeys(failures))
    if not found:
        return RESOLVED
    messages = list(dict.fromkeys(failure.message for failure in found))
    return Finding(False, found[0].reason, some(messages, separator=". "))
