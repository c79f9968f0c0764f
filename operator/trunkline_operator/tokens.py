"""How the publish stage asks the API server whose token a gateway brings."""

from collections.abc import Mapping
from typing import Any

from trunkline_operator import kube
from trunkline_operator.publish.authenticate import AUDIENCE, Reviewed, UnavailableError


class TokenReviews:
    """`publish.authenticate.Review` and `KeySource` over the API server."""

    def __init__(self, client: kube.Kube) -> None:
        self._client = client

    async def __call__(self, token: str) -> Reviewed:
        """Review ``token``.

        Raises:
            UnavailableError: nothing that judges the token was said.
        """
        try:
            status = await self._client.token_review(token, AUDIENCE)
        except (kube.ApiError, kube.UnavailableError) as error:
            raise UnavailableError(str(error)) from error
        user = status.get("user") or {}
        pods = (user.get("extra") or {}).get("authentication.kubernetes.io/pod-name") or [""]
        return Reviewed(
            authenticated=status.get("authenticated") is True,
            username=str(user.get("username") or ""),
            audiences=tuple(status.get("audiences") or ()),
            pod_name=str(pods[0]),
        )

    async def keys(self) -> Mapping[str, Any]:
        """Fetch the public keys of the API server's ServiceAccount tokens, and under ``issuer`` who signs them.

        Raises:
            UnavailableError: there was no answer.
        """
        try:
            return {"issuer": await self._client.issuer(), **await self._client.jwks()}
        except (kube.ApiError, kube.UnavailableError) as error:
            raise UnavailableError(str(error)) from error
