"""``x-moltbot-model``: another model for one request."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from moltbot_gw.agents.catalog import Catalog
from tests.config.support import load
from tests.support.gateway import Gateway
from tests.support.http_client import chat_request

MakeGateway = Callable[..., Gateway]
MODELS = [{"id": name, "name": name} for name in ("m1", "m/2")]
PICTURE = "data:image/png;base64,iVBORw0KGgo="


def gateway_of(
    make: MakeGateway, folder: Path, models: Any = MODELS, **defaults: Any
) -> Gateway:
    providers = {"script": {"baseUrl": "http://x/v1", "models": models}}
    tree = {
        "models": {"providers": providers},
        "agents": {"defaults": {"models": defaults}},
    }
    return make(catalog=Catalog(load(folder, tree).config))


@pytest.mark.parametrize("product", ["moltbot", "clawdbot", "openclaw"])
def test_header_picks_another_model(
    make_gateway: MakeGateway, tmp_path: Path, product: str
) -> None:
    gateway = gateway_of(make_gateway, tmp_path)
    answer = gateway.complete({f"x-{product}-model": "script/m/2"})
    assert answer.status == 200
    assert answer.json["model"] == "moltbot"
    assert gateway.model.calls[-1].request.model == "m/2"


def test_header_holds_for_one_request(
    make_gateway: MakeGateway, tmp_path: Path
) -> None:
    gateway = gateway_of(make_gateway, tmp_path)
    gateway.complete({"x-moltbot-model": "script/m1"}, user="alice")
    gateway.complete(user="alice")
    assert [call.request.model for call in gateway.model.calls] == ["m1", "model"]


@pytest.mark.parametrize("name", ["script/unknown", "gone/m1", "m1", "script/m1 x"])
def test_model_that_is_not_configured_is_refused(
    make_gateway: MakeGateway, tmp_path: Path, name: str
) -> None:
    gateway = gateway_of(make_gateway, tmp_path)
    answer = gateway.ask(chat_request({"x-moltbot-model": name}))
    assert answer.status == 400
    assert answer.error["code"] == "model_not_allowed"
    assert answer.error["param"] == "x-moltbot-model"
    assert gateway.sessions() == {}


def test_list_of_models_is_an_allow_list_with_aliases(
    make_gateway: MakeGateway, tmp_path: Path
) -> None:
    gateway = gateway_of(make_gateway, tmp_path, **{"script/m1": {"alias": "quick"}})
    assert gateway.complete({"x-moltbot-model": "quick"}).status == 200
    assert gateway.model.calls[-1].request.model == "m1"
    refused = gateway.ask(chat_request({"x-moltbot-model": "script/m/2"}))
    assert refused.error["code"] == "model_not_allowed"


def test_headers_that_disagree_are_refused(
    make_gateway: MakeGateway, tmp_path: Path
) -> None:
    gateway = gateway_of(make_gateway, tmp_path)
    both = {"x-moltbot-model": "script/m1", "x-clawdbot-model": "script/m/2"}
    assert gateway.ask(chat_request(both)).error["param"] == "x-clawdbot-model"


def test_picture_goes_to_the_model_that_was_picked(
    make_gateway: MakeGateway, tmp_path: Path
) -> None:
    eyes = {"id": "eyes", "name": "eyes", "input": ["text", "image"]}
    gateway = gateway_of(make_gateway, tmp_path, [*MODELS, eyes])
    image = {"type": "image_url", "image_url": {"url": PICTURE}}
    messages = [{"role": "user", "content": [image]}]
    picked = {"x-moltbot-model": "script/eyes"}
    assert gateway.complete(picked, messages=messages).status == 200
    blind = {"x-moltbot-model": "script/m1"}
    refused = gateway.ask(chat_request(blind, messages=messages))
    assert refused.error["param"] == "messages[0].content[0]"
