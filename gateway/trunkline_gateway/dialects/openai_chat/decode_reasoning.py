"""Thoughts that a client sends back with an assistant's message, in any of the field's ways.

https://openrouter.ai/docs/use-cases/reasoning-tokens#preserving-reasoning-blocks
https://docs.litellm.ai/docs/reasoning_content

``reasoning_content`` or ``reasoning`` is the text alone; ``reasoning_details`` (OpenRouter) and ``thinking_blocks``
(LiteLLM) say more and are believed where they hold text.
"""

from collections.abc import Collection, Mapping

import msgspec

from trunkline_gateway.dialects.openai_chat import vocabulary
from trunkline_gateway.dialects.openai_chat.members import Members
from trunkline_gateway.exchange import Reasoning, Seal, origin


def decode(message: Members, call_ids: Collection[str]) -> tuple[list[Reasoning], Mapping[str, Seal]]:
    """The thoughts of a message, and the seals of its calls by their ids."""
    content = message.text("reasoning_content")
    plain = message.text("reasoning") if message.kind("reasoning") == "text" else None
    text = content or plain or ""
    details = message.objects("reasoning_details") or []
    blocks = message.objects("thinking_blocks") or []
    read = [_detail(each) for each in details or blocks]
    if details:
        for each in blocks:
            each.skip("type", "thinking", "signature", "data", "cache_control")
    for each in (*details, *blocks):
        each.close()
    collected = _Collected(call_ids)
    if text and not any(each.text for each in read):
        collected.say(text)
    for detail in read:
        collected.add(detail)
    return collected.thoughts, collected.seals


class _Detail(msgspec.Struct, frozen=True, kw_only=True):
    text: str
    summary: bool
    signature: Seal | None
    encrypted: Seal | None
    id: str
    index: int | None


class _Collected:
    def __init__(self, call_ids: Collection[str]) -> None:
        self._thoughts: list[Reasoning] = []
        self._texts: list[list[str]] = []
        self.seals: dict[str, Seal] = {}
        self._call_ids = call_ids
        self._index: int | None = None

    @property
    def thoughts(self) -> list[Reasoning]:
        """All of them, whole."""
        replace = msgspec.structs.replace
        return [replace(each, text="".join(texts)) for each, texts in zip(self._thoughts, self._texts, strict=True)]

    def say(self, text: str) -> None:
        """A thought of which there is nothing but its text."""
        self._thoughts.append(Reasoning())
        self._texts.append([text])

    def add(self, detail: _Detail) -> None:
        if detail.encrypted is not None and not detail.text and detail.id in self._call_ids:
            self.seals[detail.id] = detail.encrypted
            return
        if self._continues(detail):
            last = self._thoughts[-1]
            self._texts[-1].append(detail.text)
            self._thoughts[-1] = msgspec.structs.replace(
                last,
                signature=last.signature or detail.signature,
                encrypted=last.encrypted or detail.encrypted,
                id=last.id or detail.id,
            )
        elif detail.text or detail.signature or detail.encrypted:
            self._texts.append([detail.text])
            self._thoughts.append(
                Reasoning(
                    summary=detail.summary,
                    signature=detail.signature,
                    encrypted=detail.encrypted,
                    id=detail.id,
                )
            )
        self._index = detail.index

    def _continues(self, detail: _Detail) -> bool:
        """Whether it says more of the thought before it; redacted thinking is a block of its own."""
        if not self._thoughts or (detail.index is not None and self._index not in (None, detail.index)):
            return False
        last = self._thoughts[-1]
        if last.id and detail.id and last.id != detail.id:
            return False
        if detail.text:
            # Text that was kept chunk by chunk, as it came in a stream.
            return detail.index is not None and self._index == detail.index and not (last.signature or last.encrypted)
        if detail.encrypted is not None:
            return last.encrypted is None and detail.encrypted.maker != "anthropic"
        return detail.signature is not None and last.signature is None


def _detail(given: Members) -> _Detail:
    kind = given.text("type") or ""
    maker = vocabulary.MAKER_OF_FORMAT.get(given.text("format") or "", "other")
    if kind in ("thinking", "redacted_thinking"):
        maker = "anthropic"
    summary = given.text("summary")
    signature, data = given.text("signature"), given.text("data")
    text = given.text("text") or given.text("thinking") or summary or ""
    return _Detail(
        text=text,
        summary=bool(summary),
        signature=origin.read(signature or "", maker),
        encrypted=origin.read(data or "", maker),
        id=given.text("id") or "",
        index=given.integer("index"),
    )
