"""What the operator is told on the command line or in the environment."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Final

from trunkline_protocol import flags, logs


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The settings of ``trunkline-operator``.

    Attributes:
        namespaces: What to watch; empty: the whole cluster.
        platform_namespaces: Where accounts and groups may stand; empty: everywhere.
        gateway_service_account: Namespace and name of the only ServiceAccount that gets the table.
        tls_dir: Holds ``tls.crt``, ``tls.key`` and ``ca.crt``, made where absent.
        kubeconfig: None: the in-cluster ServiceAccount, else the default kubeconfig.
        host: What the ports bind to.
        writes: Whether this replica writes statuses and Events.
    """

    namespaces: tuple[str, ...] = ()
    platform_namespaces: tuple[str, ...] = ()
    gateway_service_account: tuple[str, str]
    tls_dir: Path = Path("tls")
    host: str = "0.0.0.0"  # noqa: S104 - the gateways are on other machines
    grpc_port: int = 8443
    admin_port: int = 9090
    kubeconfig: Path | None = None
    log_level: str = "info"
    log_format: str = "json"
    writes: bool = True


FLAGS: Final = (
    flags.Flag(
        "namespace",
        flags.namespace,
        "Watch this namespace only. Default: all of them.",
        repeated=True,
    ),
    flags.Flag(
        "platform-namespace",
        flags.namespace,
        "Accept ProviderCredentials and ModelGroups in this namespace only. Default: in every watched one.",
        repeated=True,
    ),
    flags.Flag(
        "gateway-service-account",
        flags.object_name,
        "The ServiceAccount of the gateways. No other gets the table, which holds every provider key.",
        required=True,
        metavar="NS/NAME",
    ),
    flags.Flag("tls-dir", flags.path, "Where tls.crt, tls.key and ca.crt are, or are made and renewed.", Path("tls")),
    flags.Flag("host", flags.text, "Address to listen on.", "0.0.0.0"),  # noqa: S104
    flags.Flag("grpc-port", flags.port, "Where gateways connect.", 8443),
    flags.Flag("admin-port", flags.port, "Serves /healthz, /readyz, /metrics and /debug.", 9090),
    flags.Flag(
        "kubeconfig", flags.path, "Default: the in-cluster ServiceAccount, else the default kubeconfig.", metavar="FILE"
    ),
    flags.Flag(
        "log-level", flags.one_of(*logs.LEVELS), "The least that is logged: debug, info, warning, error.", "info"
    ),
    flags.Flag("log-format", flags.one_of(*logs.FORMATS), "json, or text for people.", "json"),
)


def read(argv: Sequence[str] | None = None, environ: Mapping[str, str] | None = None) -> Settings:
    """Read the command line and the environment; ends the program with exit code 2 where they are wrong."""
    parser = flags.Parser(
        prog="trunkline-operator",
        description="Compiles Trunkline's resources into a routing table and serves it to the gateways.",
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {version('trunkline')}")
    flags.add(parser, FLAGS)
    given = flags.parse(parser, argv, environ)
    return Settings(
        namespaces=given.namespace,
        platform_namespaces=given.platform_namespace,
        gateway_service_account=given.gateway_service_account,
        tls_dir=given.tls_dir,
        host=given.host,
        grpc_port=given.grpc_port,
        admin_port=given.admin_port,
        kubeconfig=given.kubeconfig,
        log_level=given.log_level,
        log_format=given.log_format,
    )
