"""What the README promises: two installations, a key, and an answer through the front door."""

from __future__ import annotations

import json
import secrets

from cluster.release import NAME, release
from harness.cluster import Cluster

SMALL = {"resources": {"requests": {"cpu": "20m", "memory": "64Mi"}}}


def test_a_fresh_release_answers_its_own_test(trunkline_images: Cluster) -> None:
    """In a namespace that enforces the restricted Pod Security Standard, with rights in that namespace alone."""
    cluster = trunkline_images
    with release(cluster, {"operator": SMALL, "gateway": SMALL}) as made:
        key = "sk-tl-" + secrets.token_hex(16)
        made.kubectl("create", "secret", "generic", "first-key", f"--from-literal=key={key}")
        made.kubectl("label", "secret", "first-key", "trunkline.dev/secret=true")
        made.apply(
            f"watch.namespaces={{{made.namespace}}}",
            "quickstart.enabled=true",
            "quickstart.keySecret.name=first-key",
            "quickstart.keySecret.key=key",
        )
        made.kubectl("wait", "pcred,mg,vk", "--all", "--for=condition=Programmed", "--timeout=30s")
        said = cluster.helm("test", NAME, f"--namespace={made.namespace}", "--logs", "--timeout=60s")
        assert "echo answered" in said
        assert key not in said
        columns = made.kubectl("get", "mg")
        assert columns.split("\n")[0].split() == [
            "NAME",
            "MODELS",
            "TARGETS",
            "POLICY",
            "ACCEPTED",
            "PROGRAMMED",
            "AGE",
        ]
        assert columns.split("\n")[1].split()[:6] == ["echo", "1", "1/1", "default", "True", "True"]
        log = made.kubectl("logs", "--selector=app.kubernetes.io/instance=trunkline", "--tail=-1", "--prefix")
        assert key not in log
        complaints = [line for line in log.splitlines() if any(each in line for each in ('"error"', "Traceback"))]
        assert complaints == [], json.dumps(complaints, indent=1)
