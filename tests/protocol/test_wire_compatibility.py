"""What a newer or older peer says must not break us: numbers and meanings that are fixed for ever."""

from collections.abc import Mapping
from typing import Final

from google.protobuf.message import Message

from trunkline_protocol.v1 import routing_pb2 as pb

TYPES = {
    "TYPE_UNSPECIFIED": 0,
    "TYPE_ROUTE": 1,
    "TYPE_POLICY": 2,
    "TYPE_UPSTREAM": 3,
    "TYPE_KEY": 4,
    "TYPE_USAGE_POLICY": 5,
    "TYPE_SECRET": 6,
}

FIELDS: Final[Mapping[type[Message], str]] = {
    pb.GatewayMessage: "hello=1 ack=2 report=3",
    pb.OperatorMessage: "update=1",
    pb.Source: "ref=1 revision=2",
    pb.Resource: "type=1 name=2 version=3 sources=4 min_reader=5 body=6 held=7",
    pb.Route: (
        "group=1 models=2 internal=3 access=4 targets=5 display_name=6 description=7 created=8 namespace=9"
        " exact_only=10 policy=11"
    ),
    pb.Upstream: (
        "credential=1 provider=2 base_url=3 proxy_url=4 ca=5 headers=6 auth_header=7 auth_scheme=8 dialects=9 keys=10"
        " direct_models=11 direct_namespaces=12 in_process=13 route_namespaces=14 spoken=15 quirks=16 beta_headers=17"
        " pinnable=18"
    ),
    pb.Spoken: "dialect=1 base_url=2 paths=3 auth_header=4 auth_scheme=5 headers=6",
    pb.Target: ("name=1 upstream=2 model=3 weight=4 priority=5 dialect=6 parameters=7 capabilities=8 policy=9"),
    pb.Parameters: "defaults=1 overrides=2 drop=3 rename=4 clamp=5",
    pb.Rename: "name=1 to=2",
    pb.Clamp: "name=1 min=2 max=3",
    pb.Capabilities: (
        "context_window=1 max_output_tokens=2 vision=3 audio=4 tools=5 json_schema=6 reasoning=7 embeddings=8"
    ),
    pb.Policy: "lossy=1 unsupported_parameters=2",
    pb.Removal: "type=1 name=2 sources=3",
    pb.Update: "nonce=1 table_version=2 resources=3 removals=4 more=5 marks=6",
    pb.Hello: "node=1 reader=2 held=3",
    pb.Node: "name=1 instance=2 version=3",
    pb.Held: "type=1 name=2 version=3",
    pb.Ack: "nonce=1 table_version=2 rejected=3 stale=4",
    pb.Reject: "type=1 name=2 version=3 reason=4 held_version=5",
    pb.Stale: "type=1 name=2 held_version=3",
    pb.NodeReport: "keys=1 draining=2",
    pb.KeyHealth: "upstream=1 key=2 state=3 reason=4 until=5",
    pb.PeerReport: "nonce=1 peer=2 table=3 gateways=4 left=5 keys=6 more=7 address=8 leaving=9",
    pb.PeerName: "id=1 type=2 name=3 version=4 kept=5",
    pb.PeerGateway: "node=1 counts=2 draining=3 connected_millis=4 behind=5 rejected=6 caught_up=7 afresh=8",
    pb.PeerReject: "id=1 reason=2",
    pb.PeerKeys: "upstream=1 keys=2",
    pb.PeerAck: "nonce=1 peers=2",
}


ENUMS = {
    pb.Lossy: {"LOSSY_UNSPECIFIED": 0, "LOSSY_ALLOW": 1, "LOSSY_WARN": 2, "LOSSY_REJECT": 3},
    pb.UnsupportedParameters: {
        "UNSUPPORTED_PARAMETERS_UNSPECIFIED": 0,
        "UNSUPPORTED_PARAMETERS_DROP": 1,
        "UNSUPPORTED_PARAMETERS_REJECT": 2,
    },
}


def test_types_keep_their_numbers() -> None:
    assert dict(pb.Type.items()) == TYPES


def test_choices_keep_their_numbers() -> None:
    for enum, expected in ENUMS.items():
        assert dict(enum.items()) == expected


def test_fields_keep_their_numbers() -> None:
    for message, expected in FIELDS.items():
        assert " ".join(f"{each.name}={each.number}" for each in message.DESCRIPTOR.fields) == expected


def test_unknown_fields_and_types_are_carried_through() -> None:
    newer = pb.Resource(type=pb.TYPE_KEY, name="a/k").SerializeToString() + b"\xa2\x06\x03new"
    assert pb.Resource.FromString(newer).SerializeToString() == newer
    assert pb.Resource.FromString(b"\x08\x63").type == 99
