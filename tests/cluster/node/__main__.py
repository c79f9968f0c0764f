"""A real Kubernetes node on this machine, for tests; root on Linux.

PYTHONPATH=tests python -m cluster.node prepare   install and build what is missing (minutes, once)
PYTHONPATH=tests python -m cluster.node up        bring it up; the last line of stdout is its kubeconfig
PYTHONPATH=tests python -m cluster.node load F…   put the images of archives on it
PYTHONPATH=tests python -m cluster.node down      take it away; nothing is left behind

Its directory is TRUNKLINE_NODE_DIR, else /var/tmp/trunkline-node. `prepare` with KUBECONFIG set makes sure only of
kubectl and Helm, since the tests then run on that cluster.

Exit codes: 0 done; 1 failed; 3 this machine lacks something, said in one sentence.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from cluster.node import requirements
from cluster.node.claim import claim
from cluster.node.commands import CommandError
from cluster.node.node import Node
from harness import binaries
from harness.kube import StartError


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m cluster.node", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="prepare|up|load|down")
    for verb in ("prepare", "up", "down"):
        verbs.add_parser(verb)
    verbs.add_parser("load").add_argument("archives", nargs="+", type=Path, metavar="ARCHIVE")
    arguments = parser.parse_args()
    elsewhere = arguments.verb == "prepare" and os.environ.get("KUBECONFIG")
    if not elsewhere and (sentence := requirements.why_not_here()):
        print(sentence, file=sys.stderr)
        return 3
    try:
        if elsewhere:
            binaries.build("kubectl", "helm")
        else:
            run(Node(), arguments.verb, getattr(arguments, "archives", []))
    except requirements.AssetsMissingError as missing:
        print(missing, file=sys.stderr)
        return 3
    except (StartError, CommandError) as error:
        print("\n".join([str(error), *getattr(error, "__notes__", [])]), file=sys.stderr)
        return 1
    except ExceptionGroup as group:
        print("\n".join([group.message, *map(repr, group.exceptions)]), file=sys.stderr)
        return 1
    return 0


def run(node: Node, verb: str, archives: list[Path]) -> None:
    if verb == "prepare":
        requirements.install()
    elif verb == "up":
        with claim():
            if not node.is_up():
                node.up()
        print(node.kubeconfig)
    elif verb == "load":
        for archive in archives:
            node.load(archive)
    else:
        with claim():
            node.down()


if __name__ == "__main__":
    sys.exit(main())
