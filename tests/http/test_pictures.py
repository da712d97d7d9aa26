"""Pictures of a completion: those that come along, and those that are fetched."""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from pytest_twisted import async_yield_fixture
from twisted.internet.defer import Deferred

from moltbot_gw.config import Images
from moltbot_gw.http.pictures import MAX_REMOTE
from moltbot_gw.messages import ImagePart, TextPart, ToolMessage, UserMessage
from tests.fetching.support import Web, make_web, page, redirect
from tests.integration.waiting import clean_reactor, socket_test, until
from tests.support.fake_provider import STALL
from tests.support.gateway import Connection, Gateway
from tests.support.http_client import Answer, chat_request

MakeGateway = Callable[..., Gateway]

clean = async_yield_fixture(name="clean")(clean_reactor)
web = async_yield_fixture(name="web")(make_web)

PNG = b"\x89PNG\r\n\x1a\n and what follows"
JPEG = b"\xff\xd8\xff and what follows"
URL = "https://example.com/cat.png"
PLAIN_URL = "http://example.com/cat.png"


def data_url(data: bytes, mime: str = "image/png") -> str:
    return f"data:{mime};base64,{base64.b64encode(data).decode()}"


def part(url: str) -> dict[str, Any]:
    return {"type": "image_url", "image_url": {"url": url, "detail": "low"}}


def shown(*urls: str, role: str = "user") -> dict[str, Any]:
    """Return a message that shows *urls* behind a word."""
    return {
        "role": role,
        "content": [{"type": "text", "text": "see"}, *map(part, urls)],
    }


class Seeing:
    """A gateway whose model sees, in a small web."""

    def __init__(self, make: MakeGateway, web: Web, **limits: Any) -> None:
        limits.setdefault("allowUrl", True)
        self.gateway = make(
            images=True,
            fetch=web.fetcher(),
            picture_limits=msgspec.convert(limits, Images),
        )

    async def send(self, *messages: dict[str, Any]) -> Connection:
        """Send a request; return when it has a call of the model, or an answer."""
        connection = self.gateway.send(chat_request(messages=messages))
        await until(lambda: self.gateway.model.calls or connection.received)
        return connection

    async def refused(self, *messages: dict[str, Any]) -> str:
        """Return the path that a 400 names; nothing may have begun."""
        answer = (await self.send(*messages)).answer()
        assert self.gateway.sessions() == {}
        return named(answer)

    async def given(self, *messages: dict[str, Any]) -> tuple[Any, ...]:
        """Return the messages that the model got."""
        await self.send(*messages)
        return self.gateway.model.calls[0].request.messages


def named(answer: Answer) -> str:
    assert (answer.status, answer.error["code"]) == (400, "invalid_value")
    param = str(answer.error["param"])
    assert answer.error["message"].startswith(f"{param}: ")
    return param


# -- that come along


@pytest.mark.parametrize(
    ("url", "given"),
    [
        (data_url(PNG), data_url(PNG)),
        (data_url(JPEG, "image/png"), data_url(JPEG, "image/jpeg")),
        (data_url(PNG, "image/PNG;x=y"), data_url(PNG)),
        (data_url(PNG, "").replace("base64", "BASE64"), data_url(PNG)),
        (data_url(PNG).replace("Dg", "D\ng"), data_url(PNG)),
        (data_url(b"GIF89a"), data_url(b"GIF89a", "image/gif")),
        (data_url(b"RIFF0000WEBP"), data_url(b"RIFF0000WEBP", "image/webp")),
    ],
)
def test_a_picture_goes_on_as_what_it_is(
    make_gateway: MakeGateway, url: str, given: str
) -> None:
    gateway = make_gateway(images=True)
    _, call = gateway.chat(messages=[shown(url)])
    expected = (TextPart("see"), ImagePart(given, "low"))
    assert call.request.messages == (UserMessage(expected),)


@pytest.mark.parametrize(
    "url",
    [
        "data:",
        "data:image/png,PNG",
        "data:image/png;base64",
        "data:image/png;base64,",
        "data:image/png;base64,iVBORw0KGgo",
        "data:image/png;base64,iVBORw0KGg*=",
        data_url(b"<svg/>", "image/svg+xml"),
        data_url(b"%PDF-1.7"),
        data_url(PNG + b"x" * 1000),
    ],
)
def test_what_is_no_picture_is_named(make_gateway: MakeGateway, url: str) -> None:
    limits = Images(max_bytes=1000)
    gateway = make_gateway(images=True, picture_limits=limits)
    answer = gateway.ask(chat_request(messages=[shown(data_url(PNG), url)]))
    assert named(answer) == "messages[0].content[2].image_url.url"


def test_a_type_may_be_left_out(make_gateway: MakeGateway) -> None:
    limits = Images(allowed_mimes=(" Image/PNG",))
    gateway = make_gateway(images=True, picture_limits=limits)
    answer = gateway.ask(chat_request(messages=[shown(data_url(JPEG))]))
    assert "(image/png)" in answer.error["message"]


# -- that are fetched


@pytest.mark.parametrize("limits", [{"allowUrl": False}, {"allowUrl": None}])
@socket_test
async def test_nothing_is_fetched_unless_it_is_allowed(
    make_gateway: MakeGateway, web: Web, limits: dict[str, Any]
) -> None:
    seeing = Seeing(make_gateway, web, **limits)
    assert await seeing.refused(shown(URL)) == "messages[0].content[1].image_url.url"
    assert web.connects == []


@socket_test
async def test_a_picture_is_fetched_before_the_run(
    make_gateway: MakeGateway, web: Web
) -> None:
    web.serve(redirect("/there"), page(JPEG, "image/png"))
    seeing = Seeing(make_gateway, web)
    picture = ImagePart(data_url(JPEG, "image/jpeg"), "low")
    given = await seeing.given(
        {"role": "system", "content": "s"}, shown(PLAIN_URL.replace("http", "HTTP"))
    )
    assert given == (UserMessage((TextPart("see"), picture)),)
    assert web.server.requests[0].headers["accept"].startswith("image/png, ")


@socket_test
async def test_one_address_is_fetched_once(make_gateway: MakeGateway, web: Web) -> None:
    web.serve(page(PNG, "image/png"))
    tool = shown(PLAIN_URL, role="tool") | {"tool_call_id": "1"}
    call = {"id": "1", "type": "function", "function": {"name": "f"}}
    said = {"role": "assistant", "content": None, "tool_calls": [call]}
    first, _, result = await Seeing(make_gateway, web).given(
        shown(PLAIN_URL, PLAIN_URL), said, tool
    )
    picture = ImagePart(data_url(PNG), "low")
    assert first.content == (TextPart("see"), picture, picture)
    assert isinstance(result, ToolMessage)
    assert result.content == (TextPart("see"), picture)
    assert len(web.connects) == 1


@socket_test
async def test_what_the_model_does_not_see_is_not_fetched(
    make_gateway: MakeGateway, web: Web
) -> None:
    messages = [shown(PLAIN_URL, role=role) for role in ("system", "assistant")]
    await Seeing(make_gateway, web).given(*messages, {"role": "user", "content": "x"})
    assert web.connects == []


@socket_test
async def test_nothing_is_fetched_for_a_blind_model(
    make_gateway: MakeGateway, web: Web
) -> None:
    limits = Images(allow_url=True)
    gateway = make_gateway(fetch=web.fetcher(), picture_limits=limits)
    answer = gateway.ask(chat_request(messages=[shown(PLAIN_URL)]))
    assert answer.error["param"] == "messages[0].content[1]"
    assert web.connects == []


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1/cat.png",
        "http://169.254.169.254/latest/",
        "https://user:secret@example.com/cat.png",
        "http://localhost/cat.png",
        "http://no-such.example/",
        "ftp://example.com/cat.png",
        "file:///etc/passwd",
        "",
    ],
)
@socket_test
async def test_other_addresses_are_refused(
    make_gateway: MakeGateway, web: Web, url: str
) -> None:
    seeing = Seeing(make_gateway, web)
    messages = [{"role": "system", "content": "s"}, shown(data_url(PNG), url)]
    assert await seeing.refused(*messages) == "messages[1].content[2].image_url.url"
    assert web.connects == []


@pytest.mark.parametrize(
    "script",
    [
        page(b"<html>", "text/html"),
        page(b"<svg/>", "image/svg+xml"),
        page(b"<html>", "image/png"),
        page(PNG + b"x" * 1000, "image/png"),
        page(b"", "image/png"),
        redirect("http://10.0.0.1/"),
    ],
)
@socket_test
async def test_what_is_fetched_and_no_picture_is_named(
    make_gateway: MakeGateway, web: Web, script: Any
) -> None:
    web.serve(script)
    seeing = Seeing(make_gateway, web, maxBytes=1000)
    path = await seeing.refused(shown(PLAIN_URL))
    assert path == "messages[0].content[1].image_url.url"
    assert len(web.connects) == 1


@socket_test
async def test_redirects_are_as_many_as_the_configuration_says(
    make_gateway: MakeGateway, web: Web
) -> None:
    web.serve(redirect("/1"))
    assert await Seeing(make_gateway, web, maxRedirects=0).refused(shown(PLAIN_URL))
    assert len(web.connects) == 1


@socket_test
async def test_so_many_pictures_are_fetched(
    make_gateway: MakeGateway, web: Web
) -> None:
    web.server.default = page(PNG, "")
    urls = [f"{PLAIN_URL}?{n}" for n in range(MAX_REMOTE + 1)]
    path = await Seeing(make_gateway, web).refused(shown(*urls))
    assert path == f"messages[0].content[{MAX_REMOTE + 1}].image_url.url"


@socket_test
async def test_all_together_are_no_larger_than_a_request(
    make_gateway: MakeGateway, web: Web
) -> None:
    web.server.default = page(PNG + b"x" * 700, "image/png")
    gateway = make_gateway(
        images=True,
        fetch=web.fetcher(),
        picture_limits=Images(allow_url=True),
        max_body_bytes=1500,
    )
    urls = [f"{PLAIN_URL}?{n}" for n in range(3)]
    connection = gateway.send(chat_request(messages=[shown(*urls)]))
    await until(lambda: connection.received)
    assert named(connection.answer()) == "messages[0].content[3].image_url.url"


@socket_test
async def test_all_together_take_no_longer_than_is_said(
    make_gateway: MakeGateway, web: Web
) -> None:
    gate: Deferred[None] = Deferred()
    web.serve([gate, *page(PNG, "")], [STALL])
    seeing = Seeing(make_gateway, web, timeoutMs=9000)
    gateway = seeing.gateway
    connection = gateway.send(
        chat_request(messages=[shown(PLAIN_URL + "1", PLAIN_URL + "2")])
    )
    await web.server.when_asked(1)
    gateway.advance(4)
    gate.callback(None)
    request = await web.server.when_asked(2)
    web.clock.advance(5)
    await until(lambda: connection.received)
    assert named(connection.answer()) == "messages[0].content[2].image_url.url"
    await request.connection.when_closed()


@socket_test
async def test_a_fetch_ends_with_its_client(
    make_gateway: MakeGateway, web: Web
) -> None:
    web.serve([STALL])
    gateway = Seeing(make_gateway, web).gateway
    connection = gateway.send(chat_request(messages=[shown(PLAIN_URL)]))
    request = await web.server.when_asked()
    connection.hang_up()
    await request.connection.when_closed()
    assert gateway.sessions() == {}
