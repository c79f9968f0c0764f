"""One log line for each request."""

import logging

from trunkline_gateway.telemetry.exchange import Exchange
from trunkline_protocol import logs

logger = logging.getLogger("trunkline_gateway.access")


def log(exchange: Exchange) -> None:
    """Write the line; what is not known or does not apply is left out."""
    if not logger.isEnabledFor(logging.INFO):
        return
    event: dict[str, object] = {
        "request_id": exchange.request_id,
        "method": exchange.method,
        "path": exchange.path[:512],
        "status": exchange.status,
        "duration_ms": round(exchange.duration_seconds * 1000, 1),
    }
    for name in ("group", "target", "key", "team", "attempts", "prompt_tokens", "completion_tokens", "error"):
        if value := getattr(exchange, name):
            event[name] = value
    if exchange.first_byte_seconds is not None:
        event["ttft_ms"] = round(exchange.first_byte_seconds * 1000, 1)
    for name in ("streamed", "truncated", "client_gone"):
        if getattr(exchange, name):
            event[name] = True
    logger.info("request", extra=logs.fields(**event))
