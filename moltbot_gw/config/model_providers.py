"""The ``models`` section: where models are served, and what each of them can do."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from .fields import Flag, NotEmpty, Positive, Seconds, Section, Strings, Text, doc, ours
from .secret import Secret

Api = Literal[
    "openai-completions",
    "openai-responses",
    "anthropic-messages",
    "google-generative-ai",
    "github-copilot",
    "bedrock-converse-stream",
]
Price = Annotated[float, Meta(ge=0)]


class Cost(Section, frozen=True, kw_only=True):
    """USD per million tokens."""

    input: Annotated[Price, doc("what is sent")] = 0.0
    output: Annotated[Price, doc("what is answered")] = 0.0
    cache_read: Annotated[Price, doc("what is found in the provider's cache")] = 0.0
    cache_write: Annotated[Price, doc("what is put there")] = 0.0


class Compat(Section, frozen=True, kw_only=True):
    """What a server understands; None means what is usual for its API."""

    supports_store: Annotated[Flag, doc("the field store")] = None
    supports_developer_role: Annotated[
        Flag, doc("the role developer instead of system")
    ] = None
    supports_reasoning_effort: Annotated[Flag, doc("the field reasoning_effort")] = None
    max_tokens_field: Annotated[
        Literal["max_completion_tokens", "max_tokens"] | None,
        doc("what its limit of an answer is called"),
    ] = None
    adaptive_thinking: Annotated[
        Flag,
        ours(
            "anthropic-messages: an effort instead of a budget; default: by the"
            " model's name"
        ),
    ] = None
    supports_tools: Annotated[
        Flag, ours("false: the model is offered no tools of its agent")
    ] = None


class ModelEntry(Section, frozen=True, kw_only=True):
    """One model of a provider."""

    id: Annotated[NotEmpty, doc("as the provider calls it")]
    name: Annotated[NotEmpty, doc("for people")]
    api: Annotated[Api | None, doc("default: the provider's")] = None
    reasoning: Annotated[bool, doc("it can think before it answers")] = False
    input: Annotated[
        tuple[Literal["text", "image"], ...], doc("what it can look at")
    ] = ("text",)
    cost: Cost = Cost()
    context_window: Annotated[Positive, doc("tokens")] = 200_000
    max_tokens: Annotated[Positive | None, doc("of one answer")] = None
    headers: Annotated[dict[str, Secret], doc("added to the provider's")] = {}
    compat: Compat = Compat()


class ProviderEntry(Section, frozen=True, kw_only=True):
    """One model service."""

    base_url: Annotated[NotEmpty, doc("where its API begins, as http://host:port/v1")]
    api_key: Annotated[Secret | None, doc("the key that it asks for")] = None
    auth: Annotated[
        Literal["api-key", "aws-sdk", "oauth", "token"] | None,
        doc("accepted; only keys are served"),
    ] = None
    api: Annotated[
        Api | None, doc("what it speaks; openai-completions unless said")
    ] = None
    headers: Annotated[dict[str, Secret], doc("sent with every request")] = {}
    auth_header: Annotated[
        Flag, doc("send apiKey as a bearer token whatever the API's custom is")
    ] = None
    models: Annotated[tuple[ModelEntry, ...], doc("what it serves")]
    connect_timeout_seconds: Annotated[Seconds, ours("until connected")] = 10.0
    idle_timeout_seconds: Annotated[
        Seconds, ours("between two pieces of an answer")
    ] = 120.0
    ca_file: Annotated[
        Text, ours("PEM of the authorities to trust instead of the system's")
    ] = None


class BedrockDiscovery(Section, frozen=True, kw_only=True):
    """Listing of the models on AWS."""

    enabled: Flag = None
    region: Text = None
    provider_filter: Strings | None = None
    refresh_interval: Annotated[int, Meta(ge=0)] | None = None
    default_context_window: Positive | None = None
    default_max_tokens: Positive | None = None


class Models(Section, frozen=True, kw_only=True):
    """All providers by their id."""

    mode: Annotated[
        Literal["merge", "replace"],
        doc("accepted; there is no list of built-in models to merge with"),
    ] = "merge"
    providers: Annotated[
        dict[str, ProviderEntry], doc("where models are asked for")
    ] = {}
    bedrock_discovery: BedrockDiscovery | None = None
