"""The description of the HTTP edge: when it is served, and what it holds."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from moltbot_gw.http import routes as all_routes
from moltbot_gw.http.routes import WEBSOCKET, Route, find_route
from tests.support.gateway import Gateway
from tests.support.http_client import http_request

MakeGateway = Callable[..., Gateway]


def document(make_gateway: MakeGateway) -> Any:
    gateway = make_gateway(openapi=True)
    answer = gateway.ask(http_request("GET", "/openapi.json"))
    assert answer.status == 200
    return answer.json


def references(tree: object) -> set[str]:
    """Return all ``$ref`` in *tree*, and all targets of discriminators."""
    found: set[str] = set()
    if isinstance(tree, dict):
        found = {tree["$ref"]} if "$ref" in tree else set()
        found |= set(tree.get("discriminator", {}).get("mapping", {}).values())
        tree = list(tree.values())
    if isinstance(tree, list):
        for item in tree:
            found |= references(item)
    return found


def test_it_is_off_unless_asked_for(gateway: Gateway) -> None:
    answer = gateway.ask(http_request("GET", "/openapi.json"))
    assert (answer.status, answer.error["code"]) == (404, "endpoint_disabled")
    assert "gateway.http.endpoints.openapi.enabled" in answer.error["message"]


def test_it_needs_the_secret(make_gateway: MakeGateway) -> None:
    gateway = make_gateway(openapi=True)
    answer = gateway.ask(http_request("GET", "/openapi.json", token="wrong"))
    assert answer.status == 401


def test_it_does_not_depend_on_what_it_describes(make_gateway: MakeGateway) -> None:
    gateway = make_gateway(openapi=True, enabled=False)
    assert gateway.ask(http_request("GET", "/openapi.json")).status == 200
    assert gateway.ask(http_request("GET", "/v1/models")).status == 404


def test_it_has_one_spelling(make_gateway: MakeGateway) -> None:
    gateway = make_gateway(openapi=True)
    for path in ("/openapi.json/", "/v1/openapi.json", "/openapi%2ejson"):
        assert gateway.ask(http_request("GET", path)).status == 404


EXAMPLES = {"{name}": "moltbot", "{id}": "run-1"}


def test_it_describes_each_route_with_all_its_methods(
    make_gateway: MakeGateway,
) -> None:
    names = set()
    for path, described in document(make_gateway)["paths"].items():
        for placeholder, example in EXAMPLES.items():
            path = path.replace(placeholder, example)
        route = find_route(path.encode())
        assert route is not None, path
        names.add(route.name)
        assert {m.upper() for m in described if m != "parameters"} == set(route.methods)
    routes = [value for value in vars(all_routes).values() if isinstance(value, Route)]
    known = {route.name for route in routes} - {WEBSOCKET.name}
    assert names == known | {"model", "run", "run.stream", "run.cancel"}


def test_every_reference_leads_somewhere(make_gateway: MakeGateway) -> None:
    whole = document(make_gateway)
    schemas = {
        f"#/components/schemas/{name}" for name in whole["components"]["schemas"]
    }
    assert references(whole) <= schemas
    assert "#/components/schemas/ChatRequest" in references(whole)
