"""What an app may return, and what becomes of it, in both versions: foreign schemes, trailers, upgrades, its own answers to
broken content, a clean-up that fails, and apps that are none."""

import asyncio
from contextlib import asynccontextmanager, suppress

import pytest
from h2_harness import StreamReset, peer_of
from harness import Client, get, serving, virtual

from minproto import EventStream, ProtocolError, Response, Server, Upgrade
from minproto.core import RemoteProtocolError

VERSIONS = pytest.mark.parametrize("version", ["1.1", "2"])


@asynccontextmanager
async def asking(app, version, **options):
    """A server, and ``ask(method, target, body)``, which gives the answer in either version."""
    async with serving(app, **options) as server:
        if version == "2":
            async with peer_of(server) as peer:

                async def ask(method="GET", target="/", body=b"", length=True):
                    fields = [("content-length", str(len(body)))] if body and length else []
                    stream = peer.open(method, target, *fields)
                    await peer.upload(stream, body)
                    return await peer.answer(stream)

                ask.server, ask.peer = server, peer
                yield ask
        else:
            clients = []

            async def ask(method="GET", target="/", body=b"", length=True):
                client = Client(server.attach())
                clients.append(client)
                fields = [f"Content-Length: {len(body)}" if length else "Transfer-Encoding: chunked"] if body else []
                client.send(get(target, *fields, method=method))
                client.send(body if length or not body else b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body))
                return await client.answer(method)

            ask.server = server
            yield ask
            for client in clients:
                with suppress(ConnectionError):
                    await client.pipe.close()


async def hello(request):
    return Response(b"hello")


# -- the scheme of a request


@pytest.mark.parametrize(
    ("tls", "method", "target", "status"),
    [
        (False, "GET", "http://a/", 200),
        (False, "GET", "HTTP://a/", 200),
        (False, "GET", "https://a/", 421),
        (False, "GET", "ftp://a/", 421),
        (False, "OPTIONS", "https://a", 421),
        (False, "OPTIONS", "*", 204),
        (False, "GET", "/", 200),
        (False, "GET", "/https://a/", 200),
        (False, "CONNECT", "a:443", 501),
        (True, "GET", "http://a/", 421),
        (True, "GET", "https://a/", 200),
        (True, "GET", "/", 200),
    ],
)
@virtual
async def test_a_request_for_another_scheme_is_misdirected(tls, method, target, status):
    """RFC 9110 §7.4: MUST reject; 421, since another server might know it. In HTTP/1.1 an absolute target names the scheme."""
    async with serving(hello) as server:
        client = server.client()
        server.ends[-1].info = lambda name: _Tls() if tls and name == "ssl_object" else None
        answer = await client.ask(get(target, method=method))
        assert answer.status == status
        if method != "CONNECT":  # the connection goes on
            assert (await client.ask(get("/"))).status == 200
        await client.pipe.close()


class _Tls:
    def selected_alpn_protocol(self):
        return "http/1.1"


@pytest.mark.parametrize(
    ("method", "scheme", "protocol", "status"),
    [
        ("GET", "http", "", 200),
        ("GET", "HTTP", "", 200),
        ("GET", "https", "", 421),
        ("GET", "ftp", "", 421),
        ("OPTIONS", "https", "", 421),
        ("CONNECT", "http", "any", 501),
        ("CONNECT", "https", "any", 421),
        ("CONNECT", "", "", 501),
    ],
)
@virtual
async def test_a_stream_for_another_scheme_is_misdirected(method, scheme, protocol, status):
    """The same for ``:scheme``, and a CONNECT has none unless it is an extended one."""
    async with serving(hello) as server, peer_of(server) as peer:
        peer.core._scheme = scheme
        await asyncio.sleep(0.001)  # for the server's settings
        tunnel = method == "CONNECT" and not protocol
        stream = peer.open(method, "a:443" if tunnel else "/", protocol=protocol, host="a:443" if tunnel else "a")
        assert (await peer.answer(stream)).status == status
        peer.core._scheme = "http"
        assert (await peer.get("/")).status == 200  # the connection goes on


@VERSIONS
@virtual
async def test_a_trusted_gateway_may_ask_for_any_scheme(version):
    async with asking(hello, version, trusted_gateway=True) as ask:
        if version == "2":
            ask.peer.core._scheme = "https"
        assert (await ask(target="https://a/" if version == "1.1" else "/")).status == 200


# -- content where a status has none


@VERSIONS
@pytest.mark.parametrize("streamed", [False, True])
@virtual
async def test_a_205_with_content_becomes_500(version, streamed, logged):
    """RFC 9110 §15.3.6: a server MUST NOT generate content in a 205."""

    async def app(request):
        return Response(_pieces() if streamed else request.path.encode()[1:], 205)

    async with asking(app, version) as ask:
        assert (await ask(target="/content")).status == 500
        assert "a 205 has no content" in logged.pop()
        if not streamed:
            answer = await ask(target="/")
            assert (answer.status, answer.body) == (205, b"")


async def _pieces():
    yield b"content"


# -- trailers


@VERSIONS
@pytest.mark.parametrize("fields", [[], [("content-length", "5")]])
@virtual
async def test_trailers_follow_bytes(version, fields):
    async def app(request):
        response = Response(b"hello", headers=fields)
        response.trailers.append(("grpc-status", "0"))
        return response

    async with asking(app, version) as ask:
        answer = await ask()
        assert (answer.body, answer.trailers) == (b"hello", [("grpc-status", "0")])
        answer = await ask("HEAD")
        assert (answer.status, answer.body, answer.trailers) == (200, b"", [])


@VERSIONS
@virtual
async def test_trailers_follow_nothing(version):
    """A gRPC error has no message."""

    async def app(request):
        response = Response()
        response.trailers.append(("grpc-status", "5"))
        return response

    async with asking(app, version) as ask:
        answer = await ask()
        assert (answer.body, answer.trailers) == (b"", [("grpc-status", "5")])


@virtual
async def test_a_client_of_http_1_0_gets_the_bytes_alone():
    async def app(request):
        response = Response(b"hello")
        response.trailers.append(("grpc-status", "0"))
        return response

    async with serving(app) as server:
        answer = await server.client().ask(get(version="1.0"))
        assert (answer.body, answer.headers.get("content-length"), answer.trailers) == (b"hello", "5", [])


@VERSIONS
@pytest.mark.parametrize(("status", "length"), [(204, None), (304, None), (200, "7")])
@virtual
async def test_trailers_that_have_no_place_are_an_error_that_says_so(version, status, length, logged):
    async def app(request):
        response = Response(b"" if status != 200 else b"hello", status, [("content-length", length)] if length else [])
        response.trailers.append(("grpc-status", "0"))
        return response

    async with asking(app, version) as ask:
        assert (await ask()).status == 500
        assert ("no trailers" if status != 200 else "Content-Length is not the length") in logged.pop()


@VERSIONS
@virtual
async def test_trailers_behind_a_declared_length_are_told_in_the_log(version, caplog):
    async def app(request):
        async def content():
            yield b"hello"
            response.trailers.append(("grpc-status", "0"))

        response = Response(content(), headers=[("content-length", "5")])
        return response

    async with asking(app, version) as ask:
        answer = await ask()
        assert (answer.body, answer.trailers) == (b"hello", [])
        assert caplog.messages == ["GET /: trailers not sent, since the response has a Content-Length: grpc-status"]


# -- an app's own framing and upgrade


@pytest.mark.parametrize("streams", [False, True])
@virtual
async def test_an_app_that_asks_for_chunks_serves_http_1_0_too(streams):
    async def app(request):
        async def content():
            yield b"hello"

        return Response(content() if streams else b"hello", headers=[("transfer-encoding", "chunked")])

    async with serving(app) as server:
        answer = await server.client().ask(get())
        assert (answer.body, answer.headers.get("transfer-encoding")) == (b"hello", "chunked")
        for field in ([], ["Connection: keep-alive"]):
            answer = await server.client().ask(get("/", *field, version="1.0"))
            assert (answer.status, answer.body, answer.headers.get("transfer-encoding")) == (200, b"hello", None)


OFFER = ("Connection: upgrade", "Upgrade: chat, other/2")


@pytest.mark.parametrize("connection", [[], [("connection", "upgrade")], [("Connection", "x-token, Upgrade")]])
@virtual
async def test_an_upgrade_adds_its_connection_field(connection):
    async def talk(pipe):
        pipe.write(b"hello")

    async def app(request):
        return Upgrade(talk, [("upgrade", "chat"), *connection])

    async with serving(app) as server:
        client = server.client()
        answer = await client.ask(get("/", *OFFER))
        assert answer.status == 101
        assert "upgrade" in (answer.headers.get("connection") or "").lower()
        assert len(answer.headers.get_all("connection")) == 1
        assert await client.reads() == [b"hello"]


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ([], "upgrade field"),
        ([("upgrade", "")], "upgrade field"),
        ([("upgrade", "spdy")], "'spdy'"),
        ([("upgrade", "chat"), ("x-name", "a\r\nb")], "x-name"),
        ([("upgrade", "chat"), ("x name", "a")], "x name"),
    ],
)
@virtual
async def test_an_upgrade_that_can_not_be_is_a_500(fields, said, logged):
    async def talk(pipe):
        raise AssertionError("never")

    async def app(request):
        return Upgrade(talk, fields)

    async with serving(app) as server:
        assert (await server.client().ask(get("/", *OFFER))).status == 500
        assert said in logged.pop()


# -- an app's own answer to content that is broken


async def read(request):
    """Answers in its own format; of each kind of fault."""
    try:
        content = await request.read(10)
    except ProtocolError as error:
        if request.path == "/other":
            raise ValueError("something else") from error
        text = b'{"error": %d}' % error.code
        return Response(_once(text) if request.path == "/streams" else text, error.code)
    return Response(content)


async def _once(text):
    for byte in text:
        yield bytes([byte])


FAULTS = [(version, fault) for version in ("1.1", "2") for fault in ("announced", "arrived", "max_body", "time")]


@pytest.mark.parametrize("target", ["/own", "/streams", "/other"])
@pytest.mark.parametrize(("version", "fault"), [*FAULTS, ("1.1", "broken")])  # in HTTP/2 that is a reset (RFC 9113 §8.1.1)
@virtual
async def test_an_app_answers_content_that_is_refused_in_its_own_format(version, target, fault):
    """And one that makes something else of the error still gives the client the right status."""
    expected = {"time": 408, "broken": 400}.get(fault, 413)
    async with serving(read) as server:
        if version == "2":
            async with peer_of(server) as peer:
                length = {"announced": "11", "max_body": str(2 << 30)}.get(fault)
                stream = peer.open("POST", target, *([("content-length", length)] if length else []))
                if fault == "arrived":
                    await peer.upload(stream, b"x" * 11)
                answer = await peer.answer(stream)
                assert (await peer.get("/hello")).status == 200  # the connection goes on
        else:
            client = server.client()
            if fault == "max_body":
                client.send(get(target, "Transfer-Encoding: chunked", method="POST") + b"80000000\r\n")
            elif fault == "announced":
                client.send(get(target, "Content-Length: 11", method="POST"))
            elif fault == "time":
                client.send(get(target, "Content-Length: 5", method="POST"))
            else:
                broken = b"zz\r\n" if fault == "broken" else b"b\r\n" + b"x" * 11 + b"\r\n"
                client.send(get(target, "Transfer-Encoding: chunked", method="POST") + broken)
            answer = await client.answer()
            assert answer.headers.get("connection") == "close"
            await client.pipe.close()
        assert answer.status == expected
        if target != "/other" and fault != "max_body":
            assert answer.body == b'{"error": %d}' % expected
        if target == "/other":
            assert b"something" not in answer.body


@VERSIONS
@virtual
async def test_an_own_answer_that_breaks_off_is_in_the_log(version, logged):
    """It is the app's failure, whatever was wrong with the request."""

    async def app(request):
        with suppress(ProtocolError):
            await request.read(3)

        async def content():
            yield b"too"
            raise ValueError("my mistake")

        return Response(content(), 413)

    async with asking(app, version) as ask:
        with pytest.raises((RemoteProtocolError, StreamReset)):
            await ask("POST", body=b"much")
        assert "my mistake" in logged.pop()


# -- clean-up that fails


class _Content:
    """Content whose clean-up fails."""

    def __init__(self, *pieces):
        self._pieces = list(pieces)

    def __aiter__(self):
        return self

    async def __anext__(self):
        if not self._pieces:
            raise StopAsyncIteration
        piece = self._pieces.pop(0)
        if isinstance(piece, Exception):
            raise piece
        return piece

    async def aclose(self):
        await asyncio.sleep(1)
        raise ValueError("clean-up")


@pytest.mark.parametrize(
    ("version", "response", "method", "expected"),
    [
        *(
            (version, *case)
            for version in ("1.1", "2")
            for case in [
                (lambda: Response(_Content(b"one", b"two")), "GET", (200, b"onetwo")),
                (lambda: Response(_Content(b"one", b"two")), "HEAD", (200, b"")),
                (lambda: Response(_Content()), "GET", (200, b"")),
                (lambda: Response(_Content(ValueError("first")), 200), "GET", (500, b"internal server error\n")),
                (lambda: Response(_Content(b"one"), 204), "GET", (500, b"internal server error\n")),
                (lambda: EventStream(_Content()), "GET", (200, b": hello\n\n")),
            ]
        ),
        ("1.1", lambda: Response(_Content(b"one")), "CONNECT", (501, b"no tunnels here\n")),
    ],
)
@virtual
async def test_a_clean_up_that_fails_is_logged_and_changes_nothing(version, response, method, expected, logged):
    async def app(request):
        return response()

    async with asking(app, version) as ask:
        answer = await ask(method, "a:80" if method == "CONNECT" else "/")
        assert (answer.status, answer.body) == expected
        await asyncio.sleep(2)
        assert any("clean-up" in line for line in logged)
        assert ask.server.metrics.in_flight == 0
        logged.clear()


@VERSIONS
@virtual
async def test_a_client_that_is_lost_during_a_clean_up_does_not_cancel_it(version):
    """The answer is complete, or given up: there is nothing left to cancel."""
    story = []

    class Content(_Content):
        async def aclose(self):
            await asyncio.sleep(5)
            story.append("cleaned up")

    async def app(request):
        return Response(Content(b"all"))

    async with serving(app) as server:
        if version == "2":
            async with peer_of(server) as peer:
                peer.ask("GET", "/")
                await asyncio.sleep(1)
                peer.pipe.abort()
                await asyncio.sleep(5)
        else:
            client = server.client()
            client.send(get())
            await asyncio.sleep(1)
            client.pipe.abort()
            await asyncio.sleep(5)
        assert story == ["cleaned up"]


# -- what is no app


class _Asgi:
    async def __call__(self, scope, receive, send):
        """As FastAPI and Starlette have it."""


class _Wsgi:
    def __call__(self, environ, start_response):
        """As Flask and Django have it."""


async def _asgi(scope, receive, send):
    """A function."""


def _factory():
    return hello


@pytest.mark.parametrize(
    ("app", "said"),
    [
        (_Asgi(), "_Asgi(scope, receive, send) is an ASGI app (serve it as minproto.ASGI(app), or with `minproto asgi`)"),
        (_asgi, "_asgi(scope, receive, send) is an ASGI app"),
        (_Wsgi(), "_Wsgi(environ, start_response) is a WSGI app, which needs a server such as gunicorn"),
        (_factory, "_factory() is not an app: minproto calls `async def app(request)`"),
        (_Asgi, "app"),
        ("module:app", "app"),
        (None, "app"),
    ],
)
def test_what_is_no_app_is_refused_when_the_server_is_made(app, said):
    with pytest.raises(TypeError) as error:
        Server(app)
    assert said in str(error.value) and "\n" not in str(error.value)


async def _given(value):
    return value


@VERSIONS
@pytest.mark.parametrize(
    ("app", "said"),
    [
        (lambda request: Response(b"sync"), "the app returned Response, which can't be awaited: an app is an `async def"),
        (lambda request: None, "the app returned NoneType, which can't be awaited"),
        (lambda request: _given(None), "the app returned NoneType, which is not a response: an app returns a Response"),
        (lambda request: _given("text"), "the app returned str, which is not a response"),
        (lambda request: _given({"a": 1}), "the app returned dict, which is not a response"),
        (lambda request: _given((b"", 200)), "the app returned tuple, which is not a response"),
    ],
)
@virtual
async def test_what_an_app_returns_instead_of_a_response_is_named_in_the_log(version, app, said, logged):
    async with serving(hello) as serving_:
        serving_.server._app = app
        if version == "2":
            async with peer_of(serving_) as peer:
                assert (await peer.get("/")).status == 500
        else:
            client = serving_.client()
            assert (await client.ask(get())).status == 500
            await client.pipe.close()
        assert said in logged.pop()
        serving_.server._app = hello_body


async def hello_body(request):
    return Response(b"Hello, World!")
