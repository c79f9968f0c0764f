"""VirtualKey: a key that Trunkline hands to a client."""

from typing import Annotated, ClassVar, Literal

from pydantic import BeforeValidator, Field

from trunkline_protocol.resources.formats import Cidr, GrantGlob, Time, Word
from trunkline_protocol.resources.metadata import ObjectMeta, SecretKeyRef
from trunkline_protocol.resources.rules import Block, Items, Pattern, Rule


class Owner(Block):
    """Whose key it is."""

    team: Word | None = Field(None, description="The team that the key belongs to.")
    user: Word | None = Field(None, description="The person or program that uses the key.")


class VirtualKeySpec(Block):
    """Whose key it is and what it may call."""

    rules: ClassVar = (
        Rule(
            cel="has(self.secretRef) != has(self.keyHash)",
            check=lambda spec: (spec.secret_ref is None) != (spec.key_hash is None),
            message="give either secretRef, where the key stands, or keyHash, its SHA-256, but not both",
        ),
    )

    secret_ref: SecretKeyRef | None = Field(None, description="Where the key stands.")
    key_hash: (
        Annotated[
            str,
            Field(max_length=71),
            Pattern(
                "^sha256:[0-9A-Fa-f]{64}$",
                "must be sha256: and the 64 hexadecimal digits that `printf %s KEY | sha256sum` prints",
            ),
        ]
        | None
    ) = Field(None, description="SHA-256 of the key, as `sha256:<hex>`, so that the key itself is in no cluster.")
    owner: Owner | None = Field(None, description="Whose key it is, for metrics and policies.")
    groups: Annotated[tuple[Word, ...], Items(32)] = Field(
        ("default",), description="Groups of the key. ModelGroups say in `access` which groups may use them."
    )
    models: Annotated[tuple[GrantGlob, ...], Items(64, at_least=1)] = Field(
        description="Public names that the key may call: exact, or with `*` for any characters; case does not matter. "
        "`credential:model` stands for models of an account itself."
    )
    expiration_time: Time | None = Field(
        None, description="When the key stops being accepted, in RFC 3339. Default: never."
    )
    state: Literal["Active", "Disabled"] = Field("Active", description="`Disabled`: refuse the key but keep it.")
    allowed_cidrs: Annotated[tuple[Cidr, ...], Items(32, at_least=1)] | None = Field(
        None,
        alias="allowedCIDRs",
        description="Addresses from which the key is accepted, such as `10.0.0.0/8`. Default: from anywhere.",
    )


class VirtualKey(Block):
    """A key that Trunkline hands to a client: whose it is, what it may call, when it ends."""

    api_version: Literal["trunkline.dev/v1alpha1"]
    kind: Literal["VirtualKey"]
    metadata: ObjectMeta
    spec: VirtualKeySpec = Field(description="Whose key it is and what it may call.")
    status: Annotated[None, BeforeValidator(lambda _: None)] = Field(None, exclude=True, repr=False)
