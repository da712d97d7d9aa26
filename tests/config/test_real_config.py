"""A file as people had it in January 2026: it must be accepted as it stands."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import json5
import pytest

from moltbot_gw.config import LoadedConfig
from moltbot_gw.config.issues import Place
from moltbot_gw.config.validate import validate

from .support import load

REAL = """
{
  meta: { lastTouchedVersion: "2026.1.29", lastTouchedAt: "2026-01-29T20:11:02.114Z" },
  wizard: { lastRunAt: "2026-01-12T08:00:00.000Z", lastRunCommand: "onboard",
            lastRunMode: "local", lastRunVersion: "2026.1.11" },
  env: {
    OPENROUTER_API_KEY: "sk-or-1",
    vars: { GROQ_API_KEY: "gsk-1" },
    shellEnv: { enabled: true, timeoutMs: 15000 },
  },
  logging: { level: "debug", file: "~/logs/moltbot.log", consoleLevel: "info",
             consoleStyle: "pretty", redactSensitive: "tools",
             redactPatterns: ["\\\\bTOKEN\\\\b\\\\s*[=:]\\\\s*(\\\\S+)"] },
  auth: {
    profiles: {
      "anthropic:me@example.com": { provider: "anthropic", mode: "oauth",
                                    email: "me@example.com" },
      "openai:default": { provider: "openai", mode: "api_key" },
    },
    order: { anthropic: ["anthropic:me@example.com"] },
    cooldowns: { billingBackoffHours: 5, failureWindowHours: 24 },
  },
  agents: {
    defaults: {
      workspace: "~/clawd", repoRoot: "~/src", skipBootstrap: false,
      bootstrapMaxChars: 20000, userTimezone: "Europe/Vienna", timeFormat: "24",
      envelopeTimezone: "local", envelopeTimestamp: "on", envelopeElapsed: "off",
      model: { primary: "anthropic/claude-opus-4-5", fallbacks: ["openai/gpt-5.2"] },
      imageModel: { primary: "openai/gpt-5-mini" },
      models: { "anthropic/claude-opus-4-5": {},
                "openai/gpt-5.2": { alias: "gpt", params: { temperature: 0.3 } } },
      contextTokens: 180000, thinkingDefault: "low", verboseDefault: "off",
      elevatedDefault: "on", timeoutSeconds: 900, maxConcurrent: 3,
      compaction: { mode: "safeguard", reserveTokensFloor: 24000, maxHistoryShare: 0.5,
                    memoryFlush: { enabled: true, softThresholdTokens: 6000 } },
      contextPruning: { mode: "cache-ttl", ttl: "1h",
                        softTrim: { maxChars: 4000, headChars: 1500 } },
      heartbeat: { every: "30m", target: "last", ackMaxChars: 300,
                   activeHours: { start: "08:00", end: "23:00" } },
      subagents: { maxConcurrent: 2, archiveAfterMinutes: 60, model: "openai/gpt-5.2" },
      sandbox: { mode: "non-main", scope: "session", workspaceAccess: "ro",
                 docker: { image: "sandbox:latest", network: "none" } },
      memorySearch: { provider: "openai", remote: { apiKey: "sk-mem" } },
      blockStreamingDefault: "off", blockStreamingBreak: "text_end",
      blockStreamingChunk: { minChars: 800, maxChars: 1200 },
      humanDelay: { mode: "natural" }, typingMode: "instant", typingIntervalSeconds: 6,
      mediaMaxMb: 5, cliBackends: { "claude-cli": { command: "claude" } },
    },
    list: [
      { id: "main", default: true, name: "Molty", groupChat: { mentionPatterns: [] },
        identity: { name: "Molty", theme: "space lobster", emoji: "L",
                    avatar: "avatars/molty.png" },
        subagents: { allowAgents: ["*"] }, sandbox: { mode: "off" } },
      { id: "Family", workspace: "~/clawd-family", agentDir: "~/agents/family",
        model: { primary: "openrouter/auto", fallbacks: [] },
        heartbeat: { every: "0m" },
        tools: { profile: "messaging", alsoAllow: ["web_search"], deny: ["exec"],
                 elevated: { enabled: false, allowFrom: { whatsapp: ["+4312345"] } },
                 exec: { host: "sandbox", approvalRunningNoticeMs: 5000 },
                 byProvider: { openai: { profile: "minimal" } },
                 sandbox: { tools: { allow: ["read"] } } } },
    ],
  },
  bindings: [
    { agentId: "family", match: { channel: "whatsapp", accountId: "home",
      peer: { kind: "group", id: "120363@g.us" } } },
    { agentId: "main", match: { channel: "discord", guildId: "1", teamId: "2" } },
  ],
  broadcast: { strategy: "parallel", "120363@g.us": ["main", "family"] },
  tools: {
    profile: "coding", allow: ["group:fs", "web_*"], deny: ["canvas"],
    byProvider: { "openai/gpt-5-mini": { allow: ["read"] } },
    exec: { host: "gateway", security: "allowlist", ask: "on-miss",
            pathPrepend: ["~/bin"], safeBins: ["jq"], backgroundMs: 10000,
            timeoutSec: 1800, cleanupMs: 1800000, notifyOnExit: true,
            applyPatch: { enabled: true, allowModels: ["gpt-5.2"] } },
    web: { search: { enabled: true, provider: "brave", apiKey: "BSA1", maxResults: 5,
                     perplexity: { apiKey: "pplx-1", model: "sonar" } },
           fetch: { enabled: true, maxChars: 50000, userAgent: "Mozilla/5.0" } },
    agentToAgent: { enabled: true, allow: ["main", "family"] },
    elevated: { enabled: true, allowFrom: { whatsapp: ["+4312345"] } },
    subagents: { tools: { deny: ["gateway"] } },
    media: { audio: { enabled: true, models: [{ provider: "groq" }] } },
    links: { enabled: true }, message: { crossContext: {} },
  },
  messages: {
    responsePrefix: "[{identityName}]", messagePrefix: "", ackReaction: "eyes",
    ackReactionScope: "group-mentions", removeAckAfterReply: false,
    groupChat: { historyLimit: 50 }, inbound: { debounceMs: 2000 },
    queue: { mode: "collect", cap: 20, drop: "summarize", debounceMs: 1000,
             byChannel: { webchat: "steer+backlog" },
             debounceMsByChannel: { slack: 1500 } },
    tts: { auto: "inbound", provider: "elevenlabs", elevenlabs: { apiKey: "el-1" } },
  },
  commands: { native: "auto", nativeSkills: false, text: true, bash: false,
              bashForegroundMs: 2000, config: true, debug: false, restart: true,
              useAccessGroups: true },
  session: {
    scope: "per-sender", dmScope: "per-channel-peer", idleMinutes: 240,
    identityLinks: { alice: ["telegram:1", "discord:2"] }, resetTriggers: ["/new"],
    reset: { mode: "daily", atHour: 5, idleMinutes: 90 },
    resetByType: { thread: { mode: "idle", idleMinutes: 30 }, dm: {}, group: {} },
    resetByChannel: { discord: { mode: "idle", idleMinutes: 10080 } },
    store: "~/.clawdbot/agents/{agentId}/sessions/sessions.json", mainKey: "main",
    agentToAgent: { maxPingPongTurns: 3 }, typingMode: "thinking",
    sendPolicy: { default: "allow", rules: [
      { action: "deny", match: { channel: "discord", chatType: "group",
                                 keyPrefix: "cron:" } } ] },
  },
  models: {
    mode: "merge",
    providers: {
      lmstudio: {
        baseUrl: "http://127.0.0.1:1234/v1", apiKey: "lmstudio", authHeader: true,
        auth: "api-key", api: "openai-responses", headers: { "X-Team": "home" },
        models: [ { id: "minimax-m2.1", name: "MiniMax M2.1", reasoning: false,
          input: ["text", "image"], contextWindow: 196608, maxTokens: 8192,
          cost: { input: 0, output: 0.5, cacheRead: 0, cacheWrite: 0 },
          compat: { supportsStore: false, supportsDeveloperRole: false,
                    supportsReasoningEffort: true, maxTokensField: "max_tokens" } } ],
      },
      openrouter: { baseUrl: "https://openrouter.ai/api/v1", models: [],
                    apiKey: "${OPENROUTER_API_KEY}" },
    },
    bedrockDiscovery: { enabled: false, region: "eu-central-1", refreshInterval: 3600 },
  },
  gateway: {
    mode: "local", port: 18789, bind: "loopback",
    auth: { mode: "token", token: "gw-1", allowTailscale: true },
    trustedProxies: ["127.0.0.1"],
    controlUi: { enabled: true, basePath: "/moltbot", allowInsecureAuth: false },
    tailscale: { mode: "serve", resetOnExit: false },
    remote: { url: "wss://gw.example:18789", transport: "ssh", token: "rt-1",
              sshTarget: "me@gw", tlsFingerprint: "aa:bb" },
    reload: { mode: "hybrid", debounceMs: 300 },
    tls: { enabled: false, autoGenerate: true, certPath: "~/tls/cert.pem" },
    http: { endpoints: { chatCompletions: { enabled: true },
      responses: { enabled: true, maxBodyBytes: 20000000,
        files: { allowUrl: true, allowedMimes: ["text/plain"], maxChars: 200000,
                 pdf: { maxPages: 4, maxPixels: 4000000, minTextChars: 200 } },
        images: { allowUrl: false, maxBytes: 10485760, timeoutMs: 10000 } } } },
    nodes: { browser: { mode: "auto" }, allowCommands: ["canvas.navigate"],
             denyCommands: ["sms.send"] },
  },
  channels: {
    whatsapp: { dmPolicy: "pairing", allowFrom: ["+4312345"],
                groups: { "*": { requireMention: true } } },
    telegram: { enabled: true, botToken: "123:ABC", streamMode: "partial" },
    discord: { enabled: true, token: "D1", guilds: { "1": { slug: "friends" } } },
  },
  hooks: { enabled: true, path: "/hooks", token: "hk-1", maxBodyBytes: 262144,
           presets: ["gmail"], transformsDir: "~/.clawdbot/hooks",
           mappings: [ { match: { path: "gmail" }, action: "agent", deliver: true } ],
           gmail: { account: "me@example.com" }, internal: { enabled: true } },
  cron: { enabled: true, maxConcurrentRuns: 2, store: "~/.clawdbot/cron.json" },
  browser: { enabled: true, color: "#FF4500", profiles: { work: { cdpPort: 18801 } } },
  ui: { seamColor: "#FF4500", assistant: { name: "Molty", avatar: "M" } },
  skills: { allowBundled: ["gemini"], load: { extraDirs: ["~/skills"], watch: true },
            install: { preferBrew: true, nodeManager: "npm" },
            entries: { "nano-banana-pro": { apiKey: "nb-1" } } },
  plugins: { enabled: true, allow: ["voice-call"], load: { paths: ["~/plugins/x"] },
             slots: { memory: "memory-core" }, entries: { "voice-call": {} } },
  talk: { voiceId: "abc", apiKey: "el-2", interruptOnSpeech: true },
  discovery: { wideArea: { enabled: false }, mdns: { mode: "minimal" } },
  canvasHost: { enabled: true, root: "~/clawd/canvas", port: 18793, liveReload: true },
  update: { channel: "stable", checkOnStart: true },
  approvals: { exec: { enabled: true, mode: "session" } },
  audio: { transcription: { command: ["whisper"] } },
  media: { preserveFilenames: true },
  diagnostics: { enabled: true, otel: { enabled: false } },
  nodeHost: { browserProxy: { enabled: true } },
  web: { enabled: true, heartbeatSeconds: 60 },
}
"""


TREE: dict[str, Any] = json5.loads(REAL)


@pytest.fixture
def real(tmp_path: Path) -> LoadedConfig:
    return load(tmp_path, TREE)


def test_real_file_loads_as_json5_too(real: LoadedConfig, tmp_path: Path) -> None:
    assert load(tmp_path, REAL).config == real.config


def places(tree: Any, place: Place = ()) -> Iterator[Place]:
    """Give the place of every value of *tree*."""
    yield place
    keys: Iterable[Any] = tree if isinstance(tree, dict) else ()
    for key in range(len(tree)) if isinstance(tree, list) else keys:
        yield from places(tree[key], (*place, key))


def replaced(tree: Any, place: Place, value: Any) -> Any:
    """Return *tree* with *value* at *place*; the original stays."""
    if not place:
        return value
    copied = copy.copy(tree)
    copied[place[0]] = replaced(tree[place[0]], place[1:], value)
    return copied


def test_any_value_in_any_place_loads_or_is_explained() -> None:
    values: Iterator[Any] = itertools.cycle([None, -0.5, "hunter2", [[]], {"x": 1}, 7])
    for place, value in zip(places(TREE), values, strict=False):
        config, faults = validate(replaced(TREE, place, value))
        assert (config is None) == bool(faults)
        assert not any("hunter2" in fault.message for fault in faults)
        assert all(fault.place[: len(place)] == place for fault in faults)


def test_agents_of_a_real_file(real: LoadedConfig, tmp_path: Path) -> None:
    main, family = real.config.agents.list
    assert (main.id, family.id) == ("main", "family")
    assert family.agent_dir == f"{tmp_path}/agents/family"
    assert main.identity is not None
    assert main.identity.name == "Molty"


def test_provider_key_of_a_real_file_comes_from_its_env_block(
    real: LoadedConfig,
) -> None:
    key = real.config.models.providers["openrouter"].api_key
    assert key is not None
    assert key.reveal() == real.environ["OPENROUTER_API_KEY"] == "sk-or-1"


def test_no_secret_of_a_real_file_is_shown(real: LoadedConfig) -> None:
    shown = f"{real!r}{real.notices}"
    secrets = ["sk-or-1", "gsk-1", "sk-mem", "BSA1", "pplx-1", "el-1", "gw-1", "rt-1"]
    secrets += ["123:ABC", "hk-1", "nb-1", "el-2"]
    assert [secret for secret in secrets if secret in shown] == []


def test_unserved_sections_of_a_real_file_are_told_once(real: LoadedConfig) -> None:
    names = [line.split('"')[1] for line in real.notices]
    assert len(names) == len(set(names))
    told = {"channels", "cron", "hooks", "auth.profiles", "auth.order"}
    told |= {"gateway.remote", "agents.defaults.sandbox", "tools.elevated"}
    told |= {"gateway.tailscale", "agents.list.1.tools.elevated"}
    assert told <= set(names)
    silent = {"gateway", "agents", "models", "meta", "logging", "tools", "tools.allow"}
    assert silent.isdisjoint(names)
