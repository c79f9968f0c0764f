"""What Bedrock says went wrong, as an answer or as a message of a stream.

https://docs.aws.amazon.com/bedrock/latest/APIReference/CommonErrors.html
"""

from collections.abc import Mapping
from typing import Final

from trunkline_gateway.dialect import UpstreamError
from trunkline_gateway.dialects.bedrock_converse import reading
from trunkline_gateway.exchange import Failed

# By the exception's name without regard to case: streams write it with a small letter, bodies with a capital one.
STATUS: Final[Mapping[str, int]] = {
    "accessdeniedexception": 403,
    "expiredtokenexception": 403,
    "internalserverexception": 500,
    # The model failed and not what was asked of it: another try may help, as the message says.
    "modelerrorexception": 500,
    "modelnotreadyexception": 429,
    "modelstreamerrorexception": 500,
    "modeltimeoutexception": 408,
    "resourcenotfoundexception": 404,
    "servicequotaexceededexception": 429,
    "serviceunavailableexception": 503,
    "throttlingexception": 429,
    "unrecognizedclientexception": 403,
    "validationexception": 400,
}


def read_error(status: int, body: bytes) -> UpstreamError:
    """An error body, whatever it is. What kind of error it is stands in a header, and at times in ``__type``."""
    members = reading.members(body)
    message = reading.text(members.get("message")) or reading.text(members.get("Message"))
    kind = reading.text(members.get("__type")) or reading.text(members.get("code")) or ""
    # ``com.amazon.coral.service#UnrecognizedClientException`` or ``ValidationException:http://internal…``
    kind = kind.rpartition("#")[2].partition(":")[0]
    if not message and not members:
        message = body.decode("utf-8", "replace").strip()
    if status < 400:
        status = STATUS.get(kind.lower(), 500)
    return UpstreamError(status=status, message=message or kind or f"Status {status}.", type=kind, code=kind)


def failed(name: bytes, data: bytes) -> Failed:
    """A message that tells of a failure, as the event that it is."""
    kind = name.decode("utf-8", "replace")
    members = reading.members(data)
    status = STATUS.get(kind.lower(), 500)
    original = reading.count(members.get("originalStatusCode"))
    if original is not None and 400 <= original <= 599:
        status = original
    message = reading.text(members.get("message")) or reading.text(members.get("Message"))
    message = message or reading.text(members.get("originalMessage")) or kind or "The stream failed."
    return Failed(status=status, message=message, type=kind, code=kind)
