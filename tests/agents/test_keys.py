from __future__ import annotations

import pytest

from moltbot_gw.agents.keys import (
    MAX_KEY_CHARS,
    BadSessionKey,
    anonymous_key,
    check_key,
    split_key,
    store_key,
    user_key,
)


@pytest.mark.parametrize(
    "key",
    [
        "main",
        "global",
        "agent:main:main",
        "agent:ops:openai-user:eve",
        "Grüße 語",
        "x" * MAX_KEY_CHARS,
        "mysubagent:x",
        "agent:subagent:x",
        "subagent",
        "agent:main:x:cron:y",
    ],
)
def test_key_that_a_client_may_name(key: str) -> None:
    check_key(key)


@pytest.mark.parametrize(
    "key",
    [
        "subagent:x",
        "SubAgent:x",
        "cron:x",
        "acp:x",
        "agent:main:subagent:x",
        "agent:main:Cron:x",
        "agent:main:ACP:x",
        "agent:main::subagent:x",
        "Agent:Main:Subagent:x",
        "agent:no such agent:cron:x",
        "agent:main: cron:x",
        ":acp:x",
    ],
)
def test_reserved_namespace_is_refused_in_every_spelling(key: str) -> None:
    with pytest.raises(BadSessionKey, match="reserved"):
        check_key(key)


@pytest.mark.parametrize("key", ["", "x" * (MAX_KEY_CHARS + 1)])
def test_key_of_bad_length_is_refused(key: str) -> None:
    with pytest.raises(BadSessionKey, match="1 to 512"):
        check_key(key)


@pytest.mark.parametrize("key", ["a\nb", "a\x00", "a\u2028", "a\x7f", "a\u200b"])
def test_unprintable_key_is_refused(key: str) -> None:
    with pytest.raises(BadSessionKey, match="printable"):
        check_key(key)


@pytest.mark.parametrize(
    ("key", "parts"),
    [
        ("agent:main:a:b", ("main", "a:b")),
        ("agent:main:", (None, "agent:main:")),
        ("agent:Main:a", ("main", "a")),
        ("agent::a", (None, "agent::a")),
        ("main", (None, "main")),
    ],
)
def test_key_splits_into_agent_and_rest(
    key: str, parts: tuple[str | None, str]
) -> None:
    assert split_key(key) == parts


@pytest.mark.parametrize(
    ("key", "stored"),
    [
        ("x", "agent:ops:x"),
        ("main", "agent:ops:main"),
        ("agent:main:x", "agent:main:x"),
        ("global", "global"),
        ("unknown", "unknown"),
    ],
)
def test_store_knows_one_spelling(key: str, stored: str) -> None:
    assert store_key(key, "ops") == stored


@pytest.mark.parametrize(
    ("key", "stored"),
    [("main", "global"), ("agent:a:main", "global"), ("x", "agent:ops:x")],
)
def test_main_session_is_the_global_one_in_the_global_scope(
    key: str, stored: str
) -> None:
    assert store_key(key, "ops", global_scope=True) == stored


def test_user_has_one_session_whatever_the_case() -> None:
    assert user_key("main", "Alice") == "agent:main:openai-user:alice"


def test_anonymous_key_names_its_agent() -> None:
    assert anonymous_key("main", "1-2") == "agent:main:openai:1-2"
