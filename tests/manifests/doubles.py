"""One server that answers as each of the providers of the examples would, by the path that it is asked at."""

from __future__ import annotations

import re
from dataclasses import replace

from harness.answers import Answer
from harness.providers import anthropic_messages, gemini_generate
from harness.providers.script import Script
from harness.upstream import openai_like
from harness.wire import Request

_GEMINI = re.compile(r"/v1beta/models/([^/:]+):(generateContent|streamGenerateContent)")
_AZURE = re.compile(r"/openai(/v1|/deployments/[^/]+)(/[^?]*)(\?.*)?")


def any_provider(request: Request) -> Answer:
    """Answer in the dialect of the path; Azure's paths are those of OpenAI behind another prefix."""
    if request.method == "POST" and request.path == "/v1/messages":
        return anthropic_messages.answer(request, Script({}))
    if request.method == "POST" and (found := _GEMINI.fullmatch(request.path)):
        return gemini_generate.answer(request, Script({}), found[1], stream=found[2] != "generateContent")
    if found := _AZURE.fullmatch(request.target):
        return openai_like(replace(request, target=f"/v1{found[2]}"))
    return openai_like(request)
