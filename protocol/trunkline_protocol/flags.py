"""Flags of the programs: each may stand on the command line or in the environment.

``--grpc-port 8443`` is ``TRUNKLINE_GRPC_PORT=8443``; the command line wins, an empty variable counts as not set, and a
list is comma-separated in the environment and a repeated flag on the command line. What is wrong ends the program with
exit code 2 and one sentence that names the flag, or the variable, that said it.

    parser = flags.Parser(prog="trunkline-operator", description="…")
    flags.add(parser, [flags.Flag("grpc-port", flags.port, default=8443, help="…")])
    port = flags.parse(parser).grpc_port

Subcommands: ``add`` to the parser of each, ``parse`` with the outermost.
"""

import argparse
import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, Final, NoReturn

_REGISTERED: Final = "trunkline_flags"

Convert = Callable[[str], object]
"""From the text to the value; raises ValueError with a sentence without a subject: ``is not a port (1 to 65535)``."""


# ---- values ---------------------------------------------------------------------------------------------------------


def text(value: str) -> str:
    """Any text but none."""
    if not value.strip():
        raise ValueError("is empty")
    return value.strip()


def integer(least: int = 0, most: int | None = None) -> Convert:
    """A whole number within bounds."""

    def convert(value: str) -> int:
        bounds = f"{least} or more" if most is None else f"{least} to {most}"
        if not re.fullmatch(r"-?[0-9]{1,18}", value) or int(value) < least or (most is not None and int(value) > most):
            raise ValueError(f"is not a whole number, {bounds}")
        return int(value)

    return convert


def port(value: str) -> int:
    """A TCP port; 0 lets the system choose."""
    if not re.fullmatch(r"[0-9]{1,5}", value) or int(value) > 65_535:
        raise ValueError("is not a port (0 to 65535)")
    return int(value)


def address(value: str) -> tuple[str, int]:
    """``HOST:PORT``; an IPv6 host stands in brackets."""
    host, _, number = value.rpartition(":")
    bare = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    if not bare or (":" in bare) != (bare != host) or not re.fullmatch(r"[0-9]{1,5}", number):
        raise ValueError("is not HOST:PORT")
    return bare, port(number)


_DURATION_UNITS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}


def duration(value: str) -> timedelta:
    """``500ms``, ``3s``, ``1h30m``: as durations are written everywhere in the API."""
    if not re.fullmatch(r"([0-9]{1,9}(h|ms|m|s)){1,4}", value):
        raise ValueError("is not a duration such as 500ms, 3s or 10m")
    return timedelta(seconds=sum(int(n) * _DURATION_UNITS[u] for n, u in re.findall(r"([0-9]+)(h|ms|m|s)", value)))


_SIZE_UNITS: Final = {"": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30}


def size(value: str) -> int:
    """Bytes: ``1048576``, ``64MiB``, ``1GiB``."""
    match = re.fullmatch(r"([0-9]{1,15})\s?(KiB|MiB|GiB|)", value)
    if match is None:
        raise ValueError("is not a number of bytes such as 1048576 or 64MiB")
    return int(match[1]) * _SIZE_UNITS[match[2]]


def count(value: str) -> int:
    """A whole number from 0."""
    if not re.fullmatch(r"[0-9]{1,9}", value):
        raise ValueError("is not a whole number from 0")
    return int(value)


def path(value: str) -> Path:
    """A path of the file system; ``~`` is the home directory."""
    return Path(text(value)).expanduser()


_SWITCH: Final = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}


def switch(value: str) -> bool:
    """``true`` or ``false``; on the command line the flag alone means true."""
    try:
        return _SWITCH[value.lower()]
    except KeyError:
        raise ValueError("is not true or false") from None


def one_of(*values: str) -> Convert:
    """One of a few words."""

    def convert(value: str) -> str:
        if value not in values:
            raise ValueError(f"is not one of {', '.join(values)}")
        return value

    return convert


def object_name(value: str) -> tuple[str, str]:
    """``NAMESPACE/NAME`` of a Kubernetes object."""
    namespace, _, name = value.partition("/")
    if not (_DNS_LABEL.fullmatch(namespace) and _DNS_NAME.fullmatch(name)):
        raise ValueError("is not NAMESPACE/NAME")
    return namespace, name


def namespace(value: str) -> str:
    """The name of a Kubernetes namespace."""
    if not _DNS_LABEL.fullmatch(value):
        raise ValueError("is not the name of a namespace")
    return value


_DNS_LABEL: Final = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_DNS_NAME: Final = re.compile(r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?")


# ---- flags ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Flag:
    """One flag.

    Attributes:
        name: As on the command line, without the dashes.
        convert: What turns the text into the value, one of those above or of one's own.
        help: One sentence; the variable and the default are added to it.
        default: Already converted; what ``parse`` gives where nobody says anything. Of a list: the empty tuple.
        required: Whether nobody saying anything is an error.
        repeated: A list; ``parse`` gives a tuple.
        metavar: What the help calls the value.
    """

    name: str
    convert: Convert = text
    help: str = ""
    default: object = None
    required: bool = False
    repeated: bool = False
    metavar: str = ""

    @property
    def attribute(self) -> str:
        """Its name in what ``parse`` returns."""
        return self.name.replace("-", "_")

    @property
    def variable(self) -> str:
        """Its environment variable."""
        return f"TRUNKLINE_{self.attribute.upper()}"


class Parser(argparse.ArgumentParser):
    """An argument parser that takes no abbreviations and says what is wrong in one line, with exit code 2."""

    def __init__(self, **kwargs: Any) -> None:  # noqa: ANN401 - argparse's own arguments, passed on
        kwargs.setdefault("allow_abbrev", False)
        kwargs.setdefault("formatter_class", argparse.RawDescriptionHelpFormatter)
        super().__init__(**kwargs)

    def error(self, message: str) -> NoReturn:
        """End the program."""
        self.exit(2, f"{self.prog}: {message} (see {self.prog} --help)\n")


def add(parser: argparse.ArgumentParser, flags: Iterable[Flag]) -> None:
    """Let ``parser`` take ``flags``. Once for each parser."""
    registered = tuple(flags)
    for flag in registered:
        shown: dict[str, Any] = {"dest": flag.attribute, "default": None, "help": _help(flag)}
        if flag.repeated:
            shown["action"] = "append"
        if flag.convert is switch:
            shown |= {"nargs": "?", "const": "true"}
        shown["metavar"] = flag.metavar or flag.name.rpartition("-")[2].upper()
        parser.add_argument(f"--{flag.name}", **shown)
    parser.set_defaults(**{_REGISTERED: (parser, registered)})


def parse(
    parser: argparse.ArgumentParser, argv: Sequence[str] | None = None, environ: Mapping[str, str] | None = None
) -> argparse.Namespace:
    """Read the command line and the environment; ends the program with exit code 2 where they are wrong.

    Args:
        parser: The outermost one.
        argv: Without the program's name; None: the process's own.
        environ: None: the process's own.

    Returns:
        Converted values by ``Flag.attribute``, beside what argparse itself was told to take.
    """
    parsed = parser.parse_args(argv)
    owner, flags = vars(parsed).pop(_REGISTERED, (parser, ()))
    for flag in flags:
        try:
            value = _value(flag, getattr(parsed, flag.attribute), os.environ if environ is None else environ)
        except ValueError as wrong:
            owner.error(str(wrong))
        setattr(parsed, flag.attribute, value)
    return parsed


# Kubernetes gives the pods beside a Service named "trunkline" a TRUNKLINE_PORT=tcp://10.96.0.12:8080 of its own.
_SERVICE_LINK: Final = re.compile(r"(tcp|udp|sctp)://")


def _value(flag: Flag, said: str | list[str] | None, environ: Mapping[str, str]) -> object:
    if said is not None:
        source, texts = f"--{flag.name}", said if isinstance(said, list) else [said]
    elif (variable := environ.get(flag.variable, "").strip()) and not _SERVICE_LINK.match(variable):
        source, texts = flag.variable, variable.split(",") if flag.repeated else [variable]
    elif flag.required:
        raise ValueError(f"--{flag.name} is missing; it may also come from the environment, as {flag.variable}")
    else:
        return () if flag.repeated and flag.default is None else flag.default
    values = []
    for one in texts:
        try:
            values.append(flag.convert(one.strip()))
        except ValueError as wrong:
            raise ValueError(f"{source}: {one.strip()!r} {wrong}") from None
    return tuple(values) if flag.repeated else values[0]


def _help(flag: Flag) -> str:
    notes = [flag.variable]
    if flag.repeated:
        notes.append("may be repeated")
    if flag.required:
        notes.append("required")
    elif flag.default not in (None, "", ()):
        notes.append(f"default {flag.default}")
    return f"{flag.help} [{'; '.join(notes)}]".strip().replace("%", "%%")
