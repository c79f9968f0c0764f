"""What the operator is told on the command line or in the environment."""

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
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
        tls_names: What the certificate is for, beside the Service's usual names and this machine's.
        tls_secret: Namespace and name of the Secret with the CA of all replicas; None: each has its own.
        ca_configmap: Namespace and name of the ConfigMap with the bundle for gateways; with ``tls_secret`` only.
        ca_publish_delay: How long a new CA must have been published before it signs.
        kubeconfig: None: the in-cluster ServiceAccount, else the default kubeconfig.
        host: What the ports bind to.
        writes: Whether this replica writes statuses and Events; with a Lease: while it holds that.
        lease: Namespace and name of the Lease that elects the writer; None: this is the only replica.
        peer_address: ``HOST:PORT`` where other replicas reach this one; empty: by the pod's own address, in a pod.
        peer_tls_name: What other replicas' certificates are for.
        peer_token_file: This replica's ServiceAccount token for the others.
        operator_service_account: Namespace and name of the replicas' own; None: that of the token.
    """

    namespaces: tuple[str, ...] = ()
    platform_namespaces: tuple[str, ...] = ()
    gateway_service_account: tuple[str, str]
    tls_dir: Path = Path("tls")
    tls_names: tuple[str, ...] = ()
    tls_secret: tuple[str, str] | None = None
    ca_configmap: tuple[str, str] | None = None
    ca_publish_delay: timedelta = timedelta(minutes=2)
    host: str = "0.0.0.0"  # noqa: S104 - the gateways are on other machines
    grpc_port: int = 8443
    admin_port: int = 9090
    kubeconfig: Path | None = None
    log_level: str = "info"
    log_format: str = "json"
    writes: bool = True
    lease: tuple[str, str] | None = None
    peer_address: str = ""
    peer_tls_name: str = "trunkline-operator"
    peer_token_file: Path | None = None
    operator_service_account: tuple[str, str] | None = None


LEASE: Final = "trunkline-operator"

_NAMESPACE_FILE: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")


def own_namespace() -> str:
    """The namespace of the pod that we run in; empty: in none."""
    with contextlib.suppress(OSError):
        return _NAMESPACE_FILE.read_text(encoding="ascii").strip()
    return ""


def peer_address(value: str) -> str:
    """``HOST:PORT``; an IPv6 host may come without its brackets, as ``$(POD_IP):8443`` makes it."""
    host, _, port = value.rpartition(":")
    if ":" in host and not host.startswith("["):
        value = f"[{host}]:{port}"
    flags.address(value)
    return value


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
        "Take ProviderCredentials, ModelGroups and RoutePolicies of this namespace only. Default: of all watched ones.",
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
    flags.Flag(
        "tls-name",
        flags.text,
        "Also make the certificate for this DNS name or IP address.",
        repeated=True,
    ),
    flags.Flag(
        "tls-secret",
        flags.object_name,
        "Share one CA among all replicas through this Secret, which must exist; empty at first. Needs --ca-configmap.",
        metavar="NS/NAME",
    ),
    flags.Flag(
        "ca-configmap",
        flags.object_name,
        "Publish what gateways have to trust as ca.crt of this ConfigMap, which must exist. Needs --tls-secret.",
        metavar="NS/NAME",
    ),
    flags.Flag(
        "ca-publish-delay",
        flags.duration,
        "How long a new CA must have been published before it signs: longer than a ConfigMap takes to reach a pod.",
        timedelta(minutes=2),
        metavar="DURATION",
    ),
    flags.Flag(
        "lease",
        flags.object_name,
        "The Lease that elects which replica writes statuses and Events. Default: trunkline-operator in the operator's "
        "own namespace, else in that of the gateways' ServiceAccount.",
        metavar="NS/NAME",
    ),
    flags.Flag(
        "peer-address",
        peer_address,
        "Where other replicas reach this one's --grpc-port. Default: the pod's own address, and nowhere outside pods.",
        metavar="HOST:PORT",
    ),
    flags.Flag(
        "peer-token-file",
        flags.path,
        "This replica's own ServiceAccount token with audience trunkline, for its reports to the writing replica.",
        metavar="FILE",
    ),
    flags.Flag(
        "peer-tls-name",
        flags.text,
        "The name that the replicas' certificate is for, such as the Service's.",
        "trunkline-operator",
        metavar="NAME",
    ),
    flags.Flag(
        "operator-service-account",
        flags.object_name,
        "The ServiceAccount of the replicas: no other may report what gateways say. Default: that of the token.",
        metavar="NS/NAME",
    ),
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
    if (given.tls_secret is None) != (given.ca_configmap is None):
        parser.error("--tls-secret and --ca-configmap go together: one holds the CA, the other tells gateways of it")
    return Settings(
        namespaces=given.namespace,
        platform_namespaces=given.platform_namespace,
        gateway_service_account=given.gateway_service_account,
        tls_dir=given.tls_dir,
        tls_names=given.tls_name,
        tls_secret=given.tls_secret,
        ca_configmap=given.ca_configmap,
        ca_publish_delay=given.ca_publish_delay,
        host=given.host,
        grpc_port=given.grpc_port,
        admin_port=given.admin_port,
        kubeconfig=given.kubeconfig,
        log_level=given.log_level,
        log_format=given.log_format,
        lease=given.lease or (own_namespace() or given.gateway_service_account[0], LEASE),
        peer_address=given.peer_address or "",
        peer_tls_name=given.peer_tls_name,
        peer_token_file=given.peer_token_file,
        operator_service_account=given.operator_service_account,
    )
