"""The node's links, its CNI network, and the packet rules that these need."""

from __future__ import annotations

import json
import shlex
import shutil

from cluster.node.commands import run
from cluster.node.layout import NETWORK_NAME, NODE_ADDRESS, NODE_LINK, POD_LINK, POD_RANGE, RULE_COMMENT, Layout

# Without the plugin's own masquerading: its chains per container would stay behind when a container is killed.
_MASQUERADE = ("-s", POD_RANGE, "!", "-d", POD_RANGE, "-j", "MASQUERADE")
_RULES = (
    ("nat", "POSTROUTING", _MASQUERADE),
    # A machine with Docker drops what it forwards.
    ("filter", "FORWARD", ("-s", POD_RANGE, "-j", "ACCEPT")),
    ("filter", "FORWARD", ("-d", POD_RANGE, "-j", "ACCEPT")),
)
_TOOLS = ("iptables", "ip6tables")
_PROXY_CHAINS = "KUBE-"
_COMMENT = ("-m", "comment", "--comment", RULE_COMMENT)


def links() -> list[str]:
    """Return the names of the machine's network links."""
    return [link["ifname"] for link in json.loads(run(["ip", "-json", "link", "show"]))]


def configure(layout: Layout) -> None:
    """Make the node's address, its rules, and the CNI configuration that containerd reads."""
    run(["ip", "link", "add", NODE_LINK, "type", "bridge"])
    run(["ip", "address", "add", f"{NODE_ADDRESS}/24", "dev", NODE_LINK])
    run(["ip", "link", "set", NODE_LINK, "up"])
    for table, chain, rule in _RULES:
        run(["iptables", "-w", "-t", table, "-I", chain, *_COMMENT, *rule])
    network = {
        "cniVersion": "1.0.0",
        "name": NETWORK_NAME,
        "plugins": [
            {
                "type": "bridge",
                "bridge": POD_LINK,
                "isGateway": True,
                "hairpinMode": True,
                "ipam": {
                    "type": "host-local",
                    "dataDir": str(layout.directory / "cni-addresses"),
                    "ranges": [[{"subnet": POD_RANGE}]],
                    "routes": [{"dst": "0.0.0.0/0"}],
                },
            }
        ],
    }
    (layout.cni_config / "10-trunkline-node.conflist").write_text(json.dumps(network, indent=2), encoding="utf-8")


def remove() -> None:
    """Delete the node's links and rules; fine when they are gone."""
    for tool in _TOOLS:
        saved = _saved(tool)
        for table, line in saved:
            if line.startswith("-A ") and not line.startswith(f"-A {_PROXY_CHAINS}") and _is_ours(line):
                run([tool, "-w", "-t", table, *shlex.split(line.replace("-A ", "-D ", 1))])
        # kube-proxy's own clean-up leaves some. Emptied first, all of them, since they refer to each other.
        chains = [(table, line[1:].split()[0]) for table, line in saved if line.startswith(f":{_PROXY_CHAINS}")]
        for option in ("-F", "-X"):
            for table, chain in chains:
                run([tool, "-w", "-t", table, option, chain])
    for link in (POD_LINK, NODE_LINK):
        if link in links():
            run(["ip", "link", "delete", link])


def rules() -> list[str]:
    """Return the node's packet rules and kube-proxy's chains that there are, as iptables-save writes them."""
    return [f"{tool} {table} {line}" for tool in _TOOLS for table, line in _saved(tool) if _is_ours(line)]


def _is_ours(line: str) -> bool:
    return f" {RULE_COMMENT} " in line or f" {_PROXY_CHAINS}" in line or line.startswith(f":{_PROXY_CHAINS}")


def _saved(tool: str) -> list[tuple[str, str]]:
    """Return (table, line) of each chain and rule that there is; nothing where the tool is not."""
    found = []
    table = ""
    saved = run([f"{tool}-save"], check=False) if shutil.which(f"{tool}-save") else ""
    for line in saved.splitlines():
        if line.startswith("*"):
            table = line[1:]
        elif line.startswith((":", "-A ")):
            found.append((table, line))
    return found
