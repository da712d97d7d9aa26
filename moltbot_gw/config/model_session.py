"""The ``session`` section: which requests share a conversation, and for how long."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from .duration import parse_duration
from .fields import Positive, Section, Strings, Text, doc, ours
from .issues import BadField
from .secret import Unread


class Reset(Section, frozen=True, kw_only=True):
    """When a conversation starts anew."""

    mode: Annotated[
        Literal["daily", "idle"] | None, doc("daily unless only idleMinutes is said")
    ] = None
    at_hour: Annotated[int, Meta(ge=0, le=23), doc("local time, for daily")] = 4
    idle_minutes: Annotated[Positive | None, doc("without a message, for idle")] = None


class ResetByType(Section, frozen=True, kw_only=True):
    """Different rules for kinds of conversation."""

    dm: Reset | None = None
    group: Reset | None = None
    thread: Reset | None = None


class SendMatch(Section, frozen=True, kw_only=True):
    """The conversations that a rule is about."""

    channel: Annotated[Text, doc("name of a channel")] = None
    chat_type: Annotated[
        Literal["direct", "group", "channel"] | None, doc("kind of conversation")
    ] = None
    key_prefix: Annotated[Text, doc("how its session key begins")] = None


class SendRule(Section, frozen=True, kw_only=True):
    """One rule of the send policy."""

    action: Annotated[Literal["allow", "deny"], doc("what becomes of a message")]
    match: SendMatch | None = None


class SendPolicy(Section, frozen=True, kw_only=True):
    """Where agents may send messages on their own."""

    default: Annotated[
        Literal["allow", "deny"] | None, doc("where no rule says otherwise")
    ] = None
    rules: Annotated[tuple[SendRule, ...], doc("the first that fits counts")] = ()


class PingPong(Section, frozen=True, kw_only=True):
    """Conversations between agents."""

    max_ping_pong_turns: Annotated[
        Annotated[int, Meta(ge=0, le=5)],
        doc("answers that two agents give each other in a row"),
    ] = 5


class Session(Section, frozen=True, kw_only=True):
    """Conversations of all agents."""

    scope: Annotated[
        Literal["per-sender", "global"], doc("global: one conversation for everybody")
    ] = "per-sender"
    dm_scope: Annotated[
        Literal["main", "per-peer", "per-channel-peer", "per-account-channel-peer"],
        doc("accepted; there are no channels here to keep apart"),
    ] = "main"
    identity_links: Annotated[
        dict[str, Strings], doc("one person's channel:peer ids, by name")
    ] = {}
    reset_triggers: Annotated[Strings, doc("messages that start anew")] = (
        "/new",
        "/reset",
    )
    idle_minutes: Annotated[
        Positive | None, doc("older form of an idle reset, without a reset block")
    ] = None
    reset: Reset | None = None
    reset_by_type: ResetByType | None = None
    reset_by_channel: Annotated[
        dict[str, Reset], doc("rules by the name of a channel, as webchat")
    ] = {}
    store: Annotated[Text, doc("file; may contain {agentId}")] = None
    main_key: Annotated[str, doc("always main, whatever the file says")] = "main"
    send_policy: SendPolicy | None = None
    agent_to_agent: PingPong | None = None
    typing_mode: Unread | None = None
    typing_interval_seconds: Unread | None = None
    anonymous_retention: Annotated[
        str, ours("how long a conversation without a name is kept, such as 30m or 7d")
    ] = "24h"

    def __post_init__(self) -> None:
        msgspec.structs.force_setattr(self, "main_key", "main")
        try:
            parse_duration(self.anonymous_retention)
        except ValueError as exc:
            raise BadField(("anonymousRetention",), str(exc)) from None

    @property
    def anonymous_retention_seconds(self) -> float:
        """`anonymous_retention` in seconds."""
        return parse_duration(self.anonymous_retention)
