"""Tell twistd about ``moltbot-gateway``; everything else is in ``moltbot_gw.tap``."""

from twisted.application.service import ServiceMaker

moltbotGateway = ServiceMaker(
    "Moltbot gateway",
    "moltbot_gw.tap",
    "AI agents behind one port: OpenAI Chat Completions over HTTP.",
    "moltbot-gateway",
)
