"""What the ServiceAccounts and the users may do once a release is there, as a real API server judges it."""

import json
from collections.abc import Sequence
from typing import NamedTuple

import pytest

from chart.rendering import Object, parse, template
from harness.kube import ApiServer
from trunkline_operator.rights import needed

KINDS = ("providercredentials", "modelgroups", "routepolicies", "virtualkeys")
OURS = "trunkline.dev"


class Release(NamedTuple):
    """A release whose ServiceAccounts and roles are on the API server."""

    api: ApiServer
    namespace: str
    watched: tuple[str, ...]

    @property
    def a_namespace(self) -> str:
        """One that is watched."""
        return self.watched[0] if self.watched else "default"

    def may(self, who: str, verb: str, resource: str, namespace: str = "", name: str = "") -> bool:
        """As `kubectl auth can-i`: ``resource`` is ``PLURAL.GROUP/SUBRESOURCE``; ``who`` operator, gateway, a user."""
        plural, _, subresource = resource.partition("/")
        plural, _, group = plural.partition(".")
        return self.asks(
            who,
            resourceAttributes={
                "verb": verb,
                "group": group,
                "resource": plural,
                "subresource": subresource,
                "namespace": namespace,
                "name": name,
            },
        )

    def may_get(self, who: str, path: str) -> bool:
        """Whether it may GET something that is no resource."""
        return self.asks(who, nonResourceAttributes={"verb": "get", "path": path})

    def asks(self, who: str, **attributes: object) -> bool:
        spec: dict[str, object] = {"user": who, "groups": ["system:authenticated"], **attributes}
        if who in {"operator", "gateway"}:
            spec["user"] = f"system:serviceaccount:{self.namespace}:trunkline-{who}"
            # Without system:serviceaccounts, to which clusters give rights of their own.
        review = {"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview", "spec": spec}
        answer = self.api.request("POST", "/apis/authorization.k8s.io/v1/subjectaccessreviews", review)
        allowed: bool = answer["status"]["allowed"]
        return allowed


def apply(api: ApiServer, found: Sequence[Object]) -> None:
    api.kubectl("apply", "--server-side", "-f", "-", input="\n---\n".join(json.dumps(each) for each in found))


def released(api: ApiServer, watched: tuple[str, ...] = ()) -> Release:
    namespace = api.fresh_namespace("rights")
    settings = [f"--set=watch.namespaces={{{','.join(watched)}}}"] if watched else []
    rights = {"ServiceAccount", "ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding"}
    apply(api, [each for each in parse(template(*settings, namespace=namespace)) if each["kind"] in rights])
    return Release(api, namespace, watched)


@pytest.fixture(scope="module")
def everywhere(api: ApiServer) -> Release:
    return released(api)


@pytest.fixture(scope="module")
def somewhere(api: ApiServer) -> Release:
    return released(api, (api.fresh_namespace("watched"), api.fresh_namespace("watched")))


@pytest.fixture(params=["everywhere", "somewhere"])
def release(request: pytest.FixtureRequest) -> Release:
    found: Release = request.getfixturevalue(request.param)
    return found


def test_the_operator_may_do_all_that_it_says_it_needs(release: Release):
    own = {
        "secret": (release.namespace, "trunkline-operator-tls"),
        "config_map": (release.namespace, "trunkline-operator-ca"),
        "lease": (release.namespace, "trunkline-operator"),
    }
    asked = [
        (verb, right)
        for right in needed(release.watched, **own)
        # In namespaces alone it does without: it asks for them by name.
        if not (release.watched and right.resource == "namespaces")
        for verb in right.verbs
    ]
    assert len(asked) > 20
    for verb, right in asked:
        plural, _, subresource = right.resource.partition("/")
        resource = f"{plural}.{right.group}/{subresource}"
        assert release.may("operator", verb, resource, right.namespace, right.name), right


@pytest.mark.parametrize("verb", ["get", "list", "watch"])
@pytest.mark.parametrize("resource", [*(f"{kind}.{OURS}" for kind in KINDS), "secrets"])
def test_the_operator_reads_our_kinds_and_secrets_where_it_watches(release: Release, verb: str, resource: str):
    for namespace in release.watched or ("", "default", "kube-system"):
        assert release.may("operator", verb, resource, namespace)


@pytest.mark.parametrize("kind", KINDS)
def test_the_operator_writes_statuses_and_events_where_it_watches(release: Release, kind: str):
    assert release.may("operator", "patch", f"{kind}.{OURS}/status", release.a_namespace)
    assert release.may("operator", "create", "events.events.k8s.io", release.a_namespace)
    assert release.may("operator", "create", "events.events.k8s.io", release.namespace)


def test_the_operator_judges_tokens(release: Release):
    assert release.may("operator", "create", "tokenreviews.authentication.k8s.io")
    assert release.may_get("operator", "/openid/v1/jwks")
    assert release.may_get("operator", "/.well-known/openid-configuration")


def test_the_operator_keeps_its_lease_and_its_ca_and_nobody_elses(release: Release):
    at = release.namespace
    lease = "leases.coordination.k8s.io"
    assert release.may("operator", "create", lease, at)
    for verb in ("get", "update"):
        assert release.may("operator", verb, lease, at, "trunkline-operator")
        assert not release.may("operator", verb, lease, at, "another")
        assert not release.may("operator", verb, lease, "kube-system", "trunkline-operator")
    for resource, name in (("secrets", "trunkline-operator-tls"), ("configmaps", "trunkline-operator-ca")):
        assert release.may("operator", "get", resource, at, name)
        assert release.may("operator", "patch", resource, at, name)
        assert not release.may("operator", "patch", resource, at, "another")
        assert not release.may("operator", "delete", resource, at, name)


@pytest.mark.parametrize(
    ("verb", "resource"),
    [
        *((verb, "secrets") for verb in ("create", "update", "patch", "delete", "deletecollection")),
        *((verb, f"{kind}.{OURS}") for kind in KINDS for verb in ("create", "update", "patch", "delete")),
        *(("update", f"{kind}.{OURS}/status") for kind in KINDS),
        *((verb, "pods") for verb in ("get", "list", "create", "delete")),
        ("create", "pods/exec"),
        ("get", "configmaps"),
        ("list", "configmaps"),
        ("create", "configmaps"),
        ("list", "serviceaccounts"),
        ("create", "serviceaccounts/token"),
        ("get", "services"),
        ("get", "nodes"),
        ("list", "deployments.apps"),
        ("patch", "deployments.apps"),
        ("delete", "leases.coordination.k8s.io"),
        ("list", "leases.coordination.k8s.io"),
        ("delete", "events.events.k8s.io"),
        ("create", "events"),
        ("patch", "namespaces"),
        ("delete", "namespaces"),
        ("list", "customresourcedefinitions.apiextensions.k8s.io"),
        ("create", "subjectaccessreviews.authorization.k8s.io"),
        ("bind", "clusterroles.rbac.authorization.k8s.io"),
        ("escalate", "roles.rbac.authorization.k8s.io"),
        ("impersonate", "users"),
    ],
)
def test_the_operator_may_not(release: Release, verb: str, resource: str):
    for namespace in (release.namespace, release.a_namespace, ""):
        assert not release.may("operator", verb, resource, namespace)


def test_in_namespaces_alone_the_operator_sees_nothing_elsewhere(somewhere: Release):
    for namespace in ("", "default", "kube-system", somewhere.namespace):
        for resource in ("secrets", f"virtualkeys.{OURS}", "namespaces"):
            for verb in ("get", "list", "watch"):
                assert not somewhere.may("operator", verb, resource, namespace)
    assert all(somewhere.may("operator", "get", "namespaces", each, each) for each in somewhere.watched)
    assert not somewhere.may("operator", "get", "namespaces", "default", "default")


@pytest.mark.parametrize("verb", ["get", "list", "watch", "create", "update", "patch", "delete"])
@pytest.mark.parametrize(
    "resource", ["secrets", "configmaps", "pods", "namespaces", *(f"{kind}.{OURS}" for kind in KINDS)]
)
def test_a_gateway_may_do_nothing(release: Release, verb: str, resource: str):
    for namespace in (release.namespace, release.a_namespace, ""):
        assert not release.may("gateway", verb, resource, namespace)


USERS = ("modelgroups", "virtualkeys", "routepolicies", "usagepolicies")


@pytest.fixture(scope="module")
def users(everywhere: Release) -> Release:
    """Users called view, edit and admin, each bound in `default` to what the cluster's role of that name would get."""
    # Aggregating is a controller's work, and there is none: what it would gather is told by the labels.
    api = everywhere.api
    roles = api.request("GET", "/apis/rbac.authorization.k8s.io/v1/clusterroles")["items"]
    for user in ("view", "edit", "admin"):
        label = f"rbac.authorization.k8s.io/aggregate-to-{user}"
        gathered = [
            each["metadata"]["name"]
            for each in roles
            if (each["metadata"].get("labels") or {}).get(label) == "true"
            and each["metadata"]["name"].startswith(f"{everywhere.namespace}:")
        ]
        for number, role in enumerate(gathered):
            reference = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role}
            binding = {
                "apiVersion": "rbac.authorization.k8s.io/v1",
                "kind": "RoleBinding",
                "metadata": {"name": f"{user}-{number}", "namespace": "default"},
                "roleRef": reference,
                "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": user}],
            }
            api.request("POST", "/apis/rbac.authorization.k8s.io/v1/namespaces/default/rolebindings", binding)
    return everywhere


@pytest.mark.parametrize("user", ["view", "edit", "admin"])
def test_whoever_may_view_sees_all_our_kinds(users: Release, user: str):
    for kind in {*KINDS, *USERS}:
        assert all(users.may(user, verb, f"{kind}.{OURS}", "default") for verb in ("get", "list", "watch"))
        assert not users.may(user, "list", f"{kind}.{OURS}", "kube-system")
    assert not users.may(user, "get", "secrets", "default")


@pytest.mark.parametrize("verb", ["create", "update", "patch", "delete", "deletecollection"])
def test_who_may_edit_writes_all_but_accounts_and_an_admin_those_too(users: Release, verb: str):
    for kind in USERS:
        may = [users.may(user, verb, f"{kind}.{OURS}", "default") for user in ("view", "edit", "admin")]
        assert may == [False, True, True]
    may = [users.may(user, verb, f"providercredentials.{OURS}", "default") for user in ("view", "edit", "admin")]
    assert may == [False, False, True]


@pytest.mark.parametrize("user", ["view", "edit", "admin"])
def test_no_user_writes_a_status(users: Release, user: str):
    assert not any(users.may(user, "patch", f"{kind}.{OURS}/status", "default") for kind in KINDS)


def test_kubectl_says_the_same(everywhere: Release):
    who = f"--as=system:serviceaccount:{everywhere.namespace}:trunkline-operator"
    said = everywhere.api.kubectl("auth", "can-i", "list", "secrets", "--all-namespaces", who)
    assert said.stdout.strip() == "yes"
    refused = everywhere.api.kubectl("auth", "can-i", "create", "secrets", who, check=False)
    assert refused.stdout.strip() == "no"
