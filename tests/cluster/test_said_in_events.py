"""Whoever asks ``kubectl describe pod`` why something does not get ready is told there, in a sentence."""

from __future__ import annotations

import json

import pytest

from cluster.release import CHARTS, NAME, Release, name_of, release
from harness.cluster import Cluster

SMALL = {"replicas": 1, "resources": {"requests": {"cpu": "20m", "memory": "64Mi"}}}
VALUES = {"operator": SMALL, "gateway": SMALL}
SELECTOR = "--selector=app.kubernetes.io/component="


def wait_for_event(made: Release, component: str, *parts: str) -> None:
    """Wait for an Event of a component's pod that is there, with all ``parts`` in it."""

    def said() -> bool:
        pods = {name_of(each) for each in made.pods(component)}
        events = json.loads(made.kubectl("get", "events", "-o", "json"))["items"]
        notes = [f"{each['reason']}: {each['message']}" for each in events if each["involvedObject"]["name"] in pods]
        return any(all(part in each for part in parts) for each in notes)

    made.cluster.until(f"no Event of a pod of the {component} says {parts}", said, timeout_seconds=60)


def scale_operator(made: Release, replicas: int) -> None:
    made.kubectl("scale", "deployment", f"{NAME}-operator", f"--replicas={replicas}")
    made.settle("operator")


def restarts(made: Release) -> int:
    (gateway,) = made.pods("gateway")
    count: int = gateway["status"]["containerStatuses"][0]["restartCount"]
    return count


def test_what_is_missing_stands_in_the_events_of_the_pod(trunkline_images: Cluster) -> None:
    cluster = trunkline_images
    if not cluster.is_ours:
        pytest.skip("it deletes a CustomResourceDefinition")
    with release(cluster, VALUES) as made:
        # A gateway without an operator, and nothing to go by.
        scale_operator(made, 0)
        made.kubectl("delete", "pod", f"{SELECTOR}gateway")
        wait_for_event(made, "gateway", "Startup probe failed: There is no routing table yet: ", "operator")
        scale_operator(made, 1)
        made.settle("gateway")
        assert restarts(made) == 0

        # One that has a table from before gets ready without any.
        scale_operator(made, 0)
        (gateway,) = made.pods("gateway")
        cluster.kill_container(cluster.container_of(name_of(gateway), made.namespace))
        cluster.until("the container does not start again", lambda: restarts(made) == 1)
        made.settle("gateway", timeout_seconds=30)

        # An operator without rights in the cluster.
        made.kubectl("delete", "clusterrolebinding", f"{made.namespace}:{NAME}-operator")
        made.kubectl("scale", "deployment", f"{NAME}-operator", "--replicas=1")
        wait_for_event(made, "operator", "ClusterNotUsable: ServiceAccount ", " may not get, list, watch modelgroups")
        made.apply()
        made.settle("operator")

        # One without the kinds that it looks for.
        made.kubectl("delete", "customresourcedefinition", "modelgroups.trunkline.dev")
        try:
            made.kubectl("delete", "pod", f"{SELECTOR}operator")
            missing = "the CustomResourceDefinition modelgroups.trunkline.dev is not installed"
            wait_for_event(made, "operator", "ClusterNotUsable: ", missing)
        finally:
            cluster.helm("upgrade", "--install", "trunkline-crds", str(CHARTS / "trunkline-crds"))
        made.settle("operator")
