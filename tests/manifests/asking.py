"""Asks whatever an example offers, with every key that it has."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from harness.system import Gateway, Reply
from manifests import examples


def embed(gateway: Gateway, model: str, key: str) -> Reply:
    """Ask for one embedding."""
    return gateway.post("/v1/embeddings", {"model": model, "input": "a text"}, key=key)


def ask_every_public_model(example: Path, gateway: Gateway, keys: Mapping[str, str]) -> None:
    """Ask each public model with each key: one at least gets an answer and a stream, the others a proper refusal."""
    for model in examples.public_names(example):
        embeds = "embedding" in model
        served = False
        for name, key in keys.items():
            reply = embed(gateway, model, key) if embeds else gateway.chat(model, key=key)
            assert reply.status in (200, 401, 404), (model, name, reply.body)
            if reply.status != 200:
                continue
            served = True
            if not embeds:
                assert reply.json["choices"][0]["message"]["content"]
                stream = gateway.chat(model, key=key, stream=True)
                assert stream.status == 200
                assert stream.body.endswith(b"data: [DONE]\n\n")
        assert served, f"no key of the example may call {model}"
