"""The smaller top-level sections, most of them accepted and not served."""

from __future__ import annotations

from typing import Annotated, Literal, Union

from msgspec import Meta

from .fields import Count, Flag, NotEmpty, Positive, Section, Strings, Text, doc, ours
from .secret import Secret, Unread

LogLevel = Literal["silent", "fatal", "error", "warn", "info", "debug", "trace"]
AutoFlag = Union[bool, Literal["auto"]]


class ShellEnv(Section, frozen=True, kw_only=True):
    """Reading of API keys from a login shell."""

    enabled: Flag = None
    timeout_ms: Count | None = None


class Env(Section, frozen=True, kw_only=True, forbid_unknown_fields=False):
    """Variables for ``${}`` and API keys; other keys of the block are variables too."""

    vars: Annotated[
        dict[str, Secret], doc("by name; those of the process come first")
    ] = {}
    shell_env: ShellEnv | None = None


class Logging(Section, frozen=True, kw_only=True):
    """The log: a file, and the console."""

    level: Annotated[LogLevel, doc("the least that goes to the file")] = "info"
    file: Annotated[Text, doc("where, instead of the logs folder of the state")] = None
    console_level: Annotated[LogLevel, doc("the least that goes to stderr")] = "info"
    console_style: Annotated[
        Literal["pretty", "compact", "json"] | None,
        doc("of stderr; pretty on a terminal and json elsewhere"),
    ] = None
    redact_sensitive: Annotated[
        Literal["off", "tools"], doc("off masks only secrets that are known")
    ] = "tools"
    redact_patterns: Annotated[
        Strings | None, doc("regular expressions of what to mask")
    ] = None
    levels: Annotated[
        dict[str, LogLevel],
        ours("levels of parts of the program by dotted name, such as moltbot_gw.http"),
    ] = {}
    conversation: Annotated[
        bool, ours("log also what may quote a conversation: others' error texts")
    ] = False


class AuthProfile(Section, frozen=True, kw_only=True):
    """One credential that the original keeps beside the configuration."""

    provider: str
    mode: Literal["api_key", "oauth", "token"]
    email: Text = None


Hours = Annotated[float, Meta(gt=0, le=8784)]


class Cooldowns(Section, frozen=True, kw_only=True):
    """How long a provider that failed is left alone, while another can be asked."""

    billing_backoff_hours: Annotated[
        Hours, doc("after its account was found empty; doubled each time")
    ] = 5.0
    billing_backoff_hours_by_provider: Annotated[
        dict[str, Hours], doc("instead of it, for some providers")
    ] = {}
    billing_max_hours: Annotated[Hours, doc("the longest of these")] = 24.0
    failure_window_hours: Annotated[
        Hours, doc("without a failure, until the next one counts as the first")
    ] = 24.0


class Auth(Section, frozen=True, kw_only=True):
    """The order of the original's credentials, and what follows on failures."""

    profiles: dict[str, AuthProfile] | None = None
    order: dict[str, Strings] | None = None
    cooldowns: Cooldowns = Cooldowns()


QueueMode = Literal[
    "steer",
    "followup",
    "collect",
    "steer-backlog",
    "steer+backlog",
    "queue",
    "interrupt",
]


class Queue(Section, frozen=True, kw_only=True):
    """Messages that come during a run."""

    mode: QueueMode | None = None
    by_channel: dict[str, QueueMode] | None = None
    debounce_ms: Count | None = None
    debounce_ms_by_channel: dict[str, Count] | None = None
    cap: Positive | None = None
    drop: Literal["old", "new", "summarize"] | None = None


class Messages(Section, frozen=True, kw_only=True):
    """Chat messages."""

    queue: Queue | None = None
    response_prefix: Text = None
    message_prefix: Text = None
    group_chat: Unread | None = None
    inbound: Unread | None = None
    ack_reaction: Text = None
    ack_reaction_scope: Text = None
    remove_ack_after_reply: Flag = None
    tts: Unread | None = None


class Commands(Section, frozen=True, kw_only=True):
    """Slash commands."""

    native: AutoFlag | None = None
    native_skills: AutoFlag | None = None
    text: Flag = None
    bash: Flag = None
    bash_foreground_ms: Count | None = None
    config: Flag = None
    debug: Flag = None
    restart: Flag = None
    use_access_groups: Flag = None


class Assistant(Section, frozen=True, kw_only=True):
    """The assistant in the browser pages."""

    name: Annotated[
        Annotated[str, Meta(max_length=50)] | None,
        doc("instead of the agents' own"),
    ] = None
    avatar: Annotated[
        Annotated[str, Meta(max_length=200)] | None,
        doc("instead of the agents' own"),
    ] = None


class Ui(Section, frozen=True, kw_only=True):
    """The looks of the browser pages."""

    seam_color: Text = None
    assistant: Assistant | None = None


class Peer(Section, frozen=True, kw_only=True):
    """Whom a binding is about."""

    kind: Literal["dm", "group", "channel"]
    id: str


class Match(Section, frozen=True, kw_only=True):
    """What a binding is about."""

    channel: str
    account_id: Text = None
    peer: Peer | None = None
    guild_id: Text = None
    team_id: Text = None


class Binding(Section, frozen=True, kw_only=True):
    """Which agent answers on a channel."""

    agent_id: NotEmpty
    match: Match


class Hooks(Section, frozen=True, kw_only=True):
    """Webhooks."""

    enabled: Flag = None
    path: Text = None
    token: Secret | None = None
    max_body_bytes: Positive | None = None
    presets: Strings | None = None
    transforms_dir: Text = None
    mappings: Unread | None = None
    gmail: Unread | None = None
    internal: Unread | None = None


class Update(Section, frozen=True, kw_only=True):
    """The original's updates of itself."""

    channel: Literal["stable", "beta", "dev"] | None = None
    check_on_start: Flag = None


class WideArea(Section, frozen=True, kw_only=True):
    """Discovery over DNS."""

    enabled: Flag = None


class Mdns(Section, frozen=True, kw_only=True):
    """Discovery in the local network."""

    mode: Literal["off", "minimal", "full"] | None = None


class Discovery(Section, frozen=True, kw_only=True):
    """How clients find the gateway."""

    wide_area: WideArea | None = None
    mdns: Mdns | None = None


class CanvasHost(Section, frozen=True, kw_only=True):
    """The canvas server."""

    enabled: Flag = None
    root: Text = None
    port: Positive | None = None
    live_reload: Flag = None
