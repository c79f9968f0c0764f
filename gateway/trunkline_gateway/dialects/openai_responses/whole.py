"""The whole answer for a client: what its stream would end with.

https://platform.openai.com/docs/api-reference/responses/object
"""

from collections.abc import Sequence

from trunkline_gateway import exchange
from trunkline_gateway.dialect import Encoded
from trunkline_gateway.dialects.openai_responses import envelope
from trunkline_gateway.dialects.openai_responses.write import ResponseEncoder
from trunkline_gateway.errors import GatewayError
from trunkline_gateway.exchange import Event


def encode(
    answer: exchange.Answer | exchange.EmbeddingsAnswer | exchange.TokenCount, request: exchange.Request
) -> Encoded:
    """Write a whole answer."""
    if not isinstance(answer, exchange.Answer) or not isinstance(request, exchange.ChatRequest):
        raise GatewayError("A response is the answer of a chat request alone.")
    writer = _OnlyTheEnd(request)
    writer.encode(_with_logprobs_inside(exchange.events_of(answer)))
    return Encoded(writer.response, writer.lost)


class _OnlyTheEnd(ResponseEncoder):
    """Writes no events on the way, since nobody gets them."""

    def _start(self, event: exchange.Start) -> None:
        self._envelope = envelope.Envelope(self._request, event)
        self._usage = event.usage

    def _send(self, name: bytes, members: bytes) -> None:
        pass


def _with_logprobs_inside(events: Sequence[Event]) -> Sequence[Event]:
    """Logprobs stand in a text here, so they have to come before it ends."""
    likely = [event for event in events if isinstance(event, exchange.LogprobsDelta)]
    if not likely:
        return events
    rest = [event for event in events if not isinstance(event, exchange.LogprobsDelta)]
    texts = {
        event.index
        for event in rest
        if isinstance(event, exchange.PartStart) and isinstance(event.part, exchange.Text) and not event.choice
    }
    if not texts:
        return events
    end = rest.index(exchange.PartEnd(max(texts)))
    return [*rest[:end], *likely, *rest[end:]]
