"""What a request says, whichever dialect it is in: read from plain JSON by the providers' references.

The sheet that `say` gives is the same for two requests that mean the same. It is what requests are compared by: those
that a codec wrote with those that it read, and with those that somebody else wrote for the same case.

What is made equal here, because dialects differ in it and models do not:
- White space between and within texts: dialects join parts with or without line feeds.
- Neighbouring turns of one role are one turn; system turns at the front are the system prompt.
- Ids of calls are numbers in the order of the calls; results refer to those (to the tool's name, where there is no id).
- Arguments and schemas in canonical JSON; types of schemas in small letters, ``nullable`` as a list of types.
- Thinking is on, off or not spoken of: words, budgets and levels are turned into each other by tables.
- What is said though it is the default: one answer, parallel calls, any tool or none, the usual tier.
- A tool that takes free text takes an object with one text, where there are no such tools.
- Who the end user is, under either of OpenAI's names.
"""

from collections.abc import Callable, Mapping
from typing import Final

from corpus.saying_blocks import say_anthropic_messages, say_bedrock_converse
from corpus.saying_gemini import say_gemini_generate
from corpus.saying_openai import say_openai_chat, say_openai_responses
from corpus.sheets import Sheet, without_defaults

_SAY: Final[Mapping[str, Callable[[Mapping[str, object]], Sheet]]] = {
    "openai_chat": say_openai_chat,
    "openai_responses": say_openai_responses,
    "anthropic_messages": say_anthropic_messages,
    "gemini_generate": say_gemini_generate,
    "bedrock_converse": say_bedrock_converse,
}


def say(dialect: str, body: Mapping[str, object]) -> Sheet:
    """The sheet of a request."""
    return without_defaults(_SAY[dialect](body))
