"""All methods of sessions."""

from __future__ import annotations

from moltbot_gw.ws.calls import Method
from moltbot_gw.ws.methods.session_patch import PatchParams, SessionPatch
from moltbot_gw.ws.methods.session_tools import SessionTools
from moltbot_gw.ws.methods.session_upkeep import (
    CompactParams,
    DeleteParams,
    ResetParams,
    SessionUpkeep,
)
from moltbot_gw.ws.methods.session_views import (
    ListParams,
    PreviewParams,
    ResolveParams,
    SessionViews,
)


def methods(*, tools: SessionTools) -> list[Method]:
    """Return the methods of this module."""
    views, upkeep = SessionViews(tools), SessionUpkeep(tools)
    patch = SessionPatch(tools).patch
    return [
        Method("sessions.list", "read", ListParams, views.list_sessions),
        Method("sessions.preview", "read", PreviewParams, views.preview),
        Method(
            "sessions.resolve", "admin", ResolveParams, views.resolve, advertised=False
        ),
        Method("sessions.patch", "admin", PatchParams, patch),
        Method("sessions.reset", "admin", ResetParams, upkeep.reset),
        Method("sessions.delete", "admin", DeleteParams, upkeep.delete, waits=True),
        Method("sessions.compact", "admin", CompactParams, upkeep.compact),
    ]
