"""An answer costs the same whichever dialect it is read in, though they count cached tokens in different ways."""

import hypothesis
from hypothesis import strategies as st

from corpus import answers, codecs_here, sdks
from corpus.reading import Reading, Tokens
from trunkline_gateway import exchange

counts = st.integers(min_value=0, max_value=2**40)


@st.composite
def usages(draw: st.DrawFn) -> tuple[exchange.Usage, Tokens]:
    new, cached, cache_write, completion = (draw(counts) for _ in range(4))
    usage = exchange.Usage(
        prompt=new + cached + cache_write,
        completion=completion,
        total=new + cached + cache_write + completion,
        cached=cached,
        cache_write=cache_write,
        reasoning=draw(st.integers(min_value=0, max_value=completion)),
    )
    return usage, Tokens(new=new, cached=cached, cache_write=cache_write, completion=completion)


@hypothesis.given(usages())
@hypothesis.settings(deadline=None, max_examples=60)
def test_the_cost_survives_every_ingress(both: tuple[exchange.Usage, Tokens]) -> None:
    usage, tokens = both
    answer = exchange.Answer(
        id="answer",
        model="model",
        choices=(exchange.Choice(parts=(exchange.Text(text="hello"),), finish_reason="stop"),),
        usage=usage,
    )
    want = Reading(text="hello", finish="stop", tokens=tokens)
    decoded = answers.Decoded(answer, exchange.events_of(answer))
    for ingress in codecs_here.INGRESSES:
        assert not answers.differences(want, decoded, ingress)


@hypothesis.given(usages())
@hypothesis.settings(deadline=None, max_examples=60)
def test_the_cost_survives_there_and_back(both: tuple[exchange.Usage, Tokens]) -> None:
    """A gateway behind a gateway: what an ingress writes, the upstream side of the same dialect reads."""
    usage, _ = both
    answer = exchange.Answer(
        id="answer",
        model="model",
        choices=(exchange.Choice(parts=(exchange.Text(text="hello"),), finish_reason="stop"),),
        usage=usage,
    )
    for name in codecs_here.INGRESSES:
        encoded = codecs_here.encode_whole(name, answer)
        back = codecs_here.upstream(name).decode(encoded.body, codecs_here.asked())
        assert isinstance(back, exchange.Answer)
        assert back.usage is not None
        assert (back.usage.prompt, back.usage.completion) == (usage.prompt, usage.completion), name
        assert (back.usage.cached or 0) == usage.cached, name
        if "answer.usage_details" not in encoded.lost:
            assert (back.usage.cache_write or 0) == usage.cache_write, name
    assert sdks.WHOLE
