"""Why something cannot be looked at, in one sentence that says what to do; each sentence is told once."""

import logging
import re
from collections.abc import Callable, Sequence
from typing import Final

from trunkline_operator import kube
from trunkline_operator.watch.lists import KINDS, Watched

_LOG: Final = logging.getLogger(__name__)

_USER: Final = re.compile(r'User "([^"]{1,300})"')
_NAMED: Final = 8
_SERVICE_ACCOUNT: Final = "system:serviceaccount:"


class Obstacles:
    """What stands in the way of looking at each kind."""

    def __init__(self, namespaces: Sequence[str], tell: Callable[[str, str], None] | None = None) -> None:
        """Make one.

        Args:
            namespaces: That are watched; empty: the whole cluster.
            tell: Gets a topic and its sentence, empty when it is no longer so; None: they are logged.
        """
        self._namespaces = namespaces
        self._tell = tell or _log
        self._met: dict[str, str] = {}

    def met(self, watched: Watched, error: kube.ApiError | kube.UnavailableError) -> None:
        """A kind could not be listed."""
        sentence = why_no_list(error, watched, self._namespaces)
        if self._met.get(watched.kind) != sentence:
            self._met[watched.kind] = sentence
            self._tell(f"list {watched.plural}", sentence)

    def gone(self, watched: Watched) -> None:
        """It was listed."""
        if self._met.pop(watched.kind, None) is not None:
            self._tell(f"list {watched.plural}", "")

    def sentences(self) -> list[str]:
        """What there is now."""
        return list(dict.fromkeys(self._met.values()))


def why_no_list(error: kube.ApiError | kube.UnavailableError, watched: Watched, namespaces: Sequence[str]) -> str:
    """Why a kind cannot be listed."""
    if isinstance(error, kube.UnavailableError):
        # The same sentence for all kinds, hence without the path.
        return f"the resources cannot be listed: the API server does not answer: {error.__cause__ or error}"
    if error.status == 403:
        # The API server names the namespace that it has refused.
        namespace = next((each for each in namespaces if f'in the namespace "{each}"' in str(error)), "")
        # What is listed is also got and watched, and who may not do the one hardly ever may do the others.
        verbs = ("get", "list", "watch")
        return refusal(error, verbs, watched.plural, watched.group, namespace if watched.namespaced else "")
    if error.status == 404 and watched in KINDS:
        return (
            f"the CustomResourceDefinition {watched.plural}.{watched.group} is not installed: "
            "install the chart trunkline-crds, or kubectl apply --server-side -f crds/"
        )
    if error.status == 401:
        return "the API server does not accept the operator's credentials"
    return f"{watched.plural} cannot be listed: {error}"


def refusal(
    error: kube.ApiError, verbs: Sequence[str], resource: str, group: str = "", namespace: str = "", name: str = ""
) -> str:
    """What a request that was answered 403 lacks."""
    found = _USER.search(str(error))
    return lacks(found[1] if found else "", verbs, resource, group, (namespace,) if namespace else (), name)


def lacks(
    user: str,
    verbs: Sequence[str],
    resource: str,
    group: str = "",
    namespaces: Sequence[str] = (),
    name: str = "",
    then: str = "",
) -> str:
    """Say that ``user`` may not do something, what does not work then, and what to do.

    Args:
        user: As Kubernetes names it; empty: unknown.
        verbs: That it lacks.
        resource: With its subresource.
        group: Empty: the core.
        namespaces: Where, of which a few are named; empty: in the whole cluster.
        name: Empty: of all objects.
        then: What does not work; empty: nothing does.
    """
    where = "in the whole cluster"
    if namespaces:
        where = f"in namespace{'s' * (len(namespaces) > 1)} {', '.join(namespaces[:_NAMED])}"
        where += f" and {len(namespaces) - _NAMED} more" if len(namespaces) > _NAMED else ""
    what = f"{resource}.{group}" if group else resource
    what = f"{what} {name}" if name else what
    without = f" (without it {then})" if then else ""
    kind = "Role" if namespaces else "ClusterRole"
    return (
        f"{_who(user)} may not {', '.join(verbs)} {what} {where}{without}: "
        f"install the chart's RBAC, or bind a {kind} that allows it"
    )


def _who(user: str) -> str:
    if user.startswith(_SERVICE_ACCOUNT):
        return f"ServiceAccount {user.removeprefix(_SERVICE_ACCOUNT).replace(':', '/', 1)}"
    return f"user {user}" if user else "the operator's ServiceAccount"


def _log(topic: str, sentence: str) -> None:
    if sentence:
        _LOG.warning("%s", sentence)
    else:
        _LOG.info("No longer an obstacle: %s", topic)
