"""Long requests and answers are written and read beside the loop, so that nobody waits for them."""

import asyncio
import json
import threading

import pytest

from gateway import fakes
from gateway.fakes import Answer, serve
from trunkline_gateway import aside
from trunkline_gateway.routing import upstream_request, whole

TEXT = "x" * aside.AT_ONCE_BYTES


@pytest.mark.parametrize("length", [10, len(TEXT)])
def test_what_is_long_is_done_aside(monkeypatch: pytest.MonkeyPatch, length: int) -> None:
    threads: list[int] = []
    prepare, read = upstream_request.prepare, whole.read

    def noting_prepare(*given):  # type: ignore[no-untyped-def]
        threads.append(threading.get_ident())
        return prepare(*given)

    def noting_read(*given):  # type: ignore[no-untyped-def]
        threads.append(threading.get_ident())
        return read(*given)

    monkeypatch.setattr(upstream_request, "prepare", noting_prepare)
    monkeypatch.setattr(whole, "read", noting_read)
    asked = {"model": "gpt-4o", "max_tokens": 9, "messages": [{"role": "user", "content": TEXT[:length]}]}
    said = {"choices": [{"message": {"role": "assistant", "content": TEXT[:length]}, "finish_reason": "stop"}]}
    call = fakes.call_in("anthropic_messages", json.dumps(asked).encode())
    _, responder, _ = asyncio.run(serve(call, Answer.json(json.dumps(said).encode())))
    assert json.loads(responder.body)["content"][0]["text"] == TEXT[:length]
    assert [each == threading.get_ident() for each in threads] == [length == 10] * 2


async def test_what_goes_wrong_aside_is_raised_where_it_was_asked_for() -> None:
    def fails() -> None:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        await aside.run(fails)
