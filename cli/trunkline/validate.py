"""`trunkline validate DIR`: the operator's own checks, without an operator."""

import sys
from pathlib import Path

from trunkline_operator.check import check


def main(directory: str) -> int:
    """Print what is wrong, a line each. Returns 1 if anything is, 2 if there is no such directory."""
    root = Path(directory)
    if not root.exists():
        print(f"trunkline validate: {root} does not exist", file=sys.stderr)
        return 2
    problems = check(root)
    for problem in problems:
        print(problem)
    if not problems:
        print(f"{root}: ok")
    return 1 if problems else 0
