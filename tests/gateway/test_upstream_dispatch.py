"""Which client a request goes to."""

import json

from trunkline_gateway.upstream.client import Endpoint, Request, RequestHead, Timeouts
from trunkline_gateway.upstream.dispatch import DispatchClient
from trunkline_gateway.upstream.echo.client import EchoClient


class Remote:
    def __init__(self):
        self.sent, self.pruned, self.closed = [], [], False

    async def send(self, request):
        self.sent.append(request)
        return "a response"

    async def prune(self, endpoints):
        self.pruned.append(endpoints)

    async def close(self):
        self.closed = True


async def test_in_process_endpoints_go_to_echo_and_others_out():
    remote = Remote()
    client = DispatchClient(remote, EchoClient(clock=lambda: 0.0))
    body = json.dumps({"model": "echo", "input": "x"}).encode()
    inside = Request(RequestHead(Endpoint("", in_process=True), "POST", "/embeddings", []), body, Timeouts())
    outside = Request(RequestHead(Endpoint("https://example.com/v1"), "POST", "/embeddings", []), body, Timeouts())
    assert (await client.send(inside)).status == 200
    assert await client.send(outside) == "a response"
    assert remote.sent == [outside]
    await client.prune([outside.head.endpoint])
    assert remote.pruned == [[outside.head.endpoint]]
    await client.close()
    assert remote.closed
