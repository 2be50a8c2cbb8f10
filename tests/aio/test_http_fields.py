"""RFC 9110 §1 to §8, where only a shell obeys: it has the clock, the TLS context and the fields that the user did not give."""

import os
import ssl
import time
from datetime import UTC, datetime

import pytest
from h2_harness import talking
from harness import get, serving, virtual

from minproto import EventSource, Response, Upgrade
from minproto.aio import http, reconnect
from minproto.aio.address import split_client_url
from minproto.aio.http_client import request_fields
from minproto.aio.options import client_context
from minproto.aio.reconnect import Refused, RefusedResponse, retry_after
from minproto.http import Headers

# ---- §4: https -----------------------------------------------------------------------------------------------------------


def test_a_https_url_always_has_tls():
    """§4.2.2: a client MUST ensure that a request for an https resource is secured, also if the user gives no context."""
    context = client_context(None, "https", "https")
    assert context is not None and context.check_hostname and EventSource("https://a/")._ssl is not None
    assert client_context(None, "http", "https") is None


def test_a_clients_own_context_has_strong_algorithms_only():
    """RFC 6455 §10.6: without a context of the user's, a client uses only strong TLS algorithms."""
    context = client_context(None, "wss", "wss")
    assert context is not None and context.minimum_version >= ssl.TLSVersion.TLSv1_2
    for suite in context.get_ciphers():
        assert suite["strength_bits"] >= 128 and suite["auth"] != "auth-null", suite["name"]


@pytest.mark.parametrize("url", ["http://", "http://:80/", "https://", "https://:443/", "http:///x", "ws://", "wss://:1"])
def test_a_url_without_a_host_is_refused(url):
    """§4.2.1, §4.2.2."""
    with pytest.raises(ValueError, match="host"):
        split_client_url(url, "ws" if url.startswith("ws") else "http")


# ---- §5.6.7: dates -------------------------------------------------------------------------------------------------------


@pytest.fixture
def far_from_greenwich(monkeypatch):
    """A machine whose local time is eight hours behind UTC."""
    monkeypatch.setenv("TZ", "AAA8")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def seconds_to_wait(monkeypatch, value, now):
    monkeypatch.setattr(reconnect.time, "time", now.timestamp)
    return retry_after(Refused("no", 503, RefusedResponse(503, Headers([("retry-after", value)]), b"")))


@pytest.mark.parametrize(
    "value", ["Sun, 06 Nov 1994 08:49:37 GMT", "Sunday, 06-Nov-94 08:49:37 GMT", "Sun Nov  6 08:49:37 1994"]
)
def test_a_date_is_read_in_all_three_formats(monkeypatch, far_from_greenwich, value):
    """A recipient MUST accept all three; each is in UTC, though the last names no zone."""
    assert os.environ["TZ"] == "AAA8" and time.timezone == 8 * 3_600
    assert seconds_to_wait(monkeypatch, value, datetime(1994, 11, 6, 8, 49, 30, tzinfo=UTC)) == 7


@pytest.mark.parametrize("year", [2026, 2040, 2048])
def test_a_year_of_two_digits_is_not_more_than_50_years_ahead(monkeypatch, year):
    """MUST: "99" is 1999, which has passed, and not 2099, for which we would wait for decades."""
    now = datetime(year, 1, 1, tzinfo=UTC)
    assert seconds_to_wait(monkeypatch, "Friday, 31-Dec-99 23:59:59 GMT", now) == 0


def test_a_date_that_we_send_has_the_one_format(monkeypatch):
    """MUST: IMF-fixdate, with no other whitespace: a day of one digit has a 0."""
    monkeypatch.setattr(http.time, "time", lambda: 784_111_777.9)
    monkeypatch.setattr(http, "_date", (0.0, ("date", "")))
    assert http.date_field() == ("date", "Sun, 06 Nov 1994 08:49:37 GMT")


def test_a_date_is_that_of_its_second(monkeypatch):
    """§6.6.1, SHOULD: the best approximation; the field is made once a second, and not once for ever."""
    monkeypatch.setattr(http, "_date", (0.0, ("date", "")))
    for now, date in ((0.5, "00:00:00"), (59.9, "00:00:59"), (60.0, "00:01:00"), (60.9, "00:01:00"), (59.0, "00:00:59")):
        monkeypatch.setattr(http.time, "time", lambda now=now: 784_080_000 + now)
        assert http.date_field() == ("date", f"Sun, 06 Nov 1994 {date} GMT")


# ---- §6.5: trailers ------------------------------------------------------------------------------------------------------


@virtual
async def test_trailers_stay_out_of_the_header_that_an_app_sees():
    """§6.5.1: a recipient MUST NOT merge them."""

    async def app(request):
        await request.read()
        return Response.text(f"{request.headers.get('x-user')} {request.trailers.get('x-user')}")

    async with serving(app) as server:
        chunks = b"1\r\na\r\n0\r\nX-User: admin\r\n\r\n"
        head = get("/", "X-User: guest", "Transfer-Encoding: chunked", method="POST")
        assert (await server.client().ask(head + chunks)).body == b"guest admin"
    async with talking(app) as (_, peer):
        stream = peer.open("POST", "/", ("x-user", "guest"))
        await peer.upload(stream, b"a", end=False)
        peer.end(stream, (("x-user", "admin"),))
        assert (await peer.answer(stream)).body == b"guest admin"


# ---- §6.6.1: Date --------------------------------------------------------------------------------------------------------


async def tunnel(request):
    async def echo(pipe):
        pipe.write(await pipe.read())

    return Upgrade(echo, [("date", "now")] if "x" in request.headers else [], status=200)


@virtual
async def test_the_200_that_opens_a_tunnel_has_a_date():
    """An origin server with a clock MUST generate Date in each 2xx; once, if the app has said it."""
    async with serving(tunnel) as server:
        for fields in ([], ["X: y"]):
            client = server.client()
            client.send(get("a:80", *fields, method="CONNECT"))
            answer = await client.answer("CONNECT")
            assert answer.status == 200 and len(answer.headers.get_all("date")) == 1
            client.pipe.close_write()
            await client.reads()


@virtual
async def test_the_200_that_opens_a_tunnel_of_http2_has_a_date():
    """The same for a stream."""
    async with talking(tunnel) as (_, peer):
        for fields in ([], [("x", "y")]):
            stream = peer.open("CONNECT", "a:80", *fields, host="a:80")
            await peer.upload(stream, b"echo")
            answer = await peer.answer(stream)
            assert answer.status == 200 and len(answer.headers.get_all("date")) == 1


@pytest.mark.parametrize("status", [200, 302, 404])
@virtual
async def test_each_answer_has_a_date(status):
    """Each 2xx, 3xx and 4xx, of the app's and of the server's own."""

    async def app(request):
        return Response(b"", status)

    async with serving(app) as server:
        assert len((await server.client().ask(get())).headers.get_all("date")) == 1
        for wrong, code in ((get("*"), 400), (get(method="BREW"), 501), (b"GET / HTTP/1.1\r\n\r\n", 400)):
            answer = await server.client().ask(wrong)
            assert (answer.status, len(answer.headers.get_all("date"))) == (code, 1)
    async with talking(app) as (_, peer):
        assert len((await peer.get("/")).headers.get_all("date")) == 1


# ---- §7.2: Host ----------------------------------------------------------------------------------------------------------


def test_host_is_the_first_field():
    """SHOULD."""
    assert request_fields("GET", "/", {"a": "b"}, b"", "example.org")[0] == ("host", "example.org")


# ---- §8.6: Content-Length ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "content", "length"),
    [
        ("POST", b"", "0"), ("PUT", b"", "0"), ("PATCH", b"", "0"), ("POST", b"abc", "3"), ("GET", b"abc", "3"),
        ("GET", b"", None), ("HEAD", b"", None), ("DELETE", b"", None), ("OPTIONS", b"", None),
    ],
)  # fmt: skip
def test_a_request_says_its_length_where_content_has_a_meaning(method, content, length):
    """SHOULD, and SHOULD NOT where there is no content and none is anticipated."""
    assert request_fields(method, "/", [], content, "a").get("content-length") == length
