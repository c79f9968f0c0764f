"""Which certificates an upstream may show, on every Python that we run on."""

import ssl

import pytest

from trunkline_gateway.upstream.client import Endpoint
from trunkline_gateway.upstream.http1 import dial


def test_an_authority_without_a_key_usage_is_believed_on_every_python(monkeypatch: pytest.MonkeyPatch) -> None:
    made = ssl.create_default_context

    def as_python_3_13_makes_it(*arguments: object, **options: object) -> ssl.SSLContext:
        context = made(*arguments, **options)
        context.verify_flags |= ssl.VERIFY_X509_STRICT
        return context

    monkeypatch.setattr(ssl, "create_default_context", as_python_3_13_makes_it)
    context = dial.trust(Endpoint("https://upstream.test/v1"))
    assert not context.verify_flags & ssl.VERIFY_X509_STRICT
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname
