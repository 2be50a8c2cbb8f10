"""What an app asks of a request, and what it may answer: the types of ``minproto.aio.http`` and their common misuses."""

import json
from http import HTTPStatus
from types import MappingProxyType
from typing import Any

import pytest
from harness import serving, virtual

from minproto import AccessLog, EventSource, LocalProtocolError, Request, Response, Upgrade, connect
from minproto.aio.http import Query
from minproto.aio.http1_client import ClientConnection
from minproto.aio.http2_client import ClientConnection as Http2Connection
from minproto.http import Headers, RequestHead


def fields() -> Headers:
    return Headers([("host", "example.org"), ("accept", "a"), ("cookie", ""), ("accept", "b")])


def request(target: str, method: str = "GET") -> Request:
    return Request(RequestHead(method, target, fields()), None, None)  # type: ignore[arg-type]


# ---- Headers ---------------------------------------------------------------------------------------------------------


def test_headers_are_asked_by_name() -> None:
    headers = fields()
    assert "host" in headers and "Host" in headers and "cookie" in headers and "te" not in headers
    assert [headers[name] for name in ("host", "HOST", "accept", "cookie")] == ["example.org", "example.org", "a, b", ""]
    assert (headers.get("Accept"), headers.get("te"), headers.get("te", "x")) == ("a, b", None, "x")
    assert headers.get_all("Accept") == ["a", "b"] and headers.get_all("te") == []
    with pytest.raises(KeyError, match="te"):
        headers["te"]


def test_headers_stay_a_list_of_pairs() -> None:
    headers = fields()
    assert ("host", "example.org") in headers and ("host", "b") not in headers
    assert headers[0] == ("host", "example.org") and headers[-1] == ("accept", "b") and headers[1:2] == [("accept", "a")]
    headers[0] = ("host", "b")
    headers[2:3] = []
    assert headers == [("host", "b"), ("accept", "a"), ("accept", "b")] == list(headers)
    assert dict(headers) == {"host": "b", "accept": "b"}


def test_a_field_is_set_in_the_place_of_all_of_its_name() -> None:
    headers = Response(headers=[("Accept", "a"), ("x", "y"), ("accept", "b")]).headers
    headers["ACCEPT"] = "c"
    headers["new"] = "d"
    assert headers == [("x", "y"), ("accept", "c"), ("new", "d")]


@pytest.mark.parametrize("name", [b"host", None, 1.5, ["host", "a"]])
def test_a_name_that_is_no_str_is_no_silent_false(name: Any) -> None:
    for ask in (fields().get, fields().get_all, fields().__contains__):
        with pytest.raises(TypeError, match="has to be str"):
            ask(name)
    with pytest.raises(TypeError):
        fields()[name]


# ---- the query -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("query", "pairs"),
    [
        ("", []),
        ("a=1&a=2&b=3", [("a", "1"), ("a", "2"), ("b", "3")]),
        ("a&b=&=c&&d", [("a", ""), ("b", ""), ("", "c"), ("d", "")]),
        ("a=x+y%2B%20z&b+c=1", [("a", "x y+ z"), ("b c", "1")]),
        ("a=%zz&b=100%&c=%f", [("a", "%zz"), ("b", "100%"), ("c", "%f")]),
        ("a=%ff%e2%82%ac", [("a", "\ufffd\u20ac")]),
        ("a=1;b=2", [("a", "1;b=2")]),
    ],
)
def test_no_value_of_a_query_is_lost(query: str, pairs: list[tuple[str, str]]) -> None:
    found = request(f"/path?{query}").query
    assert found == dict(pairs)
    for name in {name for name, _ in pairs}:
        assert found.get_all(name) == [value for key, value in pairs if key == name]
    assert found.get_all("missing") == [] and found.get("missing") is None
    assert isinstance(found, dict) and isinstance(found, Query)


# ---- responses -------------------------------------------------------------------------------------------------------


PAIRS = [("xy", "x"), ("accept", "y")]
GOOD_HEADERS: list[Any] = [
    {"xy": "x", "Accept": "y"},
    MappingProxyType({"XY": "x", "accept": "y"}),
    [("xy", "x"), ("accept", "y")],
    (("xy", "x"), ("accept", "y")),
    [["xy", "x"], ["accept", "y"]],
    {"xy": "x", "accept": "y"}.items(),
    Headers(PAIRS),
    iter(PAIRS),
]
BAD_HEADERS: list[Any] = [
    None,
    5,
    "te: x",
    b"te: x",
    "",
    ["te"],
    ["te", "ab"],
    [b"te"],
    [("te", "x", "y")],
    [("te",)],
    [()],
    [{"te", "ab"}],
    [{"te": "x"}],
    [b"ab", b"cd"],
    [("te", b"x")],
    [(b"te", "x")],
    [("te", 1)],
    [("te", None)],
    [None],
    {"te": 1},
    {"te": ["x", "y"]},
    {1: "x"},
    {"te", "ab"},
]


def makers() -> list[Any]:
    """Whatever takes headers without a connection."""
    return [
        lambda headers: Response(headers=headers).headers,
        lambda headers: Response.text("", headers=headers).headers[1:],
        lambda headers: Upgrade(handler, headers).headers,
        lambda headers: EventSource("http://a/", headers=headers)._headers[-len(PAIRS) :],  # behind ours
    ]


async def handler(pipe: Any) -> None:
    pass


@pytest.mark.parametrize("headers", GOOD_HEADERS)
def test_headers_are_a_mapping_or_pairs(headers: Any) -> None:
    headers = list(headers) if hasattr(headers, "__next__") else headers
    for make in makers():
        assert make(headers) == PAIRS


@pytest.mark.parametrize("headers", BAD_HEADERS)
def test_headers_of_another_shape_are_refused_when_they_are_given(headers: Any) -> None:
    for make in makers():
        with pytest.raises(TypeError, match=r"header.* has to be .*, not "):
            make(headers)


@virtual
async def test_a_request_takes_the_same_headers() -> None:
    seen = []

    async def app(request: Request) -> Response:
        seen.append(request.headers["xy"])
        return Response()

    async with serving(app) as server:
        clients = [ClientConnection(server.attach(), "a"), Http2Connection(server.attach(), "a", "http")]
        for client in clients:
            for headers in GOOD_HEADERS[:-1]:
                await (await client.request("GET", "/", headers)).read()  # type: ignore[attr-defined]
            for headers in BAD_HEADERS:
                with pytest.raises(TypeError, match="header"):
                    await client.request("GET", "/", headers)  # type: ignore[attr-defined]
            await client.close()  # type: ignore[attr-defined]
    assert seen == ["x"] * 14
    for headers in BAD_HEADERS:
        with pytest.raises(TypeError, match="header"):
            await connect("ws://127.0.0.1:1/", headers=headers)


@pytest.mark.parametrize("status", ["404", "200 OK", True, None, 200.0, b"200", [200], (200,), {"a": "b"}])
def test_a_status_is_an_int(status: Any) -> None:
    for make in (Response, Response.text):
        with pytest.raises(TypeError, match="status has to be a whole number"):
            make("" if make is Response.text else b"", status)  # type: ignore[operator]
    with pytest.raises(TypeError, match="status"):
        Upgrade(handler, status=status)


@pytest.mark.parametrize("status", [99, 1000, 0, -200, 100, 101, 103, 199, 600])
def test_a_status_is_that_of_a_final_response(status: int) -> None:
    with pytest.raises(ValueError, match="status has to be 200 to 599, not"):
        Response(status=status)
    with pytest.raises(ValueError, match="status has to be"):
        Response.text("", status)


def test_a_status_may_be_one_of_the_standard_library() -> None:
    assert Response(status=HTTPStatus.NOT_FOUND).status == 404
    assert Upgrade(handler, status=200).status == 200
    for status in (404, 300, 100):
        with pytest.raises(ValueError, match="status has to be"):
            Upgrade(handler, status=status)


async def generator() -> Any:
    yield b"a"


def sync_generator() -> Any:
    yield b"a"


class Pieces:
    def __aiter__(self) -> Any:
        return generator()


@pytest.mark.parametrize(
    ("body", "hint"),
    [
        ("text", "Response.text"),
        (None, 'b"" means no content'),
        (404, "the order of a Response is body, status, headers"),
        (bytearray(b"a"), "bytes(content)"),
        (memoryview(b"a"), "bytes(content)"),
        (generator, "call it"),
        (sync_generator(), "async generator"),
        ([b"a"], "async generator"),
        ((b"a",), "async generator"),
        ({"a": 1}, "Response.json"),
        (Pieces(), "aiter(content)"),
        (object(), ""),
    ],
)
def test_content_of_another_kind_is_refused_with_the_way_out(body: Any, hint: str) -> None:
    with pytest.raises(TypeError, match="the content has to be bytes or an async iterator, not ") as caught:
        Response(body)
    assert hint in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("text", [b"bytes", None, 5, ["a"]])
def test_a_text_is_a_str(text: Any) -> None:
    for make in (Response.text, Response.html):
        with pytest.raises(TypeError, match="text has to be str, not"):
            make(text)


def test_a_page_and_json_have_their_types() -> None:
    page = Response.html("<p>ü", 201, {"x": "y"})
    assert (page.body, page.status) == ("<p>ü".encode(), 201)
    assert page.headers == [("content-type", "text/html; charset=utf-8"), ("x", "y")]
    value = Response.json({"a": [1, None, "ü"]})
    assert json.loads(value.body) == {"a": [1, None, "ü"]}  # type: ignore[arg-type]
    assert value.headers == [("content-type", "application/json")]
    problem = Response.json({}, 400, {"content-type": "application/problem+json"})
    assert (problem.status, problem.headers) == (400, [("content-type", "application/problem+json")])
    for wrong in (float("nan"), {1, 2}, b"bytes"):
        with pytest.raises((TypeError, ValueError)):
            Response.json(wrong)


@pytest.mark.parametrize("given", [None, "handler", Response(), Upgrade, [handler]])
def test_an_upgrade_takes_a_function(given: Any) -> None:
    with pytest.raises(TypeError, match="handler has to be an async function"):
        Upgrade(given)


async def test_a_body_that_is_awaited_says_what_to_do() -> None:
    body: Any = request("/").body
    for misuse in (lambda: body(), lambda: body.__await__()):
        with pytest.raises(TypeError, match=r"await request\.read\(\)"):
            misuse()
    with pytest.raises(TypeError, match=r"await request\.read\(\)"):
        await body


@pytest.mark.parametrize("limit", ["10", None, 1.5, True])
async def test_a_limit_of_a_read_is_a_count(limit: Any) -> None:
    with pytest.raises(TypeError, match="limit has to be a whole number"):
        await request("/").read(limit)




@virtual
async def test_a_request_names_the_method_or_target_that_cannot_be_sent() -> None:
    async with serving() as server:
        for client in (ClientConnection(server.attach(), "a"), Http2Connection(server.attach(), "a", "http")):
            request: Any = client.request
            for method, target, error, says in [
                (None, "/", TypeError, "method has to be str, not None"),
                (b"GET", "/", TypeError, "method has to be str, not b'GET'"),
                ("GET", None, TypeError, "target has to be str, not None"),
                ("GET", b"/", TypeError, "target has to be str, not b'/'"),
                ("", "/", LocalProtocolError, "a method is a token, such as GET, not ''"),
                ("/", "GET", LocalProtocolError, "a method is a token, such as GET, not '/'"),
                ("GET", "", LocalProtocolError, "a target is a path, such as /a?b=c, .* not ''"),
                ("GET", "/a b", LocalProtocolError, "a target is a path, such as /a?b=c, .* not '/a b'"),
                ("GET", "/a#b", LocalProtocolError, "not '/a#b'"),
                ("GET", "hello", LocalProtocolError, "request-target: 'hello' .a target is a path"),
                ("CONNECT", "a", LocalProtocolError, "CONNECT takes host:port: 'a'"),
            ]:
                with pytest.raises(error, match=says.replace("?", r"\?")):
                    await request(method, target)
            with pytest.raises(LocalProtocolError, match=r"Host has to be one host, .* not 'a b'"):
                await request("GET", "/", {"Host": "a b"})
            assert (await request("GET", "/hello")).status == 200
            await client.close()


def test_a_connection_is_made_by_connect_http() -> None:
    with pytest.raises(TypeError, match=r"pipe has to be a connected pipe \(connect_http\(host, port\) makes one\), not 'a'"):
        ClientConnection("a", 80)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("status", "fields", "told"),
    [
        (204, [], "a 204 with this head has 0 bytes of content, not 3"),
        (304, [], "a 304 with this head has 0 bytes of content, not 3"),
        (205, [], "a 205 has no content"),
        (200, [("content-length", "5")], "a 200 with this head has 5 bytes of content, not 3"),
    ],
)
@virtual
async def test_content_that_its_head_does_not_have_is_in_the_log(
    logged: list[str], status: int, fields: list[tuple[str, str]], told: str
) -> None:
    async def app(_: Request) -> Response:
        return Response(b"abc", status, fields)

    async with serving(app) as server:
        client = ClientConnection(server.attach(), "a")
        assert (await client.request("GET", "/")).status == 500
        await client.close()
    assert told in logged.pop()


@pytest.mark.parametrize("write", ["access.log", b"", 5, handler, AccessLog])
def test_an_access_log_writes_by_a_plain_function(write: Any) -> None:
    with pytest.raises(TypeError, match="write has to be a "):
        AccessLog(write)


@pytest.mark.parametrize("headers", [["te"], {"te": "x"}, Headers([("a", "b"), "te"])])  # type: ignore[list-item]
@virtual
async def test_headers_that_were_changed_are_never_sent_in_parts(headers: Any, logged: list[str]) -> None:
    """The constructor does not see what an app does later: the cores refuse what is no pair."""

    async def app(request: Request) -> Response:
        response = Response(b"content")
        response.headers = headers
        return response

    async with serving(app) as server:
        for client in (ClientConnection(server.attach(), "a"), Http2Connection(server.attach(), "a", "http")):
            response = await client.request("GET", "/")  # type: ignore[attr-defined]
            assert response.status == 500 and "t" not in response.headers
            await response.read()
            await client.close()  # type: ignore[attr-defined]
    assert len(logged) == 2
    logged.clear()
