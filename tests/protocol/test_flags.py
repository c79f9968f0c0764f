"""Flags come from the command line or the environment; what is wrong ends the program with one sentence."""

from datetime import timedelta

import pytest

from trunkline_protocol import flags


def read(*given, argv=(), environ=None):
    parser = flags.Parser(prog="program")
    flags.add(parser, given)
    return flags.parse(parser, argv, environ or {})


def refusal(capsys, *given, argv=(), environ=None):
    with pytest.raises(SystemExit) as ended:
        read(*given, argv=argv, environ=environ)
    assert ended.value.code == 2
    said = capsys.readouterr().err
    assert len(said.splitlines()) == 1
    return said


PORT = flags.Flag("grpc-port", flags.port, "Where gateways connect.", 8443)
NAMESPACE = flags.Flag("namespace", flags.namespace, "What to watch.", repeated=True)


def test_the_command_line_wins_over_the_environment_and_both_over_the_default():
    environ = {"TRUNKLINE_GRPC_PORT": "2"}
    assert read(PORT).grpc_port == 8443
    assert read(PORT, environ=environ).grpc_port == 2
    assert read(PORT, argv=["--grpc-port", "1"], environ=environ).grpc_port == 1


def test_a_list_is_repeated_on_the_command_line_and_has_commas_in_the_environment():
    assert read(NAMESPACE).namespace == ()
    assert read(NAMESPACE, argv=["--namespace=a", "--namespace", "b"]).namespace == ("a", "b")
    assert read(NAMESPACE, environ={"TRUNKLINE_NAMESPACE": "a, b"}).namespace == ("a", "b")


@pytest.mark.parametrize("value", ["", " ", "tcp://10.96.0.12:8080"])
def test_an_empty_variable_and_one_that_kubernetes_makes_for_a_service_are_not_set(value):
    assert read(PORT, environ={"TRUNKLINE_GRPC_PORT": value}).grpc_port == 8443


@pytest.mark.parametrize(
    ("convert", "text", "value"),
    [
        (flags.duration, "1h30m", timedelta(hours=1.5)),
        (flags.duration, "500ms", timedelta(milliseconds=500)),
        (flags.size, "64MiB", 64 << 20),
        (flags.size, "1048576", 1 << 20),
        (flags.count, "10000", 10_000),
        (flags.address, "operator.trunkline:8443", ("operator.trunkline", 8443)),
        (flags.address, "[::1]:8443", ("::1", 8443)),
        (flags.object_name, "system/gateway", ("system", "gateway")),
        (flags.integer(1, 5), "5", 5),
        (flags.one_of("json", "text"), "text", "text"),
        (flags.switch, "yes", True),
    ],
)
def test_values(convert, text, value):
    assert convert(text) == value


@pytest.mark.parametrize(
    ("convert", "text"),
    [
        (flags.duration, "3"),
        (flags.duration, "-3s"),
        (flags.size, "64MB"),
        (flags.address, "host"),
        (flags.address, "::1:8443"),
        (flags.address, "host:99999"),
        (flags.object_name, "gateway"),
        (flags.object_name, "a/b/c"),
        (flags.namespace, "Team_A"),
        (flags.integer(1, 5), "6"),
        (flags.port, "65536"),
        (flags.port, "٣"),
        (flags.one_of("json"), "xml"),
        (flags.switch, "perhaps"),
        (flags.text, "  "),
    ],
)
def test_values_that_are_refused(convert, text):
    with pytest.raises(ValueError):
        convert(text)


def test_a_switch_needs_no_value():
    verbose = flags.Flag("verbose", flags.switch, default=False)
    assert read(verbose).verbose is False
    assert read(verbose, argv=["--verbose"]).verbose is True
    assert read(verbose, argv=["--verbose=false"]).verbose is False


def test_a_refusal_names_who_said_it(capsys):
    assert "--grpc-port: 'x' is not a port" in refusal(capsys, PORT, argv=["--grpc-port=x"])
    assert "TRUNKLINE_GRPC_PORT: 'x' is not a port" in refusal(capsys, PORT, environ={"TRUNKLINE_GRPC_PORT": "x"})
    account = flags.Flag("gateway-service-account", flags.object_name, required=True)
    assert "TRUNKLINE_GATEWAY_SERVICE_ACCOUNT" in refusal(capsys, account)
    assert "--grpc" in refusal(capsys, PORT, argv=["--grpc=1"])  # no abbreviations


def test_the_help_shows_variables_and_defaults(capsys):
    with pytest.raises(SystemExit):
        read(PORT, argv=["--help"])
    assert "[TRUNKLINE_GRPC_PORT; default 8443]" in " ".join(capsys.readouterr().out.split())


def test_each_subcommand_has_flags_of_its_own():
    parser = flags.Parser(prog="program")
    commands = parser.add_subparsers(dest="command", required=True)
    flags.add(commands.add_parser("serve"), [PORT])
    flags.add(commands.add_parser("look"), [NAMESPACE])
    assert flags.parse(parser, ["serve"], {"TRUNKLINE_GRPC_PORT": "7"}).grpc_port == 7
    assert flags.parse(parser, ["look", "--namespace=a"], {}).namespace == ("a",)
