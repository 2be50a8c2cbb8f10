"""RFC 9110 §1 to §8, as far as the tests of one version of HTTP do not show it: what both versions have to obey alike."""

from http import HTTPStatus

import pytest

from minproto import http1, http2
from minproto.core import CLIENT, SERVER, LocalProtocolError, RemoteProtocolError
from minproto.deflate import parse_extensions
from minproto.http import (
    REASONS,
    Data,
    EndOfMessage,
    Headers,
    RequestHead,
    ResponseHead,
    has_no_content,
    is_field,
    split_list,
    split_target,
    target_scheme,
)
from minproto.http2_events import StreamFault
from minproto.http2_fields import parse_request, parse_response, parse_trailers
from minproto.http2_frames import StreamError, encode_headers
from minproto.websocket_handshake import handshake

HOST = Headers([("host", "a")])


def http1_server(data: bytes) -> http1.Connection:
    """Return a server that has received a request of HTTP/1.1, read to the end of its head."""
    core = http1.Connection(SERVER)
    core.receive_data(data)
    core.next_event()
    return core


def http2_pair(*requests: RequestHead) -> tuple[http2.Connection, http2.Connection]:
    """Return a client and a server of HTTP/2. The server has received the client's requests."""
    client, server = http2.Connection(CLIENT), http2.Connection(SERVER)
    greeting = server.send(server.greeting())
    server.receive_data(client.send(client.greeting()))
    for request in requests:
        request.stream = client.next_stream
        server.receive_data(client.send(request))
    client.receive_data(greeting)
    for core in (client, server):
        list(core.events())
    return client, server


# ---- §2.3: lengths ----------------------------------------------------------------------------------------------------


def test_a_head_that_fills_the_buffer_is_refused() -> None:
    """A recipient SHOULD be defensive: a head that has as many bytes as it may have, and no end, gets none any more."""
    head = b"GET / HTTP/1.1\r\nHost: a\r\nX: "
    for size, refused in ((http1.Limits.max_head - 1, False), (http1.Limits.max_head, True)):
        core = http1.Connection(SERVER)
        core.receive_data(head.ljust(size, b"a"))
        if not refused:
            assert core.next_event() is None
            continue
        with pytest.raises(RemoteProtocolError) as caught:
            core.next_event()
        assert caught.value.code == 431


# ---- §3.3: no request is known by its connection -----------------------------------------------------------------------


def test_a_request_knows_nothing_of_the_one_before() -> None:
    """A server MUST NOT assume that both come from the same user: each is on its own, in what it offers and how it ends."""
    first = b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n"
    core = http1_server(first + b"GET / HTTP/1.1\r\nHost: b\r\n\r\n")
    list(core.events())
    core.send_whole(ResponseHead(200, Headers()), b"")
    assert core.next_event() == RequestHead("GET", "/", Headers([("host", "b")]))
    list(core.events())
    with pytest.raises(LocalProtocolError):
        core.send(ResponseHead(101, Headers([("upgrade", "x"), ("connection", "upgrade")])))


# ---- §4: targets -------------------------------------------------------------------------------------------------------


def test_a_target_of_8000_octets_is_served_in_http1() -> None:
    """§4.1: RECOMMENDED of all recipients."""
    target = "/" + 7_999 * "a"
    core = http1.Connection(SERVER)
    core.receive_data(f"GET {target} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
    assert core.next_event() == RequestHead("GET", target, HOST)


def test_a_target_of_8000_octets_is_served_in_http2() -> None:
    """§4.1."""
    client, server = http2_pair()
    server.receive_data(client.send(RequestHead("GET", "/" + 7_999 * "a", HOST, "2", 1)))
    assert next(server.events()) == RequestHead("GET", "/" + 7_999 * "a", HOST, "2", 1)


@pytest.mark.parametrize("target", ["http:///", "http://", "http://:80/", "https:///x", "https://?q", "https://:443"])
def test_a_uri_without_a_host_is_neither_taken_nor_sent(target: str) -> None:
    """§4.2.1 and §4.2.2: a recipient MUST reject it, and a sender MUST NOT generate it."""
    with pytest.raises(RemoteProtocolError) as caught:
        http1_server(f"GET {target} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
    assert caught.value.code == 400
    with pytest.raises(LocalProtocolError):
        http1.Connection(CLIENT).send(RequestHead("GET", target, HOST))


@pytest.mark.parametrize("authority", ["u@a", "u:p@a", "@a", "trusted.example@a:80"])
def test_userinfo_is_neither_taken_nor_sent(authority: str) -> None:
    """§4.2.4: in a target, in Host, and in HTTP/2 in :authority."""
    for target, host in ((f"http://{authority}/", "a"), ("/", authority)):
        with pytest.raises(RemoteProtocolError) as caught:
            http1_server(f"GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
        assert caught.value.code == 400
        with pytest.raises(LocalProtocolError):
            http1.Connection(CLIENT).send(RequestHead("GET", target, Headers([("host", host)])))
    client, _ = http2_pair()
    with pytest.raises(LocalProtocolError):
        client.send(RequestHead("GET", "/", Headers([("host", authority)]), "2", 1))


# ---- §5: fields --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", ["close", ",close", "close ,", " , ,\tclose,,", "x, ,close"])
def test_empty_elements_of_a_list_are_ignored(value: str) -> None:
    """§5.6.1.2."""
    assert "" not in split_list(value)
    assert not http1_server(f"GET / HTTP/1.1\r\nHost: a\r\nConnection: {value}\r\n\r\n".encode()).keep_alive


def test_empty_elements_do_not_hide_the_last_coding() -> None:
    """§5.6.1.2: "chunked," still ends with chunked."""
    core = http1_server(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: ,chunked, ,\r\n\r\n1\r\na\r\n0\r\n\r\n")
    assert list(core.events()) == [Data(b"a"), EndOfMessage()]


def test_empty_elements_in_an_offer_of_extensions_are_ignored() -> None:
    """§5.6.1.2."""
    assert parse_extensions(", ,x,\t,y; a=1,") == [("x", []), ("y", [("a", "1")])]


def test_no_list_that_we_send_has_an_empty_element() -> None:
    """§5.6.1.1: a sender MUST NOT."""
    with pytest.raises(LocalProtocolError):
        handshake("a", "/", "dGhlIHNhbXBsZSBub25jZQ==", ["soap", ""])


def test_a_quoted_pair_is_the_octet_behind_the_backslash() -> None:
    """§5.6.4."""
    value = r'permessage-deflate; server_max_window_bits="1\0"; x="a\b\!"'
    assert parse_extensions(value) == [("permessage-deflate", [("server_max_window_bits", "10"), ("x", "ab!")])]


@pytest.mark.parametrize("value", ["a\r\nb: c", "a\nb", "a\rb", "a\0b", "\r\n"])
def test_no_value_of_http2_has_a_line_break_or_a_nul(value: str) -> None:
    """§5.5: a recipient MUST reject it. HTTP/2 can carry these bytes, so only this check keeps them out."""
    for parse, fields in (
        (parse_request, [(":method", "GET"), (":scheme", "http"), (":path", "/"), (":authority", "a"), ("x", value)]),
        (parse_response, [(":status", "200"), ("x", value)]),
    ):
        with pytest.raises(StreamError):
            parse(fields, 1)
    with pytest.raises(StreamError):
        parse_trailers([("x", value)])


@pytest.mark.parametrize("lengths", [["5", "5"], ["5, 5"], ["5,5"], ["5,"]])
def test_a_length_is_said_once_in_what_we_send(lengths: list[str]) -> None:
    """§8.6: no list of lengths matches the grammar, though we take one of equal lengths. §5.3: nor two lines."""
    fields = [("content-length", length) for length in lengths]
    for send in (_http1_response, _http1_request, _http2_response, _http2_request):
        with pytest.raises(LocalProtocolError):
            send(Headers(fields))
        send(Headers(fields[:1] if fields[0] == ("content-length", "5") else [("content-length", "5")]))


def _http1_response(fields: Headers) -> None:
    http1_server(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").send(ResponseHead(200, fields))


def _http1_request(fields: Headers) -> None:
    http1.Connection(CLIENT).send(RequestHead("POST", "/", Headers([*HOST, *fields])))


def _http2_response(fields: Headers) -> None:
    http2_pair(RequestHead("GET", "/", HOST, "2"))[1].send(ResponseHead(200, fields, "2", 1))


def _http2_request(fields: Headers) -> None:
    http2_pair()[0].send(RequestHead("POST", "/", Headers([*HOST, *fields]), "2", 1))


# ---- §6.2: versions ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", ["1.0", "1.1", "1.2"])
def test_the_version_that_we_send_is_the_highest_that_we_know(version: str) -> None:
    """SHOULD: a request is of HTTP/1.1, and so is the response, also to a client of HTTP/1.0 and to one of HTTP/1.2."""
    assert http1.Connection(CLIENT).send(RequestHead("GET", "/", HOST)).startswith(b"GET / HTTP/1.1\r\n")
    core = http1_server(f"GET / HTTP/{version}\r\nHost: a\r\n\r\n".encode())
    assert core.send(ResponseHead(200, Headers([("content-length", "0")]))).startswith(b"HTTP/1.1 200 OK\r\n")


@pytest.mark.parametrize("version", ["0.9", "1.2", "2", "2.0", "1", "1.10", ""])
def test_a_version_that_we_do_not_know_is_not_sent(version: str) -> None:
    """MUST NOT, of both ends."""
    with pytest.raises(LocalProtocolError):
        http1.Connection(CLIENT).send(RequestHead("GET", "/", HOST, version))
    empty = ResponseHead(200, Headers([("content-length", "0")]), version)
    with pytest.raises(LocalProtocolError):
        http1_server(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").send(empty)


# ---- §6.5: trailers ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["content-length", "host", "expect"])
def test_trailers_of_http2_do_not_frame_or_route(name: str) -> None:
    """§6.5.1. In HTTP/1.1: test_http1.py, by the same name."""
    _, server = http2_pair(RequestHead("GET", "/", HOST, "2"))
    server.send(ResponseHead(200, Headers(), "2", 1))
    with pytest.raises(LocalProtocolError):
        server.send(EndOfMessage(Headers([(name, "1")]), 1))
    server.send(EndOfMessage(Headers([("digest", "1")]), 1))


@pytest.mark.parametrize("version", ["1.1", "2"])
def test_trailers_stay_out_of_the_header(version: str) -> None:
    """§6.5.1: a recipient MUST NOT merge them."""
    trailers = Headers([("authorization", "x"), ("digest", "y")])
    if version == "1.1":
        core = http1.Connection(SERVER)
        core.receive_data(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n")
        core.receive_data(b"Authorization: x\r\nDigest: y\r\n\r\n")
        head, end = core.events()
    else:
        client, server = http2_pair()
        server.receive_data(client.send(RequestHead("POST", "/", HOST, "2", 1)) + client.send(EndOfMessage(trailers, 1)))
        head, end = server.events()
    assert isinstance(head, RequestHead) and isinstance(end, EndOfMessage)
    assert "authorization" not in head.headers and end.trailers == trailers


# ---- §7: where a request goes, and to which protocol -------------------------------------------------------------------


@pytest.mark.parametrize(("method", "target"), [("GET", "*"), ("CONNECT", "*"), ("GET", "a:80"), ("OPTIONS", "a:80")])
def test_a_form_of_target_belongs_to_its_method(method: str, target: str) -> None:
    """§7.1: host and port alone are for CONNECT, and "*" is for OPTIONS. Neither is taken or sent with another method."""
    with pytest.raises(RemoteProtocolError) as caught:
        http1_server(f"{method} {target} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
    assert caught.value.code == 400
    with pytest.raises(LocalProtocolError):
        http1.Connection(CLIENT).send(RequestHead(method, target, HOST))
    with pytest.raises(LocalProtocolError):
        http2_pair()[0].send(RequestHead(method, target, HOST, "2", 1))


def test_no_request_is_sent_without_a_host() -> None:
    """§7.2: MUST, in Host or in :authority."""
    with pytest.raises(LocalProtocolError):
        http1.Connection(CLIENT).send(RequestHead("GET", "/", Headers()))
    with pytest.raises(LocalProtocolError):
        http2_pair()[0].send(RequestHead("GET", "/", Headers(), "2", 1))


def test_no_101_comes_before_the_content() -> None:
    """§7.8: so a client that waits for a 100 gets one before the 101."""
    offer = b"Upgrade: x\r\nConnection: upgrade\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\n"
    core = http1_server(b"POST / HTTP/1.1\r\nHost: a\r\n" + offer)
    switch = ResponseHead(101, Headers([("upgrade", "x"), ("connection", "upgrade")]))
    with pytest.raises(LocalProtocolError):
        core.send(switch)
    assert core.expects_continue and core.send(ResponseHead(100, Headers()))
    core.receive_data(b"a")
    assert list(core.events()) == [Data(b"a"), EndOfMessage()]
    assert core.send(switch)


# ---- §8.3: Content-Type ------------------------------------------------------------------------------------------------


def test_an_error_response_says_the_type_of_its_content() -> None:
    """SHOULD: or a browser would guess it from bytes that an attacker may have chosen."""
    core = http1.Connection(SERVER)
    core.receive_data(b"GET / HTTP/1.1\r\n\r\n")
    with pytest.raises(RemoteProtocolError) as caught:
        core.next_event()
    head, content, _ = core.farewell(caught.value)
    assert isinstance(head, ResponseHead) and head.headers["content-type"] == "text/plain"
    assert content == Data(b"missing Host\n")


# ---- §8.6: Content-Length ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("protocol", ["", "websocket"])
def test_a_2xx_to_connect_has_no_length_in_http2(protocol: str) -> None:
    """§8.6, §9.3.6: a tunnel has no length. In HTTP/1.1: test_http1.py."""
    host = Headers([("host", "a:80")])
    client, server = http2_pair(RequestHead("GET", "/", HOST, "2"))
    request = RequestHead("CONNECT", "/" if protocol else "a:80", host, "2", 3, protocol)
    server.receive_data(client.send(request))
    list(server.events())
    with pytest.raises(LocalProtocolError):
        server.send(ResponseHead(200, Headers([("content-length", "0")]), "2", 3))
    assert server.send(ResponseHead(404, Headers([("content-length", "1")]), "2", 3))


@pytest.mark.parametrize("status", [100, 103, 204])
def test_a_1xx_and_a_204_have_no_length(status: int) -> None:
    """§8.6."""
    fields = Headers([("content-length", "0")])
    with pytest.raises(LocalProtocolError):
        http1_server(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").send(ResponseHead(status, fields))
    _, server = http2_pair(RequestHead("GET", "/", HOST, "2"))
    with pytest.raises(LocalProtocolError):
        server.send(ResponseHead(status, fields, "2", 1))


@pytest.mark.parametrize("length", ["18446744073709551616", "18446744073709551617", 100 * "9", "1" + 4_300 * "0"])
@pytest.mark.parametrize("receive", ["http1", "http2"])
def test_a_length_that_overflows_other_programs_is_refused(length: str, receive: str) -> None:
    """§8.6: 2**64 is 0, and 2**64 + 1 is 1, where a number has 64 bits; and Python's ``int`` stops at 4,300 digits."""
    if receive == "http1":
        with pytest.raises(RemoteProtocolError) as caught:
            http1_server(f"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n".encode())
        assert caught.value.code == 400
        return
    _, server = http2_pair()
    head = http2.Connection.coder(100_000).encode([(":method", "POST"), (":scheme", "http"), (":path", "/"),
                                                   (":authority", "a"), ("content-length", length)])  # fmt: skip
    server.receive_data(encode_headers(1, head, False))
    assert isinstance(next(server.events()), StreamFault)


def test_content_of_http2_has_to_be_as_long_as_was_said() -> None:
    """§8.6: what is known to be wrong MUST NOT be sent. In HTTP/1.1: test_http1.py."""
    _, server = http2_pair(RequestHead("GET", "/", HOST, "2"))
    server.send(ResponseHead(200, Headers([("content-length", "2")]), "2", 1))
    for event in (Data(b"abc", 1), EndOfMessage(stream=1)):
        with pytest.raises(LocalProtocolError):
            server.send(event)
    assert server.send(Data(b"ab", 1))


def test_a_field_is_a_pair_of_str() -> None:
    """A text of two letters would unpack into two, too."""
    assert is_field(("te", "trailers"))
    assert not any(is_field(wrong) for wrong in ("te", ("te",), ("te", "a", "b"), ("te", b"a")))  # type: ignore[arg-type]


def test_a_field_is_looked_up_by_a_str() -> None:
    with pytest.raises(TypeError, match="the name of a field has to be str, not b'te'"):
        Headers([("te", "a")]).get(b"te")  # type: ignore[arg-type]


def test_each_status_has_the_reason_of_the_standard() -> None:
    """§15.5. Python's own table has older names for these four before Python 3.13."""
    new = {413: "Content Too Large", 414: "URI Too Long", 416: "Range Not Satisfiable", 422: "Unprocessable Content"}
    assert {status: REASONS[status] for status in new} == new
    others = {status.value: status.phrase for status in HTTPStatus if status not in new}
    assert {status: reason for status, reason in REASONS.items() if status not in new} == others


@pytest.mark.parametrize(
    ("method", "status", "none"),
    [
        *(("GET", status, True) for status in (100, 199, 204, 304)),
        *(("GET", status, False) for status in (200, 203, 205, 303, 305, 599)),
        ("HEAD", 200, True), ("CONNECT", 299, True), ("CONNECT", 300, False),
    ],
)  # fmt: skip
def test_which_responses_have_no_content(method: str, status: int, none: bool) -> None:
    """RFC 9112 §6.3."""
    assert has_no_content(method, status) is none


@pytest.mark.parametrize(
    ("method", "target", "split", "scheme"),
    [
        ("GET", "/a?b?c", (None, "/a", "b?c"), None),
        ("OPTIONS", "*", (None, "*", ""), None),
        ("CONNECT", "a:1", ("a:1", "", ""), None),
        ("GET", "HTTP://A", ("A", "/", ""), "http"),
        ("GET", "coap+tcp://a/b", ("a", "/b", ""), "coap+tcp"),
    ],
)
def test_the_parts_of_a_target(method: str, target: str, split: tuple[str | None, str, str], scheme: str | None) -> None:
    """RFC 9112 §3.2."""
    assert split_target(method, target) == split
    assert target_scheme(RequestHead(method, target, Headers())) == scheme


def test_http2_names_the_scheme_apart() -> None:
    assert target_scheme(RequestHead("GET", "/", Headers(), "2", scheme="HTTPS")) == "https"
