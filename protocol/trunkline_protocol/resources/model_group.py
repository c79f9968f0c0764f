"""ModelGroup: public model names that belong together, and the targets that can serve them."""

from decimal import Decimal
from typing import Annotated, ClassVar, Final, Literal, TypeAlias

from pydantic import BeforeValidator, Field

from trunkline_protocol.accounts import Dialect
from trunkline_protocol.resources.formats import (
    DecimalNumber,
    DnsLabel,
    DnsSubdomain,
    ModelGlob,
    NumberName,
    ParameterName,
    Word,
)
from trunkline_protocol.resources.metadata import Namespaces, ObjectMeta
from trunkline_protocol.resources.rules import Block, FreeForm, Items, Rule

DialectName: TypeAlias = Literal[
    "OpenAIChat",
    "OpenAIResponses",
    "OpenAIEmbeddings",
    "AnthropicMessages",
    "GeminiGenerate",
    "GeminiEmbed",
    "BedrockConverse",
]
"""The wire formats, as users write them."""

_FreeForm: TypeAlias = Annotated[dict[str, object], FreeForm(64)]
_Tokens: TypeAlias = Annotated[int, Field(ge=1, le=1_000_000_000)]


class Access(Block):
    """Keys that may use the models of a group."""

    groups: Annotated[tuple[Word, ...], Items(32, at_least=1)] = Field(
        ("default",), description="Keys in one of these groups …"
    )
    namespaces: Namespaces | None = Field(
        None, description="… that live in one of these namespaces. Default: the namespace of the ModelGroup."
    )


class CredentialRef(Block):
    """A ProviderCredential."""

    name: DnsSubdomain = Field(description="Name of the ProviderCredential.")
    namespace: DnsLabel | None = Field(
        None,
        description="Its namespace, where that is another one; its `allowedNamespaces` must admit this one. Default: "
        "the namespace of the ModelGroup.",
    )


class Rename(Block):
    """A parameter that is sent under another name."""

    from_: ParameterName = Field(alias="from", description="What it is called in the request.")
    to: ParameterName = Field(description="What it is called upstream.")


class Clamp(Block):
    """Bounds of a number."""

    rules: ClassVar = (
        Rule(
            cel="has(self.min) || has(self.max)",
            check=lambda clamp: clamp.min is not None or clamp.max is not None,
            message="give min, max or both",
        ),
        Rule(
            cel="!has(self.min) || !has(self.max) || double(self.min) <= double(self.max)",
            check=lambda clamp: clamp.min is None or clamp.max is None or Decimal(clamp.min) <= Decimal(clamp.max),
            message="min must not be greater than max",
            field=".min",
        ),
    )

    name: NumberName = Field(description="Which number.")
    min: DecimalNumber | None = Field(None, description='What is smaller becomes this, such as `"0"`.')
    max: DecimalNumber | None = Field(None, description='What is greater becomes this, such as `"0.999"`.')


class Parameters(Block):
    """What is changed in requests to a target.

    Names are those of OpenAI's chat completions, whatever the dialect; what begins with `/` is a JSON Pointer into the
    body as the upstream gets it.
    """

    defaults: _FreeForm = Field({}, description="Set where the request does not say it: name to value.")
    overrides: _FreeForm = Field({}, description="Set whatever the request says: name to value.")
    drop: Annotated[tuple[ParameterName, ...], Items(32)] = Field((), description="Never sent.")
    rename: Annotated[tuple[Rename, ...], Items(32)] = Field((), description="Sent under another name.")
    clamp: Annotated[tuple[Clamp, ...], Items(32, key="name")] = Field((), description="Numbers that have bounds.")


class Capabilities(Block):
    """What the model can do. What is not said is taken from the table of known models; else it is not known."""

    context_window: _Tokens | None = Field(None, description="Tokens that input and output may have together.")
    max_output_tokens: _Tokens | None = Field(None, description="Tokens that an answer may have.")
    vision: bool | None = Field(None, description="It reads images.")
    audio: bool | None = Field(None, description="It hears.")
    tools: bool | None = Field(None, description="It calls tools.")
    json_schema: bool | None = Field(None, description="It answers in JSON that fits a schema.")
    reasoning: bool | None = Field(None, description="It thinks before it answers.")
    embeddings: bool | None = Field(None, description="It makes embeddings.")


class Target(Block):
    """One upstream model at one account."""

    name: DnsLabel = Field(description="Name of the target, for status, logs, metrics and `x-trunkline-target`.")
    credential_ref: CredentialRef = Field(description="The account that serves it.")
    model: ModelGlob = Field(
        description="The provider's name of the model. A `*` in it becomes what the `*` of the public name matched."
    )
    weight: Annotated[int, Field(ge=0, le=1_000_000)] = Field(
        1, description="Its share of the requests, relative to the targets of the same priority. 0: none."
    )
    priority: Annotated[int, Field(ge=0, le=100)] = Field(
        0, description="Targets of priority 0 are tried first, then 1, and so on."
    )
    dialect: DialectName | None = Field(
        None,
        description="What is spoken to the provider. Default: the caller's own dialect where the provider speaks it, "
        "else the provider's first.",
    )
    parameters: Parameters | None = Field(
        None,
        description="What is changed in requests. Names are those of OpenAI's chat completions, whatever the dialect; "
        "what begins with `/` is a JSON Pointer into the body that is sent.",
    )
    capabilities: Capabilities | None = Field(
        None, description="What the model can do, where the table of known models does not say it or is wrong."
    )


class ModelGroupSpec(Block):
    """Which models, for whom, served by what."""

    rules: ClassVar = (
        Rule(
            cel="!self.targets.exists(t, t.model.contains('*'))"
            " || (has(self.models) && self.models.all(m, m.contains('*')))",
            check=lambda spec: (
                not any("*" in target.model for target in spec.targets)
                or (bool(spec.models) and all("*" in model for model in spec.models))
            ),
            message="a target's model may hold '*' only where each of models holds one to take its place: move the "
            "other names to a ModelGroup of their own",
            field=".targets",
        ),
    )

    models: Annotated[tuple[ModelGlob, ...], Items(64, at_least=1)] | None = Field(
        None,
        description="Public names of the models, as clients send them: exact, or with one `*` for any characters. "
        "Default: the name of the ModelGroup.",
    )
    display_name: Annotated[str, Field(max_length=253)] | None = Field(
        None, description="Name of the models for people, shown where models are listed."
    )
    description: Annotated[str, Field(max_length=1024)] | None = Field(
        None, description="What the models are good for, shown where models are listed."
    )
    visibility: Literal["Public", "Internal"] = Field(
        "Public",
        description="`Public`: called by name and listed. `Internal`: used by rules and fallbacks of policies only.",
    )
    access: Annotated[tuple[Access, ...], Items(32, at_least=1)] | None = Field(
        None,
        description="Who may call the models: a key is let in by the first entry that names one of its groups and "
        "admits its namespace. Default: keys in the group `default` of the same namespace.",
    )
    targets: Annotated[tuple[Target, ...], Items(64, at_least=1, key="name")] = Field(
        description="What can serve the models. When one fails, another is tried."
    )


DIALECTS: Final[dict[DialectName, Dialect]] = {
    "OpenAIChat": "openai_chat",
    "OpenAIResponses": "openai_responses",
    "OpenAIEmbeddings": "openai_embeddings",
    "AnthropicMessages": "anthropic_messages",
    "GeminiGenerate": "gemini_generate",
    "GeminiEmbed": "gemini_embed",
    "BedrockConverse": "bedrock_converse",
}
"""The wire formats as users write them → as the registry and the table do."""


class ModelGroup(Block):
    """Public model names that belong together, and the targets that can serve them."""

    api_version: Literal["trunkline.dev/v1alpha1"]
    kind: Literal["ModelGroup"]
    metadata: ObjectMeta
    spec: ModelGroupSpec = Field(description="Which models, for whom, served by what.")
    status: Annotated[None, BeforeValidator(lambda _: None)] = Field(None, exclude=True, repr=False)
