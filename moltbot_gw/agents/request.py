"""What an edge hands over to start a run."""

from __future__ import annotations

import msgspec

from moltbot_gw.agents.catalog import ModelRef
from moltbot_gw.messages import Message, SamplingOptions, ToolChoice, ToolSpec
from moltbot_gw.principals import OWNER, Principal
from moltbot_gw.stored import IdempotencyKey


class RunRequest(msgspec.Struct, frozen=True, kw_only=True):
    """What to run.

    *session_key* is as the client spells it and only echoed; *store_key* is the one
    that lanes and store go by.  An *anonymous* session is new and will be pruned.
    *new_session_id* (a UUID) is used if the session has to be begun.
    *extra_system* goes into the system prompt of this run and is not stored.  With a
    *key* the same request starts no second run; *timeout* (seconds), *thinking*,
    *model* (one that ``Catalog.allows``) and *session_id* replace the agent's and the
    session's own.

    The *tools* are the client's own: a call of one ends the run, and its result comes
    in another request.

    *echo* is the model as the client has named it, *wants_usage* says that its stream
    tells the usage; neither changes the run.

    The *principal* is who asked for it, and whose limits it counts against.

    A *nested* run is one that another run waits for; it takes no place among those
    that run at once.
    """

    run_id: str
    agent_id: str
    session_key: str
    store_key: str
    new_session_id: str
    anonymous: bool
    messages: tuple[Message, ...]
    extra_system: str = ""
    options: SamplingOptions = SamplingOptions()
    key: IdempotencyKey | None = None
    timeout: float | None = None
    session_id: str | None = None
    thinking: str | None = None
    model: ModelRef | None = None
    tools: tuple[ToolSpec, ...] = ()
    tool_choice: ToolChoice = "auto"
    nested: bool = False
    echo: str | None = None
    wants_usage: bool = False
    principal: Principal = OWNER
