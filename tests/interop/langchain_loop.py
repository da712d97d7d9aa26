"""What a user of LangChain writes: a model with two tools, asked until it has done.

Run as ``python langchain_loop.py BASE_URL TOKEN MODE``, in an environment of its own;
prints a line of JSON.  MODE is ``invoke``, ``stream`` or ``named``.
"""

from __future__ import annotations

import json
import sys
from typing import Any

from langchain_core.messages import HumanMessage
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI


@tool
def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


@tool
def multiply(a: int, b: int) -> int:
    """Multiply two numbers."""
    return a * b


def main(base_url: str, token: str, mode: str) -> None:
    """Ask, run the tools that are called, and ask again."""
    model = ChatOpenAI(
        base_url=base_url, api_key=token, model="moltbot", max_retries=0, timeout=20
    )
    tools = {one.name: one for one in (add, multiply)}
    free = model.bind_tools(list(tools.values()))
    bound = free
    if mode == "named":
        bound = model.bind_tools(list(tools.values()), tool_choice="add")
    messages: list[Any] = [HumanMessage("What are 2 + 3 and 2 * 3?")]
    called = []
    for _ in range(5):
        answer = ask(bound, messages, streamed=mode == "stream")
        messages.append(answer)
        if not answer.tool_calls:
            break
        called += [[call["name"], call["args"]] for call in answer.tool_calls]
        messages += [tools[call["name"]].invoke(call) for call in answer.tool_calls]
        bound = free
    usage = answer.usage_metadata
    print(json.dumps({"called": called, "text": answer.text, "usage": dict(usage)}))


def ask(bound: Any, messages: list[Any], *, streamed: bool) -> Any:
    """Return the model's answer, put together by LangChain where it is streamed."""
    if not streamed:
        return bound.invoke(messages)
    whole = None
    for piece in bound.stream(messages, stream_usage=True):
        whole = piece if whole is None else whole + piece
    return whole


if __name__ == "__main__":
    main(*sys.argv[1:])
