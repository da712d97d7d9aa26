"""Strict loading of a Moltbot configuration into frozen values.

`load_config` is the way in.  Everything that it returns is checked: nobody after it
looks at a raw tree, a path with ``~``, or a ``${VAR}``.  `ConfigFile` shows and edits
the file itself.
"""

from __future__ import annotations

from .duration import parse_duration
from .environ import load_environ
from .file import ConfigFile, find_config_file, read_snapshot
from .issues import ConfigError, Issue
from .keynames import is_secret_name
from .keypath import MISSING, KeyPathError, get_at, parse_key_path
from .load import LoadedConfig, load_config
from .logpatterns import compile_pattern
from .model import Config
from .model_agents import (
    DEFAULT_MODEL,
    AgentDefaults,
    AgentEntry,
    Agents,
    Identity,
    ModelChoice,
    ModelSettings,
    normalize_agent_id,
)
from .model_gateway import (
    ChatCompletions,
    ControlUi,
    Cors,
    Endpoints,
    Gateway,
    GatewayAuth,
    GatewayTls,
    Http,
    Images,
    Limits,
)
from .model_keys import AuthKey, KeyScope, TrustedProxy, parse_instant
from .model_others import Assistant, Auth, Cooldowns, Env, Logging
from .model_providers import Compat, Cost, ModelEntry, Models, ProviderEntry
from .model_session import Reset, ResetByType, Session
from .model_tools import AgentToAgent, WebFetch
from .networks import Networks
from .paths import config_path, expand_home, state_dir
from .providerkeys import key_variables
from .redaction import REDACTED
from .refusal import EditRefused
from .schema import json_schema, ui_hints
from .secret import Secret, Unread, decode_hook
from .secretfile import (
    GATEWAY_PASSWORD,
    GATEWAY_TOKEN,
    BadSecretFile,
    credential_files,
    read_secret,
)
from .snapshot import Snapshot, issues_to_wire

__all__ = [
    "load_config",
    "LoadedConfig",
    "ConfigError",
    "Issue",
    "Config",
    "Gateway",
    "GatewayAuth",
    "AuthKey",
    "KeyScope",
    "TrustedProxy",
    "parse_instant",
    "Networks",
    "GatewayTls",
    "Http",
    "Endpoints",
    "ChatCompletions",
    "Images",
    "ControlUi",
    "Cors",
    "Limits",
    "Agents",
    "AgentDefaults",
    "AgentEntry",
    "Identity",
    "ModelChoice",
    "ModelSettings",
    "DEFAULT_MODEL",
    "Models",
    "ProviderEntry",
    "ModelEntry",
    "Cost",
    "Compat",
    "Session",
    "Reset",
    "ResetByType",
    "AgentToAgent",
    "Auth",
    "Assistant",
    "Cooldowns",
    "WebFetch",
    "Env",
    "Logging",
    "Secret",
    "Unread",
    "read_secret",
    "BadSecretFile",
    "credential_files",
    "GATEWAY_TOKEN",
    "GATEWAY_PASSWORD",
    "decode_hook",
    "state_dir",
    "config_path",
    "load_environ",
    "expand_home",
    "normalize_agent_id",
    "parse_duration",
    "ConfigFile",
    "find_config_file",
    "read_snapshot",
    "Snapshot",
    "issues_to_wire",
    "EditRefused",
    "REDACTED",
    "json_schema",
    "ui_hints",
    "parse_key_path",
    "get_at",
    "MISSING",
    "KeyPathError",
    "key_variables",
    "is_secret_name",
    "compile_pattern",
]
