"""Ids of a stream's events: places in the run's log, where a client can go on."""

from __future__ import annotations

import re

from moltbot_gw.agents.log import Position, RunLog
from moltbot_gw.errors import InvalidRequest
from moltbot_gw.events import RunEnded
from moltbot_gw.http.naming import OwnHeaders, find_header
from moltbot_gw.http.request import GatewayRequest
from moltbot_gw.wire.chat_response import MOST_END_RECORDS

_ID = re.compile(r"([0-9]{1,9}):([0-9]{1,9})")
_SWITCH = {None: False, "false": False, "true": True}


def wants_event_ids(own: OwnHeaders) -> bool:
    """Whether the client asks for ids (``x-moltbot-event-ids: true``).

    Nobody gets them unasked: a client with a parser of its own may know no other line
    than ``data:``.  Raises ``InvalidRequest`` for anything but true and false.
    """
    said = find_header(own, "event-ids")
    value = None if said is None else said.value.lower()
    if value not in _SWITCH:
        name = said.name if said else ""
        raise InvalidRequest(f"{name}: send true or false.", param=name)
    return _SWITCH[value]


def find_place(request: GatewayRequest, log: RunLog) -> tuple[Position, int]:
    """Return where the client goes on, and how many of the last records it has had.

    That is what ``Last-Event-ID`` says, else ``from`` in the query (an id or
    ``start``), else the start.  Raises ``InvalidRequest`` for what is no id of it.
    """
    name, value = _asked(request)
    if value == "start":
        return (0, 0), 0
    match = _ID.fullmatch(value)
    if match is None:
        raise InvalidRequest(f"{name}: this is no id of an event.", param=name)
    index, offset = int(match[1]), int(match[2])
    if log.holds((index, offset)):
        return (index, offset), 0
    is_end = index < len(log) and isinstance(log.entry(index), RunEnded)
    if is_end and offset < MOST_END_RECORDS:
        return (index, 0), offset
    raise InvalidRequest(f"{name}: this run has no event with this id.", param=name)


def _asked(request: GatewayRequest) -> tuple[str, str]:
    header = request.requestHeaders.getRawHeaders(b"Last-Event-ID", ())
    query = request.args.get(b"from", ())
    for name, values in (("last-event-id", header), ("from", query)):
        if len(values) > 1:
            raise InvalidRequest(f"{name}: send one.", param=name)
        if values and values[0]:
            return name, values[0].decode("ascii", "replace")
    return "from", "start"
