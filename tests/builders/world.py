"""Objects as the API server gives them, for tests of what the operator makes of them."""

import base64
from typing import Any

from trunkline_operator.watch.world import SECRET_LABEL, World

API_VERSION = "trunkline.dev/v1alpha1"


def metadata(name: str, namespace: str, revision: int, **more: Any) -> dict[str, Any]:
    return {
        "name": name,
        "namespace": namespace,
        "uid": f"{namespace}/{name}",
        "resourceVersion": str(revision),
        "creationTimestamp": "2026-01-01T00:00:00Z",
        **more,
    }


def resource(
    kind: str, name: str, spec: Any, *, namespace: str = "team", revision: int = 1, **more: Any
) -> dict[str, Any]:
    """One of our own; its generation is its revision, unless ``more`` says otherwise."""
    meta = metadata(name, namespace, revision, **{"generation": revision, **more})
    return {"apiVersion": API_VERSION, "kind": kind, "metadata": meta, "spec": spec}


def credential(name: str = "main", *, namespace: str = "team", revision: int = 1, **spec: Any) -> dict[str, Any]:
    key = {"name": "primary", "secretRef": {"name": "upstream", "key": "primary"}}
    whole = {"provider": "openai", "keys": [key], **spec}
    return resource("ProviderCredential", name, whole, namespace=namespace, revision=revision)


def group(name: str = "gpt-4o", *, namespace: str = "team", revision: int = 1, **spec: Any) -> dict[str, Any]:
    whole = {"targets": [target()], **spec}
    return resource("ModelGroup", name, whole, namespace=namespace, revision=revision)


def target(name: str = "main", credential_name: str = "main", **more: Any) -> dict[str, Any]:
    return {"name": name, "credentialRef": {"name": credential_name}, "model": "gpt-4o", **more}


def key(
    name: str = "alice", *, namespace: str = "team", revision: int = 1, digit: str = "0", **spec: Any
) -> dict[str, Any]:
    whole = {"models": ["*"], **({} if "secretRef" in spec else {"keyHash": "sha256:" + digit * 64}), **spec}
    return resource("VirtualKey", name, whole, namespace=namespace, revision=revision)


def policy(
    name: str = "strict", *, namespace: str = "team", revision: int = 1, created: str = "", **spec: Any
) -> dict[str, Any]:
    """``groups``: names of ModelGroups, with ``/target`` after them for one target."""
    refs = [
        {"group": "trunkline.dev", "kind": "ModelGroup", "name": group, **({"sectionName": target} if target else {})}
        for group, _, target in (each.partition("/") for each in spec.pop("groups", ()))
    ]
    whole = {**({"targetRefs": refs} if refs else {}), **spec}
    more = {"creationTimestamp": created} if created else {}
    return resource("RoutePolicy", name, whole, namespace=namespace, revision=revision, **more)


def secret(
    name: str = "upstream", *, namespace: str = "team", revision: int = 1, labelled: bool = True, **entries: str
) -> dict[str, Any]:
    labels = {SECRET_LABEL: "true"} if labelled else {}
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": metadata(name, namespace, revision, labels=labels),
        "data": {entry: base64.b64encode(value.encode()).decode() for entry, value in entries.items()},
    }


def namespace(name: str = "team", *, revision: int = 1, **labels: str) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {"name": name, "resourceVersion": str(revision), "labels": labels},
    }


def world(*objects: dict[str, Any]) -> World:
    made = World()
    for each in objects:
        made.put(each)
    return made
