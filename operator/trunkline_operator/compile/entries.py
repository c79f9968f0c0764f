"""Entries of Secrets: what is there, and why it cannot be used where it is not."""

import re
from dataclasses import dataclass
from typing import Final, TypeAlias

from trunkline_operator.compile.findings import some
from trunkline_operator.compile.result import Finding
from trunkline_operator.watch.world import SECRET_LABEL, Ref, SecretData, World

_IN_A_HEADER: Final = re.compile(rb"[\x20-\x7e]+")
_LINE_ENDS: Final = b"\r\n"


@dataclass(frozen=True, slots=True)
class Absent:
    """A Secret that cannot be read; ``unlabelled``: it exists, but nobody said that we may."""

    unlabelled: bool


View: TypeAlias = SecretData | Absent


def view(world: World, ref: Ref) -> View:
    """What the world knows of a Secret."""
    return world.secrets.get(ref) or Absent(ref in world.unlabelled)


def entry(ref: Ref, seen: View, key: str) -> bytes | Finding:
    """One entry, or why there is none.

    Line ends after the value are not part of it: ``kubectl create secret --from-file`` takes the file's last one along.
    An entry that is empty then counts as absent.
    """
    if isinstance(seen, Absent):
        if seen.unlabelled:
            label = f"kubectl label secret {ref.name} -n {ref.namespace} {SECRET_LABEL}=true"
            return Finding(
                False,
                "SecretNotLabelled",
                f'secret "{ref.name}" lacks the label {SECRET_LABEL}: "true", without which it is not read; {label}',
            )
        return Finding(False, "SecretNotFound", f'secret "{ref.name}" not found in namespace "{ref.namespace}"')
    if key not in seen.data:
        names = some(sorted(seen.data))
        has = f"it has: {names}" if names else "it has none"
        return Finding(False, "SecretKeyNotFound", f'secret "{ref.name}" has no key "{key}"; {has}')
    value = seen.data[key].rstrip(_LINE_ENDS)
    if not value:
        return Finding(False, "SecretKeyNotFound", f'key "{key}" of secret "{ref.name}" is empty')
    return value


def header_entry(ref: Ref, seen: View, key: str) -> bytes | Finding:
    """As `entry`, for a value that has to travel in a header."""
    value = entry(ref, seen, key)
    if isinstance(value, bytes) and _IN_A_HEADER.fullmatch(value) is None:
        return Finding(
            False,
            "SecretKeyNotFound",
            f'key "{key}" of secret "{ref.name}" cannot be sent: it holds characters other than printable ASCII, '
            "perhaps a line break",
        )
    return value
