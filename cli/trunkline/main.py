"""``trunkline``: the command line."""

import sys
from collections.abc import Sequence
from importlib import metadata

from trunkline.settings import RUN_FLAGS
from trunkline_protocol import flags


def main(argv: Sequence[str] | None = None) -> None:
    """Run a subcommand; exit code 2 where the command line is wrong."""
    parsed = flags.parse(parser(), argv)
    # Late, so that `--help` and a wrong flag do not wait for both planes.
    match parsed.command:
        case "run":
            from trunkline import run  # noqa: PLC0415

            sys.exit(run.main(parsed))
        case "validate":
            from trunkline import validate  # noqa: PLC0415

            sys.exit(validate.main(parsed.directory))
        case _:
            from trunkline import keys  # noqa: PLC0415

            sys.exit(keys.new() if parsed.what == "new" else keys.hash_stdin())


def parser() -> flags.Parser:
    """Make the parser of the command line."""
    made = flags.Parser(prog="trunkline", description="A Kubernetes-native LLM gateway.")
    made.add_argument("--version", action="version", version=f"%(prog)s {metadata.version('trunkline')}")
    commands = made.add_subparsers(dest="command", required=True, metavar="COMMAND", parser_class=flags.Parser)
    run = commands.add_parser(
        "run",
        help="serve a directory of manifests from one process",
        description="Serve every *.yaml below DIR from one process: no cluster. Changes are live within a second.",
    )
    run.add_argument("directory", metavar="DIR")
    flags.add(run, RUN_FLAGS)
    validate = commands.add_parser(
        "validate",
        help="check a directory of manifests",
        description="Check every *.yaml below DIR as the operator would; exit code 1 if anything is wrong.",
    )
    validate.add_argument("directory", metavar="DIR")
    keys = commands.add_parser("keys", help="make a key, or the hash of one", description="Keys for VirtualKeys.")
    what = keys.add_subparsers(dest="what", required=True, metavar="WHAT", parser_class=flags.Parser)
    what.add_parser("new", help="print a new key and its keyHash")
    what.add_parser("hash", help="print the keyHash of the key on standard input")
    return made


if __name__ == "__main__":
    main()
