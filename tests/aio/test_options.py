"""A wrong option is refused when it is given, in one line that says what it has to be; editors and mypy know each option."""

import importlib.util
import inspect
import json
import math
import re
import ssl
import subprocess
import sys
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, get_args, get_type_hints

import pytest

from minproto import (
    AccessLog,
    Broker,
    BrokerServer,
    Compression,
    EventSource,
    Http2Limits,
    Limits,
    Metrics,
    RemoteBroker,
    Request,
    Response,
    Server,
    Timeouts,
    WebSocket,
    WebSocketLimits,
    connect,
    connect_http,
    connect_http2,
    not_allowed,
    serve,
    upgrade,
)
from minproto import broker as broker_core
from minproto import resp as resp_core
from minproto import sse as sse_core
from minproto.aio import listener, resp, server, wire
from minproto.aio.address import Address
from minproto.aio.http_client import ClientResponse
from minproto.http import Headers, RequestHead, ResponseHead
from minproto.testing import network

ROOT = Path(__file__).parents[2]


async def app(request: Any) -> Response:
    return Response(b"")


def message_of(error: type[Exception] | tuple[type[Exception], ...], make: Any, *arguments: Any, **options: Any) -> str:
    """What the user reads: one line of a reasonable length."""
    with pytest.raises(error) as caught:
        make(*arguments, **options)
    message = str(caught.value)
    assert "\n" not in message and len(message) < 260
    return message


LISTENER: list[tuple[str, Any, type[Exception]]] = [
    ("host", None, TypeError),
    ("host", b"127.0.0.1", TypeError),
    ("host", ["127.0.0.1"], TypeError),
    ("host", "", ValueError),
    ("host", " ", ValueError),
    ("host", "http://127.0.0.1", ValueError),
    ("port", "8000", TypeError),
    ("port", None, TypeError),
    ("port", 80.0, TypeError),
    ("port", True, TypeError),
    ("port", -1, ValueError),
    ("port", 65_536, ValueError),
    ("ssl", ("cert", "key"), TypeError),
    ("ssl", True, TypeError),
    ("ssl", "cert.pem", TypeError),
    ("ssl", ssl.create_default_context(), ValueError),
    ("timeouts", 5, TypeError),
    ("timeouts", None, TypeError),
    ("timeouts", {"idle": 5}, TypeError),
    ("timeouts", Timeouts, TypeError),
    ("max_connections", "10", TypeError),
    ("max_connections", 10.0, TypeError),
    ("max_connections", None, TypeError),
    ("max_connections", True, TypeError),
    ("max_connections", -1, ValueError),
    ("metrics", Metrics, TypeError),
    ("metrics", AccessLog(), TypeError),
    ("metrics", True, TypeError),
    ("on_drain", "close", TypeError),
    ("on_drain", [], TypeError),
    ("on_drain", app, TypeError),
    ("limits", {"max_body": 1}, TypeError),
    ("limits", None, TypeError),
    ("limits", WebSocketLimits(), TypeError),
    ("limits", Http2Limits(), TypeError),
    ("limits", Limits, TypeError),
]

HTTP: list[tuple[str, Any, type[Exception]]] = [
    ("http2_limits", Limits(), TypeError),
    ("http2_limits", {"max_streams": 1}, TypeError),
    ("methods", "GET", TypeError),
    ("methods", b"GET", TypeError),
    ("methods", None, TypeError),
    ("methods", ["get"], ValueError),
    ("methods", ["GET", "po st"], ValueError),
    ("methods", [b"GET"], TypeError),
    ("methods", [""], ValueError),
    ("methods", [], ValueError),
    ("observers", AccessLog, TypeError),
    ("observers", AccessLog(), TypeError),
    ("observers", [AccessLog], TypeError),
    ("observers", [print], TypeError),
    ("observers", "access", TypeError),
    ("observers", None, TypeError),
]

BROKER: list[tuple[str, Any, type[Exception]]] = [
    ("password", b"secret", TypeError),
    ("password", 1234, TypeError),
    ("password", "", ValueError),
    ("max_output", 0, ValueError),
    ("max_output", "8", TypeError),
    ("max_output", math.inf, TypeError),
]


@pytest.mark.parametrize(("name", "value", "error"), LISTENER + HTTP)
def test_a_wrong_option_of_a_server_is_refused_when_it_is_made(name: str, value: Any, error: type[Exception]) -> None:
    message = message_of(error, Server, app, **{name: value})
    assert name in message and " has to be " in message
    message_of(error, replace, server.Config(), **{name: value})


@pytest.mark.parametrize(("name", "value", "error"), LISTENER + BROKER)
def test_a_wrong_option_of_a_broker_server_is_refused_when_it_is_made(name: str, value: Any, error: type[Exception]) -> None:
    message = message_of(error, BrokerServer, Broker(), **{name: value})
    assert name in message and " has to be " in message
    if name == "password" and value:
        assert str(value) not in message


async def test_serve_refuses_as_server_does() -> None:
    with pytest.raises(TypeError, match="port has to be a whole number"):
        await serve(app, port="8000")  # type: ignore[arg-type]


LIMITS = [Limits, Http2Limits, WebSocketLimits, broker_core.Limits, resp_core.Limits, sse_core.Limits]


@pytest.mark.parametrize("kind", LIMITS)
@pytest.mark.parametrize("value", ["1", 1.5, math.inf, math.nan, None, True, [1], -1])
def test_each_field_of_limits_is_a_count(kind: Any, value: Any) -> None:
    for limit in fields(kind):
        error = ValueError if value == -1 else TypeError
        assert limit.name in message_of(error, kind, **{limit.name: value})
        message_of(error, replace, kind(), **{limit.name: value})
        assert kind(**{limit.name: 70_000})


def test_a_limit_may_be_zero_only_where_that_makes_sense() -> None:
    assert Limits(max_body=0).max_body == 0  # no request may have content
    message_of(ValueError, Limits, max_head=0)
    message_of(ValueError, Http2Limits, stream_window=0)
    message_of(ValueError, Http2Limits, stream_window=1 << 31)
    message_of(ValueError, Http2Limits, connection_window=1 << 31)
    message_of(ValueError, Http2Limits, max_head=1 << 32)


@pytest.mark.parametrize("value", [None, "5", -1, -0.5, math.nan, True, [5], 5j])
def test_each_timeout_is_seconds(value: Any) -> None:
    for option in fields(Timeouts):
        error = ValueError if isinstance(value, int | float) and value is not True else TypeError
        assert option.name in message_of(error, Timeouts, **{option.name: value})
    message_of(ValueError, Timeouts, min_body_rate=0)
    assert Timeouts(idle=math.inf, linger=0, drain=5).linger == 0


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"window_bits": 8}, ValueError),
        ({"window_bits": 16}, ValueError),
        ({"window_bits": "12"}, TypeError),
        ({"window_bits": 12.0}, TypeError),
        ({"memory_level": 0}, ValueError),
        ({"memory_level": None}, TypeError),
        ({"context_takeover": "no"}, TypeError),
        ({"context_takeover": 0}, TypeError),
    ],
)
def test_compression_is_what_zlib_can_do(options: dict[str, Any], error: type[Exception]) -> None:
    assert next(iter(options)) in message_of(error, Compression, **options)


@pytest.mark.parametrize("value", [-1, "10", None, True, 1.5, {"a": -1}, {"a": "10"}, ["a"]])
def test_a_history_is_a_count(value: Any) -> None:
    assert "history" in message_of((TypeError, ValueError), Broker, history=value)


def test_a_broker_has_limits_of_its_own_kind() -> None:
    assert "minproto.log.Limits" in message_of(TypeError, Broker, limits=Limits())


async def echo(ws: WebSocket) -> None:
    await ws.send(await ws.receive())


REQUEST = Request(RequestHead("GET", "/", Headers()), None, network.pair()[0])

SERVER_SIDE = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
CLIENTS: list[tuple[str, Any, type[Exception]]] = [
    ("ssl", True, TypeError),
    ("ssl", ("cert", "key"), TypeError),
    ("ssl", SERVER_SIDE, ValueError),
    ("limits", {"max_body": 1}, TypeError),
    ("limits", None, TypeError),
    ("limits", broker_core.Limits(), TypeError),
    ("timeouts", 5, TypeError),
    ("timeouts", None, TypeError),
]


@pytest.mark.parametrize(("name", "value", "error"), CLIENTS)
async def test_a_wrong_option_of_a_client_is_refused_before_it_connects(name: str, value: Any, error: type[Exception]) -> None:
    made = [
        lambda **options: EventSource("https://a/", **options),
        lambda **options: RemoteBroker("rediss://a", **options),
    ]
    for make in made:
        assert name in message_of(error, make, **{name: value})
    for begin in (
        lambda **options: connect("wss://a/", **options),
        lambda **options: connect_http("a", 443, **options),
        lambda **options: connect_http2("a", 443, **options),
    ):
        with pytest.raises(error, match=name):
            await begin(**{name: value})


@pytest.mark.parametrize("client", [connect_http, connect_http2])
@pytest.mark.parametrize(
    ("host", "port", "error"),
    [
        (None, 80, TypeError),
        ("", 80, ValueError),
        (b"a", 80, TypeError),
        ("http://a", 80, ValueError),
        ("http://a/", 80, ValueError),
        ("a", "80", TypeError),
        ("a", None, TypeError),
        ("a", -1, ValueError),
        ("a:80", 80, ValueError),
        ("a", 70_000, ValueError),
        (80, "a", TypeError),
    ],
)
async def test_a_wrong_address_is_refused_before_a_client_connects(client: Any, host: Any, port: Any, error: Any) -> None:
    with pytest.raises(error, match=r"host|port"):
        await client(host, port)


@pytest.mark.parametrize(
    ("arguments", "options", "says"),
    [
        ((REQUEST, echo), {"limits": Limits()}, "limits has to be minproto.WebSocketLimits, not minproto.Limits"),
        ((REQUEST, echo), {"timeouts": 5}, "timeouts has to be minproto.Timeouts"),
        ((REQUEST, echo), {"compression": True}, "compression"),
        ((REQUEST, echo), {"subprotocols": "chat"}, "subprotocols"),
        ((echo, REQUEST), {}, "request has to be minproto.Request"),
    ],
)
def test_a_wrong_option_of_an_upgrade_is_refused(arguments: tuple[Any, ...], options: dict[str, Any], says: str) -> None:
    """Before the client is told that it has a WebSocket."""
    assert says in message_of(TypeError, upgrade, *arguments, **options)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"compression": True}, "compression has to be minproto.Compression or None"),
        ({"compression": "deflate"}, "compression"),
        ({"subprotocols": "chat"}, "subprotocols has to be a list"),
        ({"subprotocols": [b"chat"]}, "subprotocols"),
        ({"subprotocols": [""]}, "subprotocols"),
    ],
)
async def test_what_a_websocket_offers_is_of_the_right_kind(options: dict[str, Any], says: str) -> None:
    with pytest.raises((TypeError, ValueError), match=says):
        await connect("ws://a/", **options)


@pytest.mark.parametrize("value", [None, 80, b"http://a/", ""])
async def test_a_url_is_a_str(value: Any) -> None:
    for make in EventSource, RemoteBroker:
        assert "url" in message_of((TypeError, ValueError), make, value).lower()
    with pytest.raises((TypeError, ValueError), match="url"):
        await connect(value)


async def test_a_context_for_a_url_in_clear_text_is_refused() -> None:
    """It would be ignored, and the user believe that the connection is encrypted."""
    context = ssl.create_default_context()
    assert message_of(ValueError, EventSource, "http://a/", ssl=context) == "ssl is for https://"
    assert message_of(ValueError, RemoteBroker, "redis://a", ssl=context) == "ssl is for rediss://"
    with pytest.raises(ValueError, match="ssl is for wss://"):
        await connect("ws://a/", ssl=context)


@pytest.mark.parametrize("value", [None, 17, b"17"])
def test_an_event_source_resumes_from_a_str(value: Any) -> None:
    assert "last_event_id" in message_of(TypeError, EventSource, "http://a/", last_event_id=value)


@pytest.mark.parametrize("value", [None, "app", Response, Broker(), 8000])
def test_an_app_is_a_function(value: Any) -> None:
    assert "app has to be" in message_of(TypeError, Server, value)


@pytest.mark.parametrize("value", [None, "news", Broker, app])
def test_a_broker_server_serves_a_broker(value: Any) -> None:
    assert "broker has to be minproto.Broker" in message_of(TypeError, BrokerServer, value)


@pytest.mark.parametrize(
    ("arguments", "error"),
    [(["get"], ValueError), ([["GET", "POST"]], TypeError), ([b"GET"], TypeError), ([""], ValueError), ([None], TypeError)],
)
def test_not_allowed_names_methods(arguments: list[Any], error: type[Exception]) -> None:
    assert "method" in message_of(error, not_allowed, *arguments)


def test_not_allowed_names_the_methods() -> None:
    """RFC 9110 §15.5.6: a 405 MUST have an Allow field; and §15.5: it SHOULD say what is wrong."""
    response = not_allowed("GET", "HEAD")
    assert (response.status, response.headers.get("allow"), response.body) == (405, "GET, HEAD", b"method not allowed\n")


@pytest.mark.parametrize(
    ("make", "options", "says"),
    [
        (lambda **options: Server(app, **options), {"prot": 8000}, "there is no option prot: did you mean port?"),
        (lambda **options: Server(app, **options), {"http2limits": 1}, "did you mean http2_limits?"),
        (lambda **options: Server(app, **options), {"password": "a"}, "the options are host, port, path, "),
        (lambda **options: BrokerServer(Broker(), **options), {"pasword": "a"}, "did you mean password?"),
        (lambda **options: wire.Wire(Address("a", 1), None, print, **options), {"hots": "a"}, "did you mean host?"),  # type: ignore[arg-type]
    ],
)
def test_an_unknown_option_names_the_nearest(make: Any, options: dict[str, Any], says: str) -> None:
    assert says in message_of(TypeError, make, **options)


@pytest.mark.parametrize(
    ("typed", "config"),
    [
        (listener.ListenerOptions, listener.ListenerConfig),
        (server.ServerOptions, server.Config),
        (resp.BrokerServerOptions, resp.Config),
    ],
)
def test_the_types_of_options_are_those_of_the_config(typed: Any, config: Any) -> None:
    assert get_type_hints(typed) == get_type_hints(config)
    assert not typed.__required_keys__  # as each field of the config has a default: it can be made without arguments
    assert config() == config()


def test_the_page_names_each_option() -> None:
    page = (ROOT / "docs" / "options.md").read_text()
    for config in server.Config, resp.Config, Timeouts:
        for option in fields(config):
            assert f"`{option.name}`" in page, option.name


@pytest.mark.parametrize("client", [connect_http, connect_http2, connect, EventSource, RemoteBroker])
def test_the_page_names_each_option_of_a_client(client: Any) -> None:
    table = (ROOT / "docs" / "options.md").read_text().partition("| client | options |")[2]
    row = next(line for line in table.splitlines() if f"`{client.__name__}(" in line)
    for name in inspect.signature(client).parameters:
        assert f"`{name}`" in row or name in ("host", "port", "url"), name


@pytest.mark.parametrize("checker", ["mypy", "pyright"])
def test_type_checkers_see_a_wrong_option(tmp_path: Path, checker: str) -> None:
    """Each line of ``typed_program.py`` with the comment "error", and no other."""
    program = tmp_path / "typed_program.py"
    program.write_text(Path(__file__).with_name("typed_program.py").read_text())
    if importlib.util.find_spec(checker) is None:
        pytest.skip(f"{checker} is not installed")
    config = tmp_path / "pyrightconfig.json"
    config.write_text(json.dumps({"extraPaths": [str(ROOT / "src")], "reportUnusedCoroutine": "none"}))
    options = {"mypy": ["--strict", "--cache-dir", str(tmp_path / "cache"), str(program)], "pyright": ["-p", str(tmp_path)]}
    command = [sys.executable, "-m", checker, *options[checker]]
    done = subprocess.run(command, cwd=ROOT, text=True, capture_output=True, timeout=200)
    found = {int(line) for line in re.findall(r"typed_program\.py:(\d+)(?::\d+)?(?::| -) error", done.stdout)}
    wrong = {number for number, line in enumerate(program.read_text().splitlines(), 1) if line.endswith("# error")}
    assert len(wrong) > 60 and found == wrong, done.stdout


def test_the_types_of_a_policy_are_the_policies() -> None:
    assert get_args(get_type_hints(Broker.subscribe)["on_overflow"]) == tuple(policy.value for policy in broker_core.Overflow)


@pytest.mark.parametrize("make", [
    lambda: Request(RequestHead("GET", "/", Headers([("host", "a")])), None, pipe=None, has_content=False),
    lambda: ClientResponse(ResponseHead(200, Headers()), None),
], ids=["request", "response"])  # fmt: skip
def test_a_body_timeout_is_seconds_or_none(make):
    """It is refused when it is set: later it would fail in the middle of somebody's upload."""
    message = make()
    for seconds in (None, 0, 2.5, 10, math.inf):
        message.body_timeout = seconds
        assert message.body_timeout == seconds
    for wrong, error in (("5", TypeError), (True, TypeError), (-1, ValueError), (math.nan, ValueError)):
        with pytest.raises(error, match=f"body_timeout has to be .*, not {wrong!r}"):
            message.body_timeout = wrong
    assert message.body_timeout == math.inf
