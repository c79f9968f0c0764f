"""Pictures behind URLs, for targets that take pictures but no URLs: found in a request, fetched, put in their place.

Once per request, whatever the number of targets; and only where whoever runs the gateway allows it, since it then
connects to where strangers say. What keeps that harmless is `upstream.images`.
"""

import asyncio
import base64
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from typing import Final, NamedTuple, TypeAlias

import msgspec

from trunkline_gateway import exchange
from trunkline_gateway.dialect import Target
from trunkline_gateway.errors import InvalidRequestError, UnsupportedFeatureError
from trunkline_gateway.upstream.images import Fetched

MAX_PICTURES: Final = 16
"""Of one request."""

MAX_BYTES: Final = 40 << 20
"""Of all pictures of one request; one alone has a bound of its own, see `upstream.images.MAX_BYTES`."""

Fetch: TypeAlias = Callable[[str], Awaitable[Fetched]]
"""As `upstream.images.Fetcher.fetch`: raises InvalidRequestError where there is no picture to be had."""

_BYTES_ONLY: Final = frozenset({"bedrock_converse"})
"""Dialects that have no words for a URL that anybody can fetch."""

_TOO_MANY: Final = (
    f"The model takes no URLs of images, and no more than {MAX_PICTURES} images are fetched for a request."
)
_TOO_LARGE: Final = f"The images behind the request's URLs are over {MAX_BYTES} bytes together."


class Picture(NamedTuple):
    """What was behind a URL."""

    media_type: str
    source: exchange.Inline


Pictures: TypeAlias = Mapping[str, Picture]
"""By URL."""


def are_wanted(dialect: str, target: Target) -> bool:
    """Whether a target that is spoken to in ``dialect`` takes pictures, but not their URLs."""
    if target.capabilities.vision is False:
        return False
    return dialect in _BYTES_ONLY or "no_image_urls" in target.quirks


def urls(request: exchange.Request) -> tuple[str, ...]:
    """Where the request's pictures are to be fetched, each place once. Buckets (``gs://``, ``s3://``) are none."""
    if not isinstance(request, exchange.ChatRequest):
        return ()
    return tuple(dict.fromkeys(url for turn in request.turns for part in turn.parts for url in _urls_of(part)))


def inlined(request: exchange.Request, found: Pictures) -> exchange.Request:
    """The same request with ``found`` in the place of URLs."""
    if not isinstance(request, exchange.ChatRequest):
        return request
    turns = []
    for turn in request.turns:
        parts = tuple([_with_pictures(part, found) for part in turn.parts])
        changed = any(new is not old for new, old in zip(parts, turn.parts, strict=True))
        turns.append(msgspec.structs.replace(turn, parts=parts) if changed else turn)
    return msgspec.structs.replace(request, turns=tuple(turns))


async def fetch_all(places: Sequence[str], fetch: Fetch) -> Pictures:
    """Fetch what is behind ``places``, side by side.

    Raises:
        UnsupportedFeatureError: One cannot be had, or they are too many, or too large together. A target that takes
            URLs may still be told them.
    """
    if len(places) > MAX_PICTURES:
        raise _refusal(_TOO_MANY)
    left = MAX_BYTES

    async def one(place: str) -> Picture:
        nonlocal left
        picture = await fetch(place)
        left -= len(picture.data)
        if left < 0:
            raise _refusal(_TOO_LARGE)
        return Picture(picture.media_type, exchange.Inline(base64.b64encode(picture.data).decode("ascii")))

    tasks = [asyncio.ensure_future(one(place)) for place in places]
    try:
        return dict(zip(places, await asyncio.gather(*tasks), strict=True))
    except InvalidRequestError as failure:
        raise _refusal(failure.message) from failure
    finally:
        for task in tasks:
            task.cancel()


def _urls_of(part: exchange.Part) -> Iterator[str]:
    if isinstance(part, exchange.Image):
        url = _place(part)
        if url is not None:
            yield url
    elif isinstance(part, exchange.ToolResult):
        for each in part.content:
            yield from _urls_of(each)


def _with_pictures(part: exchange.Part, found: Pictures) -> exchange.Part:
    if isinstance(part, exchange.Image):
        return _with_picture(part, found)
    if isinstance(part, exchange.ToolResult) and any(isinstance(each, exchange.Image) for each in part.content):
        content = tuple(
            [_with_picture(each, found) if isinstance(each, exchange.Image) else each for each in part.content]
        )
        return msgspec.structs.replace(part, content=content)
    return part


def _with_picture(image: exchange.Image, found: Pictures) -> exchange.Image:
    url = _place(image)
    picture = None if url is None else found.get(url)
    if picture is None:
        return image
    return msgspec.structs.replace(image, source=picture.source, media_type=picture.media_type)


def _place(image: exchange.Image) -> str | None:
    """The URL, if it is one that anybody can fetch."""
    source = image.source
    return source.url if isinstance(source, exchange.Url) and source.url[:8].lower().startswith(_WEB) else None


_WEB: Final = ("http://", "https://")


def _refusal(message: str) -> UnsupportedFeatureError:
    return UnsupportedFeatureError(message, param="image_url", code="image_not_fetched")
