"""Which authorities of clusters are believed, on every Python that we run on."""

import ssl
from pathlib import Path

import pytest

from trunkline_operator import kube

KUBECONFIG = """
apiVersion: v1
kind: Config
current-context: it
clusters: [{name: it, cluster: {server: "https://127.0.0.1:1"}}]
users: [{name: it, user: {}}]
contexts: [{name: it, context: {cluster: it, user: it}}]
"""


async def test_an_authority_without_a_key_usage_is_believed_on_every_python(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = ssl.create_default_context

    def as_python_3_13_makes_it(*arguments: object, **options: object) -> ssl.SSLContext:
        context = made(*arguments, **options)
        context.verify_flags |= ssl.VERIFY_X509_STRICT
        return context

    monkeypatch.setattr(ssl, "create_default_context", as_python_3_13_makes_it)
    (tmp_path / "kubeconfig").write_text(KUBECONFIG, encoding="ascii")
    configuration = await kube.load_configuration(tmp_path / "kubeconfig")
    async with await kube.session(configuration, trace_configs=[]) as session:
        assert session.connector is not None
        context = session.connector._ssl
    assert isinstance(context, ssl.SSLContext)
    assert not context.verify_flags & ssl.VERIFY_X509_STRICT
    assert context.verify_mode is ssl.CERT_REQUIRED
