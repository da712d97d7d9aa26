"""The permissions of tools: each profile, group and stage beside what it comes to."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from moltbot_gw.agents.toolpolicy import ToolPolicies, Verdict
from moltbot_gw.config import Config, decode_hook

TOOLS = (
    "read",
    "write",
    "edit",
    "apply_patch",
    "exec",
    "process",
    "web_fetch",
    "web_search",
    "sessions_list",
    "sessions_history",
    "sessions_send",
    "sessions_spawn",
    "session_status",
    "agents_list",
    "image",
    "memory_search",
    "memory_get",
    "gateway",
    "cron",
    "message",
    "browser",
    "canvas",
    "nodes",
    "tts",
)
"""All tools of the original, as its documentation lists them."""

FS = "read write edit apply_patch"
WEB = "web_fetch web_search"
MEMORY = "memory_search memory_get"
SESSIONS = "sessions_list sessions_history sessions_send sessions_spawn session_status"
MOLTBOT = (
    f"browser canvas nodes cron message gateway agents_list {SESSIONS} {MEMORY} {WEB}"
    " image"
)
CODING = f"{FS} exec process {SESSIONS} {MEMORY} image"
MESSAGING = "message sessions_list sessions_history sessions_send session_status"
FULL = " ".join(TOOLS)
NOT_FOR_SUBAGENTS = f"{SESSIONS} {MEMORY} gateway agents_list cron"
SUB = "agent:a:subagent:6f1c"


def policies_of(
    tools: Any = None, own: Any = None, *, sandbox: Any = None, own_sandbox: Any = None
) -> ToolPolicies:
    """Return the policies of a configuration with one agent, ``a``."""
    agent: dict[str, Any] = {"id": "a"}
    agent |= {"tools": own} if own is not None else {}
    agent |= {"sandbox": own_sandbox} if own_sandbox is not None else {}
    tree: dict[str, Any] = {"agents": {"list": [agent]}}
    tree |= {"tools": tools} if tools is not None else {}
    if sandbox is not None:
        tree["agents"]["defaults"] = {"sandbox": sandbox}
    return ToolPolicies(msgspec.convert(tree, Config, dec_hook=decode_hook))


def allowed(
    policies: ToolPolicies,
    *,
    provider: str = "local",
    model: str = "m1",
    key: str | None = None,
) -> set[str]:
    """Return the tools that agent ``a`` has."""
    found = policies.allowed("a", provider, model, TOOLS, session_key=key)
    verdicts = policies.verdicts("a", provider, model, TOOLS, session_key=key)
    assert found == {one.name for one in verdicts if one.allowed}
    return set(found)


def names(text: str) -> set[str]:
    return set(text.split())


def without(text: str, taken: str) -> str:
    return " ".join(sorted(names(text) - names(taken)))


# -- profiles and groups


@pytest.mark.parametrize(
    ("profile", "expected"),
    [
        ("minimal", "session_status"),
        ("coding", CODING),
        ("messaging", MESSAGING),
        ("full", FULL),
    ],
)
@pytest.mark.parametrize("place", ["tools", "own"])
def test_a_profile_is_a_list(profile: str, expected: str, place: str) -> None:
    policies = policies_of(**{place: {"profile": profile}})
    assert allowed(policies) == names(expected)


@pytest.mark.parametrize(
    ("group", "members"),
    [
        ("group:fs", FS),
        ("group:runtime", "exec process"),
        ("group:web", WEB),
        ("group:memory", MEMORY),
        ("group:sessions", SESSIONS),
        ("group:ui", "browser canvas"),
        ("group:automation", "cron gateway"),
        ("group:messaging", "message"),
        ("group:nodes", "nodes"),
        ("group:moltbot", MOLTBOT),
    ],
)
def test_a_group_stands_for_its_members(group: str, members: str) -> None:
    # Whoever may run commands may patch files.
    patch = "apply_patch" if "exec" in members else ""
    assert allowed(policies_of({"allow": [group]})) == names(f"{members} {patch}")
    denying = policies_of({"profile": "full", "deny": [group]})
    assert allowed(denying) == names(without(FULL, members))


# -- one stage


@pytest.mark.parametrize(
    ("lists", "expected"),
    [
        ({"allow": ["read"]}, "read"),
        ({"allow": ["read", "write"], "deny": ["write"]}, "read"),
        ({"allow": ["read"], "deny": ["*"]}, ""),
        ({"allow": ["*"]}, FULL),
        ({"allow": ["*"], "deny": ["group:moltbot", "tts"]}, f"{FS} exec process"),
        ({"allow": ["web_*"]}, WEB),
        ({"allow": ["*_list"]}, "sessions_list agents_list"),
        ({"allow": ["s*s_*t"]}, "sessions_list"),
        ({"allow": ["**"]}, FULL),
        ({"allow": ["web.fetch", "read"]}, "read"),
        ({"allow": ["exec"]}, "exec apply_patch"),
        ({"allow": ["exec"], "deny": ["apply_patch"]}, "exec"),
        ({"allow": ["apply_patch"]}, "apply_patch"),
        ({"profile": "coding", "deny": ["exec"]}, without(CODING, "exec")),
        ({"allow": ["bash", "apply-patch"]}, "exec apply_patch"),
        ({"profile": "coding", "deny": ["Bash "]}, without(CODING, "exec")),
        ({"allow": ["READ", " Group:Web "]}, f"read {WEB}"),
        ({"allow": [], "profile": "full"}, FULL),
        ({"allow": [" "], "profile": "full"}, FULL),
        ({"allow": ["no_such_tool"], "profile": "full"}, FULL),
        (
            {"allow": ["no_such_tool"], "deny": ["exec"], "profile": "messaging"},
            MESSAGING,
        ),
        ({"allow": ["no_such_tool", "read"], "profile": "full"}, "read"),
        ({"allow": ["group:plugins"], "profile": "minimal"}, "session_status"),
        ({"profile": "minimal", "alsoAllow": ["read"]}, "session_status read"),
        (
            {"profile": "minimal", "alsoAllow": ["exec"], "deny": ["exec"]},
            "session_status apply_patch",
        ),
        ({"profile": "full", "alsoAllow": ["read"]}, FULL),
        ({"profile": "coding", "allow": ["read", "web_fetch"]}, "read"),
    ],
)
@pytest.mark.parametrize("place", ["tools", "own"])
def test_lists_of_one_place(lists: Any, expected: str, place: str) -> None:
    assert allowed(policies_of(**{place: lists})) == names(expected)


# -- the default


@pytest.mark.parametrize(
    ("tools", "own", "expected"),
    [
        (None, None, "session_status"),
        ({}, {}, "session_status"),
        ({"deny": ["exec"]}, None, "session_status"),
        ({"deny": ["session_status"]}, None, ""),
        (None, {"deny": ["exec"]}, "session_status"),
        ({"allow": []}, {"allow": []}, "session_status"),
        ({"allow": ["no_such_tool"]}, None, "session_status"),
        (None, {"allow": ["exce"]}, "session_status"),
        ({"alsoAllow": ["read"]}, None, "session_status read"),
        (None, {"alsoAllow": ["read"]}, "session_status read"),
        ({"exec": {"security": "full"}}, None, "session_status"),
        ({"byProvider": {"local": {"profile": "full"}}}, None, "session_status"),
        ({"byProvider": {"local": {"allow": ["read"]}}}, None, ""),
        ({"subagents": {"tools": {"allow": ["*"]}}}, None, "session_status"),
        ({"sandbox": {"tools": {"allow": ["*"]}}}, None, "session_status"),
        ({"allow": ["exec"]}, None, "exec apply_patch"),
        (None, {"allow": ["exec"]}, "exec apply_patch"),
        (None, {"profile": "messaging"}, MESSAGING),
    ],
)
def test_minimal_is_the_profile_of_who_says_nothing(
    tools: Any, own: Any, expected: str
) -> None:
    assert allowed(policies_of(tools, own)) == names(expected)


def test_an_agent_without_an_entry_has_what_all_have() -> None:
    policies = ToolPolicies(Config())
    assert policies.allowed("main", "p", "m", TOOLS) == {"session_status"}
    policies = policies_of({"allow": ["read"]}, {"deny": ["read"]})
    assert policies.allowed("other", "p", "m", TOOLS) == {"read"}
    assert policies.allowed("a", "p", "m", TOOLS) == frozenset()


# -- one stage after another


@pytest.mark.parametrize(
    ("tools", "own", "expected"),
    [
        # The agent's profile takes the place of the general one.
        ({"profile": "coding"}, {"profile": "messaging"}, MESSAGING),
        ({"profile": "minimal"}, {"profile": "coding"}, CODING),
        # Its alsoAllow, too; an empty one takes the other away.
        (
            {"profile": "minimal", "alsoAllow": ["read"]},
            {"alsoAllow": ["edit"]},
            "session_status edit",
        ),
        (
            {"profile": "minimal", "alsoAllow": ["read"]},
            {"alsoAllow": []},
            "session_status",
        ),
        (
            {"profile": "coding", "alsoAllow": ["tts"]},
            {"profile": "minimal"},
            "session_status tts",
        ),
        # Lists of both places count.
        ({"allow": ["group:fs"]}, {"allow": ["read", "exec"]}, "read apply_patch"),
        ({"allow": ["group:fs"]}, {"deny": ["write"]}, "read edit apply_patch"),
        ({"deny": ["exec"]}, {"allow": ["exec", "process"]}, "process apply_patch"),
        ({"allow": ["read"]}, {"alsoAllow": ["exec"]}, "read"),
        ({"allow": ["read"]}, {"profile": "full"}, "read"),
        ({"profile": "full"}, {"allow": ["no_such_tool"]}, FULL),
    ],
)
def test_the_agents_lists_after_the_general_ones(
    tools: Any, own: Any, expected: str
) -> None:
    assert allowed(policies_of(tools, own)) == names(expected)


FOR_LOCAL: dict[str, Any] = {
    "profile": "full",
    "byProvider": {
        "Local": {"allow": ["group:fs"]},
        "local/M1": {"deny": ["write"]},
        "other": {"profile": "minimal"},
    },
}


@pytest.mark.parametrize(
    ("provider", "model", "expected"),
    [
        ("local", "m1", "read edit apply_patch"),
        ("LOCAL", "m1", "read edit apply_patch"),
        ("local", "m2", FS),
        ("other", "x", "session_status"),
        ("third", "x", FULL),
        ("loc", "al/m1", FULL),
    ],
)
@pytest.mark.parametrize("place", ["tools", "own"])
def test_lists_by_provider(
    provider: str, model: str, expected: str, place: str
) -> None:
    policies = policies_of(**{place: FOR_LOCAL})
    assert allowed(policies, provider=provider, model=model) == names(expected)


def test_model_ids_may_hold_slashes() -> None:
    policies = policies_of({"byProvider": {"p/team/m": {"deny": ["*"]}}})
    assert allowed(policies, provider="p", model="team/m") == set()


@pytest.mark.parametrize(
    ("tools", "own", "expected"),
    [
        # More exact before general, the agent's before that of all.
        (
            {"local": {"profile": "coding"}, "local/m1": {"profile": "messaging"}},
            None,
            MESSAGING,
        ),
        (
            {"local/m1": {"profile": "messaging"}},
            {"local": {"profile": "coding"}},
            CODING,
        ),
        (
            {"local": {"profile": "minimal"}},
            {"local": {"alsoAllow": ["read"]}},
            "session_status read",
        ),
        # Lists count all the same.
        (
            {"local": {"deny": ["exec"]}},
            {"local": {"profile": "coding"}},
            without(CODING, "exec"),
        ),
        ({"local": {"alsoAllow": ["read"]}}, None, FULL),
    ],
)
def test_profiles_by_provider(tools: Any, own: Any, expected: str) -> None:
    general = {"profile": "full", "byProvider": tools}
    policies = policies_of(general, own and {"byProvider": own})
    assert allowed(policies) == names(expected)


# -- sub-agents and sandboxes


@pytest.mark.parametrize(
    ("lists", "expected"),
    [
        (None, without(FULL, NOT_FOR_SUBAGENTS)),
        (
            {"deny": ["group:runtime"]},
            without(FULL, f"{NOT_FOR_SUBAGENTS} exec process"),
        ),
        ({"allow": ["read", "cron"]}, "read"),
        ({"alsoAllow": ["cron"]}, without(FULL, NOT_FOR_SUBAGENTS)),
    ],
)
def test_sub_agents_have_less(lists: Any, expected: str) -> None:
    tools = {"profile": "full", "subagents": {"tools": lists} if lists else {}}
    policies = policies_of(tools)
    assert allowed(policies, key=SUB) == names(expected)
    assert allowed(policies, key="agent:a:main") == names(FULL)
    assert allowed(policies) == names(FULL)


@pytest.mark.parametrize("key", [SUB, "subagent:x", "agent:a:SubAgent:x"])
def test_keys_of_sub_agents(key: str) -> None:
    assert "cron" not in allowed(policies_of({"profile": "full"}), key=key)


@pytest.mark.parametrize("key", ["agent:a:x:subagent:y", "agent:subagent:main", "x"])
def test_other_keys(key: str) -> None:
    assert "cron" in allowed(policies_of({"profile": "full"}), key=key)


@pytest.mark.parametrize(
    ("mode", "own_mode", "main", "other"),
    [
        (None, None, False, False),
        ("off", None, False, False),
        ("non-main", None, False, True),
        ("all", None, True, True),
        ("all", "off", False, False),
        ("off", "non-main", False, True),
    ],
)
def test_who_is_to_be_sandboxed_has_less(
    mode: str | None, own_mode: str | None, main: bool, other: bool
) -> None:
    policies = policies_of(
        {"profile": "full", "sandbox": {"tools": {"allow": ["read", "exec"]}}},
        {"sandbox": {"tools": {"deny": ["exec"]}}},
        sandbox={"mode": mode} if mode else None,
        own_sandbox={"mode": own_mode} if own_mode else None,
    )
    less = names("read apply_patch")
    for key in (None, "agent:a:main", "global"):
        assert allowed(policies, key=key) == (less if main else names(FULL))
    for key in ("agent:a:openai:x", "agent:a:discord:1"):
        assert allowed(policies, key=key) == (less if other else names(FULL))


def test_sandbox_without_lists_takes_nothing() -> None:
    policies = policies_of({"profile": "full"}, sandbox={"mode": "all"})
    assert allowed(policies) == names(FULL)


# -- what is told


EVERYTHING: dict[str, Any] = {
    "tools": {
        "profile": "coding",
        "alsoAllow": ["group:web"],
        "deny": ["group:memory"],
        "byProvider": {
            "local": {"deny": ["web_search"]},
            "local/m1": {"profile": "full", "deny": ["image"]},
        },
        "subagents": {"tools": {"deny": ["proc*"]}},
        "sandbox": {"tools": {"deny": ["sessions_spawn"]}},
    },
    "own": {
        "allow": ["group:fs", "group:runtime", "group:sessions", "web_fetch"],
        "deny": ["apply-patch"],
        "byProvider": {"local": {"deny": ["web_f*"]}},
        "sandbox": {"tools": {"deny": ["sessions_send"]}},
    },
    "sandbox": {"mode": "non-main"},
}


@pytest.mark.parametrize(
    ("name", "is_allowed", "stage", "why"),
    [
        ("read", True, "tools.profile = coding", 'allowed by "group:fs"'),
        ("exec", True, "tools.profile = coding", 'allowed by "group:runtime"'),
        ("bash", True, "tools.profile = coding", 'allowed by "group:runtime"'),
        ("canvas", False, "tools.profile = coding", "not in this list"),
        ("my_tool", False, "tools.profile = coding", "not in this list"),
        ("memory_get", False, "tools.deny", 'denied by "group:memory"'),
        ("web_search", False, "tools.byProvider[local].deny", 'denied by "web_search"'),
        ("image", False, "tools.byProvider[local/m1].deny", 'denied by "image"'),
        ("apply_patch", False, "agents.list[a].tools.deny", 'denied by "apply_patch"'),
        (
            "web_fetch",
            False,
            "agents.list[a].tools.byProvider[local].deny",
            'denied by "web_f*"',
        ),
        (
            "sessions_spawn",
            False,
            "tools.sandbox.tools.deny",
            'denied by "sessions_spawn"',
        ),
        (
            "sessions_send",
            False,
            "agents.list[a].tools.sandbox.tools.deny",
            'denied by "sessions_send"',
        ),
        (
            "session_status",
            False,
            "default deny for sub-agents",
            'denied by "session_status"',
        ),
        ("process", False, "tools.subagents.tools.deny", 'denied by "proc*"'),
    ],
)
def test_a_verdict_names_the_stage_that_decided(
    name: str, is_allowed: bool, stage: str, why: str
) -> None:
    policies = policies_of(**EVERYTHING)
    [verdict] = policies.verdicts("a", "local", "m1", (name,), session_key=SUB)
    assert verdict == Verdict(name=name, allowed=is_allowed, stage=stage, why=why)


@pytest.mark.parametrize(
    ("tools", "own", "name", "stage", "why"),
    [
        (
            None,
            None,
            "session_status",
            "default profile = minimal",
            'allowed by "session_status"',
        ),
        (None, None, "exec", "default profile = minimal", "not in this list"),
        ({"profile": "full"}, None, "tts", "tools.profile = full", 'allowed by "*"'),
        (
            {"profile": "minimal", "alsoAllow": ["t*"]},
            None,
            "tts",
            "tools.alsoAllow",
            'allowed by "t*"',
        ),
        (
            {"profile": "full"},
            {"profile": "minimal"},
            "tts",
            "agents.list[a].tools.profile = minimal",
            "not in this list",
        ),
        (
            None,
            {"alsoAllow": ["tts"]},
            "tts",
            "agents.list[a].tools.alsoAllow",
            'allowed by "tts"',
        ),
        ({"allow": ["bash"]}, None, "apply_patch", "tools.allow", 'allowed by "exec"'),
        (
            None,
            {"allow": ["read"]},
            "exec",
            "agents.list[a].tools.allow",
            "not in this list",
        ),
        # A name counts before its group, a group before a wildcard.
        (
            {"allow": ["*", "group:fs", "read"]},
            None,
            "read",
            "tools.allow",
            'allowed by "read"',
        ),
        (
            {"allow": ["*", "group:fs", "read"]},
            None,
            "edit",
            "tools.allow",
            'allowed by "group:fs"',
        ),
        (
            {"byProvider": {"local\n": {"deny": ["*"]}}},
            None,
            "session_status",
            "tools.byProvider[local\\u000a].deny",
            'denied by "*"',
        ),
    ],
)
def test_where_a_verdict_comes_from(
    tools: Any, own: Any, name: str, stage: str, why: str
) -> None:
    [verdict] = policies_of(tools, own).verdicts("a", "local", "m1", (name,))
    assert (verdict.stage, verdict.why) == (stage, why)


def test_verdicts_keep_the_order_and_spelling_of_the_names() -> None:
    asked = ("Read", "exec", "BASH")
    policies = policies_of({"allow": ["read"]})
    assert [one.name for one in policies.verdicts("a", "p", "m", asked)] == list(asked)
    assert policies.allowed("a", "p", "m", asked) == {"Read"}


# -- what always holds

ENTRIES = st.sampled_from(
    [
        *TOOLS,
        *("group:fs", "group:runtime", "group:web", "group:memory", "group:sessions"),
        *("group:ui", "group:automation", "group:moltbot", "group:plugins"),
        *("*", "web_*", "*_list", "s*", "bash", "apply-patch", "no_such_tool", ""),
    ]
)
LISTS = st.lists(ENTRIES, max_size=4)
PROFILES = st.sampled_from(["minimal", "coding", "messaging", "full"])
NARROW = st.fixed_dictionaries({}, optional={"allow": LISTS, "deny": LISTS})
BY_PROVIDER = st.dictionaries(
    st.sampled_from(["local", "LOCAL", "local/m1", "other"]), NARROW, max_size=3
)
SCOPE = {"allow": LISTS, "deny": LISTS, "byProvider": BY_PROVIDER}
INNER = st.fixed_dictionaries({"tools": NARROW})
TOOLS_TREES = st.fixed_dictionaries(
    {},
    optional={"profile": PROFILES, **SCOPE, "subagents": INNER, "sandbox": INNER},
)
OWN_TREES = st.fixed_dictionaries(
    {}, optional={"profile": PROFILES, **SCOPE, "sandbox": INNER}
)
KEYS = st.sampled_from([None, "agent:a:main", "agent:a:x", SUB])
SANDBOX = {"mode": "non-main"}


def both(tools: Any, own: Any, key: str | None) -> set[str]:
    return allowed(policies_of(tools, own, sandbox=SANDBOX), key=key)


@given(TOOLS_TREES, OWN_TREES, KEYS, st.data())
def test_deny_always_wins(tools: Any, own: Any, key: Any, data: Any) -> None:
    denied = data.draw(st.sampled_from(TOOLS))
    scope = data.draw(st.sampled_from([tools, own]))
    if data.draw(st.booleans()):
        scope = scope.setdefault("byProvider", {}).setdefault("local/m1", {})
    scope["deny"] = [*scope.get("deny", ()), denied]
    assert denied not in both(tools, own, key)


@given(TOOLS_TREES, OWN_TREES, KEYS, st.data())
def test_one_more_stage_never_widens(tools: Any, own: Any, key: Any, data: Any) -> None:
    tools.setdefault("profile", "full")
    before = both(tools, own, key)
    scope = data.draw(st.sampled_from([tools, own]))
    stage = data.draw(
        st.sampled_from(["allow", "deny", "byProvider", "sandbox", "subagents"])
    )
    if stage == "byProvider":
        name = data.draw(st.sampled_from(["local", "local/m1", "Local/M1"]))
        scope.setdefault("byProvider", {}).setdefault(name, data.draw(NARROW))
    elif stage == "subagents":
        tools.setdefault("subagents", data.draw(INNER))
    else:
        scope.setdefault(stage, data.draw(INNER if stage == "sandbox" else LISTS))
    assert both(tools, own, key) <= before


@given(TOOLS_TREES, OWN_TREES, KEYS, PROFILES)
def test_a_first_provider_profile_never_widens(
    tools: Any, own: Any, key: Any, profile: str
) -> None:
    before = both(tools, own, key)
    tools.setdefault("byProvider", {}).setdefault("local", {})["profile"] = profile
    assert both(tools, own, key) <= before


@given(TOOLS_TREES, OWN_TREES, KEYS)
def test_sessions_of_sub_agents_and_sandboxes_have_no_more(
    tools: Any, own: Any, key: Any
) -> None:
    assert both(tools, own, key) <= allowed(policies_of(tools, own))


def mirrored(tree: Any) -> Any:
    """Return *tree* with its lists turned round, and their entries in upper case."""
    if isinstance(tree, dict):
        return {key: mirrored(value) for key, value in tree.items()}
    if isinstance(tree, list):
        return [f" {entry.upper()} " for entry in reversed(tree)] * 2
    return tree


@given(TOOLS_TREES, OWN_TREES, KEYS)
def test_order_case_and_repeats_never_matter(tools: Any, own: Any, key: Any) -> None:
    first = policies_of(tools, own)
    second = policies_of(mirrored(tools), mirrored(own))
    asked = ("a", "local", "m1", TOOLS)
    upper = ("a", "Local", "M1", TOOLS)
    assert first.verdicts(*asked, session_key=key) == second.verdicts(
        *upper, session_key=key
    )


@given(TOOLS_TREES, OWN_TREES)
def test_nobody_runs_commands_whose_configuration_does_not_say_so(
    tools: Any, own: Any
) -> None:
    for scope in (tools, own):
        scope.pop("profile", None)
        scope.pop("allow", None)
    assert both(tools, own, None) <= {"session_status"}
