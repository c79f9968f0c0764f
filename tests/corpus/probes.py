"""One small request for each name of what can be lost of one: what the matrix of dialects is made of."""

from collections.abc import Mapping
from typing import Final

from corpus.content_probes import media_probes, tool_probes, turn_probes
from corpus.parameter_probes import parameter_probes

REQUESTS: Final = (*parameter_probes(), *turn_probes(), *media_probes(), *tool_probes())

NOT_PROBED: Final[Mapping[str, str]] = {
    "dimensions": "of embeddings",
    "encoding_format": "of embeddings",
    "task_type": "of embeddings",
    "title": "of embeddings",
    "token_input": "of embeddings: token ids as input",
    "count_estimated": "of token counts: a dialect without a count of its own has its count estimated",
    "anthropic-beta": "a header: values that a provider does not know are left out",
    "openai-beta": "a header: values that a provider does not know are left out",
}
"""Names that no request of a chat can show."""
