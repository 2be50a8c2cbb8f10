"""The WebSocket core: handshake, frames, messages, closing (RFC 6455), compression (RFC 7692)."""

import random
import secrets
import zlib
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

import minproto.fast.websocket
import minproto.websocket
from minproto import http1
from minproto.core import CLIENT, SERVER, LocalProtocolError, ProtocolError, RemoteProtocolError, Wants
from minproto.deflate import Compression, Deflater, Inflater, Parameters, parse_extensions
from minproto.http import Headers, RequestHead, ResponseHead
from minproto.testing import laws, strategies, subjects
from minproto.testing.cuts import byte_by_byte
from minproto.testing.strategies import arrives_as, websocket_events
from minproto.websocket import (
    CONTROL,
    FIN,
    OPCODE,
    RSV,
    RSV1,
    TRANSITIONS,
    Close,
    Fragment,
    Limits,
    Message,
    Ping,
    Pong,
    Shared,
    State,
    Step,
    encode_frame,
    is_close_code,
    mask,
    parse_header,
    step_of,
)
from minproto.websocket_handshake import Agreement, accept_key, accept_request, check_response, handshake, refusal

KEY = "dGhlIHNhbXBsZSBub25jZQ=="  # the key and its answer of RFC 6455 §1.3
ACCEPT = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
DEFLATE = Agreement(deflate=Parameters())


PLAIN = Agreement()

Connection = minproto.websocket.Connection


@pytest.fixture(
    autouse=True,
    scope="module",
    params=[minproto.websocket.Connection, minproto.fast.websocket.Connection],
    ids=["plain", "fast"],
)
def core(request):
    """Each test is run on the plain core and on the fast one."""
    global Connection
    Connection = request.param


def client(agreement=PLAIN, **limits):
    return Connection(CLIENT, agreement, Limits(**limits))


def server(agreement=PLAIN, **limits):
    return Connection(SERVER, agreement, Limits(**limits))


def events(core, data):
    core.receive_data(data)
    return list(core.events())


def fails(core, data):
    """The code that the bytes are refused with, which has to be at the very last of them."""
    for byte in byte_by_byte(data[:-1]):
        events(core, byte)
    with pytest.raises(RemoteProtocolError) as caught:
        events(core, data[-1:])
    return caught.value.code


# ---- the handshake ---------------------------------------------------------------------------------------------------


def request(**changes):
    """A right handshake, but for these fields: None takes one away, a list repeats it."""
    fields = {
        "host": "server.example.com", "upgrade": "websocket", "connection": "Upgrade", "sec-websocket-key": KEY,
        "sec-websocket-version": "13",
    } | {name.replace("_", "-"): value for name, value in changes.items()}  # fmt: skip
    headers = Headers()
    for name, value in fields.items():
        headers += [(name, line) for line in (value if isinstance(value, list) else [value]) if line is not None]
    return RequestHead("GET", "/chat", headers)


def test_the_example_of_the_standard():
    """RFC 6455 §1.3."""
    asked = request(origin="http://example.com", sec_websocket_protocol="chat, superchat")
    head, agreement = accept_request(asked, ["chat"])
    assert head.status == 101 and agreement == Agreement("chat")
    assert head.headers == [
        ("upgrade", "websocket"), ("connection", "Upgrade"), ("sec-websocket-accept", ACCEPT),
        ("sec-websocket-protocol", "chat"),
    ]  # fmt: skip
    assert accept_key(KEY) == ACCEPT


@pytest.mark.parametrize(
    "changes",
    [
        {"upgrade": "WebSocket"}, {"upgrade": ["h2c", "websocket"]}, {"connection": "keep-alive, UPGRADE"},
        {"connection": ["keep-alive", "upgrade"]}, {"sec_websocket_protocol": "a,,b ,\tc"}, {"x_unknown": "y"},
        {"sec_websocket_extensions": ["x", "permessage-deflate"]}, {"sec_websocket_protocol": ["a", "chat"]},
        {"sec_websocket_extensions": 'x; y="z"; w, permessage-deflate;\t client_max_window_bits = 9,,'},
    ],
)  # fmt: skip
def test_what_may_vary_in_a_handshake(changes):
    head, agreement = accept_request(request(**changes), ["chat"], Compression())
    assert head.status == 101
    for name in ("protocol", "extensions"):  # a list may be split over several lines (RFC 6455 §9.1, §11.3.4)
        if isinstance(changes.get(f"sec_websocket_{name}"), list):
            assert (agreement.subprotocol, agreement.deflate) != (None, None)


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({"upgrade": None}, 426), ({"upgrade": "h2c"}, 426), ({"connection": None}, 426), ({"connection": "close"}, 426),
        ({"sec_websocket_version": None}, 400), ({"sec_websocket_version": "8"}, 426),
        ({"sec_websocket_version": "013"}, 426),
        ({"sec_websocket_version": ["13", "8"]}, 426),
        ({"sec_websocket_key": None}, 400), ({"sec_websocket_key": ""}, 400),
        ({"sec_websocket_key": KEY[:-4]}, 400), ({"sec_websocket_key": KEY + "AAAA"}, 400),
        ({"sec_websocket_key": "=" * 24}, 400),
        ({"sec_websocket_key": [KEY, KEY]}, 400), ({"sec_websocket_protocol": ""}, 400),
        ({"sec_websocket_protocol": " ,"}, 400),
        ({"sec_websocket_protocol": "a b"}, 400), ({"sec_websocket_protocol": "a, a"}, 400),
        ({"sec_websocket_extensions": "a b"}, 400), ({"sec_websocket_extensions": "a;"}, 400),
        ({"sec_websocket_extensions": 'a; b="'}, 400), ({"sec_websocket_extensions": "a; b="}, 400),
        ({"sec_websocket_extensions": ";"}, 400), ({"sec_websocket_extensions": ""}, 400),
        ({"sec_websocket_extensions": " ,"}, 400), ({"sec_websocket_extensions": 'x; y="a b"'}, 400),
        ({"sec_websocket_extensions": 'x; y="a,b"'}, 400), ({"sec_websocket_extensions": "permessage-deflate, x;"}, 400),
        ({"origin": "http://evil.example"}, 403),
    ],
)  # fmt: skip
def test_a_handshake_that_is_refused(changes, status):
    """RFC 6455 §4.2.1, §4.2.2, §4.4, §9.1."""
    with pytest.raises(RemoteProtocolError) as caught:
        accept_request(request(**changes), compression=Compression(), allow_origin=lambda origin: "evil" not in origin)
    assert caught.value.code == status
    head = refusal(caught.value)
    assert head.status == status
    tells = [("connection", "upgrade"), ("upgrade", "websocket"), ("sec-websocket-version", "13")]
    assert head.headers == (tells if status == 426 else [])


@pytest.mark.parametrize(("method", "version"), [("POST", "1.1"), ("HEAD", "1.1"), ("GET", "1.0")])
def test_only_a_get_of_http_1_1_can_be_a_handshake(method, version):
    """RFC 6455 §4.2.1, 1."""
    with pytest.raises(RemoteProtocolError) as caught:
        accept_request(RequestHead(method, "/", request().headers, version))
    assert caught.value.code == 400


def test_a_handshake_without_a_host_is_refused():
    """RFC 6455 §4.2.1, 2: by HTTP/1.1, before it is seen that this is a handshake."""
    http = http1.Connection(SERVER)
    fields = "".join(f"{name}: {value}\r\n" for name, value in request().headers if name != "host")
    http.receive_data(f"GET /chat HTTP/1.1\r\n{fields}\r\n".encode())
    with pytest.raises(RemoteProtocolError) as caught:
        http.next_event()
    assert caught.value.code == 400


@pytest.mark.parametrize("origin", ["", "null", "https://b"])
def test_each_origin_is_asked_for(origin):
    """Also an empty one: a page that can make its Origin empty must not pass for a program."""
    with pytest.raises(RemoteProtocolError) as caught:
        accept_request(request(origin=origin), allow_origin=lambda asked: asked == "https://a")
    assert caught.value.code == 403


def test_over_http_2_there_is_no_upgrade_and_no_key():
    """RFC 8441 §5: an extended CONNECT, answered by 200, with all other fields as they are."""
    headers = Headers([("sec-websocket-version", "13"), ("sec-websocket-protocol", "chat"), ("origin", "https://a")])
    head, agreement = accept_request(RequestHead("CONNECT", "/chat", headers, "2", protocol="websocket"), ["chat"])
    assert (head.status, head.headers, agreement.subprotocol) == (200, [("sec-websocket-protocol", "chat")], "chat")
    with pytest.raises(RemoteProtocolError):
        accept_request(RequestHead("GET", "/chat", headers, "2"), ["chat"])


@pytest.mark.parametrize("protocol", ["", "connect-udp", "websockets"])
def test_over_http_2_a_websocket_needs_its_protocol(protocol):
    """RFC 8441 §5: the value of :protocol is "websocket"."""
    headers = Headers([("sec-websocket-version", "13")])
    with pytest.raises(RemoteProtocolError, match="use an extended CONNECT") as caught:
        accept_request(RequestHead("CONNECT", "/chat", headers, "2", protocol=protocol))
    assert caught.value.code == 400


def test_the_clients_first_choice_is_taken():
    choose = ["superchat", "chat"]
    assert accept_request(request(sec_websocket_protocol="x, chat, superchat"), choose)[1].subprotocol == "chat"
    assert accept_request(request(sec_websocket_protocol="x"), choose)[1].subprotocol is None


def test_a_subprotocol_that_nobody_offered_is_not_answered():
    """RFC 6455 §4.2.2, 4: the field MUST NOT be there, not even empty."""
    for asked in (request(), request(sec_websocket_protocol="soap")):
        head, agreement = accept_request(asked, ["chat"])
        assert (head.headers.get("sec-websocket-protocol"), agreement.subprotocol) == (None, None)


def test_the_answer_has_each_field_once():
    """RFC 6455 §11.3.2 to §11.3.4."""
    asked = request(sec_websocket_protocol=["chat", "soap"], sec_websocket_extensions=["permessage-deflate"] * 2)
    names = [name for name, _ in accept_request(asked, ["soap", "chat"], Compression())[0].headers]
    for name in ("accept", "protocol", "extensions"):
        assert names.count(f"sec-websocket-{name}") == 1


def test_a_client_sends_each_field_of_the_handshake():
    """RFC 6455 §4.1, 4 to 9."""
    asked = handshake("server.example.com:81", "/chat", KEY)
    assert (asked.method, asked.target, asked.version) == ("GET", "/chat", "1.1")
    assert asked.headers == [
        ("host", "server.example.com:81"), ("upgrade", "websocket"), ("connection", "Upgrade"), ("sec-websocket-key", KEY),
        ("sec-websocket-version", "13"),
    ]  # fmt: skip


@pytest.mark.parametrize("subprotocols", [["a", "a"], ["a b"], ["a, b"], [""], ["a", "b\r\nx: y"]])
def test_a_client_offers_each_subprotocol_once_and_only_tokens(subprotocols):
    """RFC 6455 §4.1, 10: a server has to refuse the others."""
    with pytest.raises(LocalProtocolError):
        handshake("a", "/", KEY, subprotocols)


def test_a_server_that_offers_what_is_no_subprotocol_is_told_so():
    """RFC 6455 §4.1, 10. The letters of a str would be taken for names."""
    with pytest.raises(LocalProtocolError, match="tokens"):
        accept_request(request(), ["a b"])
    with pytest.raises(TypeError, match="a list of names"):
        accept_request(request(), "chat")


def test_whether_context_is_kept_is_true_or_false():
    with pytest.raises(TypeError, match="context_takeover has to be True or False, not 'no'"):
        Compression(context_takeover="no")


def test_a_limit_below_1_is_refused():
    with pytest.raises(ValueError, match="max_fragments"):
        Limits(max_fragments=0)


def test_no_more_than_a_header_and_a_control_frame_may_wait():
    """14 and 125 bytes: a shell that reads on without pulling events is told so."""
    core = server()
    core.receive_data(bytes(14 + 125))
    core.receive_data(b"x")
    with pytest.raises(LocalProtocolError):
        core.receive_data(b"x")


def response(**changes):
    fields = {"upgrade": "websocket", "connection": "Upgrade", "sec-websocket-accept": ACCEPT}
    fields |= {name.replace("_", "-"): value for name, value in changes.items()}
    status = int(fields.pop("status", "101"))
    headers = Headers()
    for name, value in fields.items():
        headers += [(name, line) for line in (value if isinstance(value, list) else [value]) if line is not None]
    return ResponseHead(status, headers)


def test_both_sides_agree():
    ours = handshake("a", "/", KEY, ["chat", "superchat"], Compression(window_bits=10))
    answer, theirs = accept_request(ours, ["superchat"], Compression())
    assert theirs == Agreement("superchat", Parameters(False, False, 10, 12, 5))
    # The client compresses with a smaller window than it may, since that is all the memory that it wants to use.
    agreed = check_response(ours, answer, Compression(window_bits=10))
    assert agreed == Agreement("superchat", Parameters(False, False, 10, 10, 5))


@pytest.mark.parametrize(
    "changes",
    [
        {"status": "200"}, {"upgrade": None}, {"upgrade": "websocket, h2c"}, {"connection": "close"}, {"connection": None},
        {"sec_websocket_accept": None}, {"sec_websocket_accept": KEY}, {"sec_websocket_accept": ACCEPT.lower()},
        {"sec_websocket_protocol": "other"}, {"sec_websocket_protocol": "chat, superchat"}, {"sec_websocket_protocol": ""},
        {"sec_websocket_extensions": "x-unknown"}, {"sec_websocket_extensions": "permessage-deflate, permessage-deflate"},
        {"sec_websocket_extensions": "x-webkit-deflate-frame"}, {"sec_websocket_extensions": ""},
        {"sec_websocket_extensions": "permessage-deflate;"}, {"sec_websocket_extensions": "permessage-deflate, ;"},
        {"sec_websocket_accept": f"{ACCEPT}, {ACCEPT}"},
        {"sec_websocket_accept": [ACCEPT, ACCEPT]}, {"sec_websocket_protocol": ["chat", "superchat"]},
        {"sec_websocket_extensions": "permessage-deflate; client_no_context_takeover; client_no_context_takeover"},
        {"sec_websocket_extensions": "permessage-deflate; server_max_window_bits=09"},
        {"sec_websocket_extensions": "permessage-deflate; client_max_window_bits=09"},
        {"sec_websocket_extensions": "permessage-deflate; server_max_window_bits=16"},
        {"sec_websocket_extensions": "permessage-deflate; client_max_window_bits"},
        {"sec_websocket_extensions": "permessage-deflate; server_max_window_bits=12; client_max_window_bits=8"},
        {"sec_websocket_extensions": "permessage-deflate; server_max_window_bits=12; x"},
    ],
)  # fmt: skip
def test_an_answer_that_fails_the_handshake(changes):
    """RFC 6455 §4.1: the client MUST fail the connection; RFC 7692 §7.1 on parameters that were not offered."""
    asked = handshake("a", "/", KEY, ["chat", "superchat"], Compression())
    with pytest.raises(RemoteProtocolError):
        check_response(asked, response(**changes), Compression())


@pytest.mark.parametrize("changes", [{"upgrade": "WebSocket"}, {"connection": "keep-alive, UPGRADE"}, {"server": "x"}])
def test_what_may_vary_in_an_answer(changes):
    """RFC 6455 §4.1: letters of either case, and other tokens beside Upgrade."""
    assert check_response(handshake("a", "/", KEY), response(**changes)) == Agreement()


def test_an_answer_without_extensions_means_no_compression():
    """RFC 6455 §9.1: the client has only offered to use it."""
    assert check_response(handshake("a", "/", KEY, (), Compression()), response(), Compression()) == Agreement()


@pytest.mark.parametrize(
    ("answer", "bits"), [("; server_max_window_bits=10", (10, 12)), ("; client_max_window_bits=9", (15, 9)), ("", (15, 12))]
)
def test_a_server_need_not_bound_its_window(answer, bits):
    """RFC 7692 §7.1.2.1: the second offer does not ask for it."""
    asked = handshake("a", "/", KEY, (), Compression())
    answered = response(sec_websocket_extensions=f"permessage-deflate{answer}")
    deflate = check_response(asked, answered, Compression()).deflate
    assert (deflate.server_max_window_bits, deflate.client_max_window_bits) == bits


@pytest.mark.parametrize("wrong", [{"window_bits": 8}, {"window_bits": 16}, {"memory_level": 0}, {"memory_level": 10}])
def test_what_zlib_can_not_do_is_no_compression(wrong):
    """Else it would fail with the first message, or the peer would be blamed."""
    with pytest.raises(ValueError):
        Compression(**wrong)


@pytest.mark.parametrize("level", [1, 9])
def test_each_memory_level_of_zlib_is_taken(level):
    """The smallest and the largest of them compress, too."""
    compression = Compression(memory_level=level)
    agreement = accept_request(request(sec_websocket_extensions="permessage-deflate"), compression=compression)[1]
    assert events(client(DEFLATE), server(agreement).send(Message("Hello"))) == [Message("Hello")]


def test_where_nobody_asks_for_less_a_window_has_15_bits():
    """RFC 7692 §7.1.2: 15 bits are the most that there are, and what an offer or an answer without a number stands for."""
    compression = Compression(window_bits=15)
    asked = handshake("a", "/", KEY, (), compression)
    answer, theirs = accept_request(asked, compression=compression)
    assert answer.headers.get("sec-websocket-extensions") == "permessage-deflate; client_max_window_bits=15"
    bare = response(sec_websocket_extensions="permessage-deflate")
    for agreed in (theirs, check_response(asked, answer, compression), check_response(asked, bare, compression)):
        assert agreed.deflate and (agreed.deflate.server_max_window_bits, agreed.deflate.client_max_window_bits) == (15, 15)


@pytest.mark.parametrize(("field", "error"), [("", "empty"), (" , ,", "empty"), ("permessage-deflate;", "malformed")])
def test_the_error_tells_an_empty_list_of_extensions_from_a_malformed_one(field, error):
    with pytest.raises(RemoteProtocolError, match=f"{error} Sec-WebSocket-Extensions"):
        parse_extensions(field)


def test_who_can_not_keep_context_says_so():
    """RFC 7692 §7.1.1.1: a server that was asked to forget MUST say that it does."""
    with pytest.raises(RemoteProtocolError):
        compression = Compression(context_takeover=False)
        check_response(
            handshake("a", "/", KEY, (), compression), response(sec_websocket_extensions="permessage-deflate"), compression
        )


def test_an_extension_that_was_not_offered_fails_the_handshake():
    with pytest.raises(RemoteProtocolError):
        check_response(handshake("a", "/", KEY), response(sec_websocket_extensions="permessage-deflate"))


# ---- frames ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("frame", "event"),
    [
        (b"\x81\x05Hello", Message("Hello")),
        (b"\x89\x05Hello", Ping(b"Hello")),
        (b"\x82\x7e\x01\x00" + bytes(256), Message(bytes(256))),
        (b"\x82\x7f\x00\x00\x00\x00\x00\x01\x00\x00" + bytes(65_536), Message(bytes(65_536))),
        (b"\x88\x00", Close()),
    ],
)
def test_frames_of_the_standard(frame, event):
    """RFC 6455 §5.7."""
    assert events(client(), frame) == [event]
    assert server().send(event) == frame


def test_masked_frames_of_the_standard():
    """RFC 6455 §5.7."""
    assert events(server(), b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58") == [Message("Hello")]
    assert events(server(), b"\x8a\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58") == [Pong(b"Hello")]
    assert encode_frame(0x81, b"Hello", b"\x37\xfa\x21\x3d") == b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58"


@pytest.mark.parametrize("size", [*range(10), 125, 126, 127, 1_023, 1_024, 1_025, 65_535, 65_536, 65_537])
def test_each_length_in_its_shortest_form(size):
    """RFC 6455 §5.2, and both ways to mask."""
    key = b"\x01\x80\xfe\x7f"
    payload = bytes(byte % 251 for byte in range(size))
    frame = encode_frame(0x82, payload, key)
    length, parsed_key, header = parse_header(frame)
    assert (length, parsed_key, len(frame)) == (size, key, header + size)
    assert header == 6 + (0 if size < 126 else 2 if size < 65_536 else 8)
    assert frame[header:] == bytes(byte ^ key[at % 4] for at, byte in enumerate(payload))
    assert mask(frame[header:], key) == payload


def test_a_client_masks_each_frame_with_a_new_key():
    """RFC 6455 §5.3."""
    core = client()
    keys = {core.send(Message("x"))[2:6] for _ in range(100)}
    assert len(keys) == 100


@pytest.mark.parametrize("size", [0, 125, 126, 65_536])
def test_a_client_masks_every_kind_of_frame(size):
    """RFC 6455 §5.1, §5.5.1: the bit is set, and the payload is another one."""
    data = b"x" * size
    every = [Message(data), Message("x" * size), Fragment(data), Fragment(data, last=True), Shared(data)]
    every += [Ping(data), Pong(data), Close(1000, "x" * (size - 2 if size else 0))] if size <= 125 else []
    core = client()
    for event in every:
        frame = core.send(event)
        length, key, header = parse_header(frame)
        assert frame[1] & 0x80 and len(key) == 4 and len(frame) == header + length
        assert size == 0 or frame[header:] == mask(data, key) or isinstance(event, Close)


def test_the_masking_key_comes_from_the_systems_source_of_randomness(monkeypatch):
    """RFC 6455 §5.3: a strong source of entropy, so that no key can be predicted from others."""
    assert minproto.websocket.token_bytes is secrets.token_bytes
    monkeypatch.setattr(minproto.websocket, "token_bytes", lambda size: b"abcdef"[:size])
    assert client().send(Ping()) == b"\x89\x80abcd"


def test_what_was_encoded_does_not_change():
    """RFC 6455 §10.3: an app that changes its bytes after ``send`` does not change the frame."""
    data = bytearray(b"Hello")
    for core in (server(), client()):
        frame = core.send(Ping(data))
        before = bytes(frame)
        data[0] ^= 1
        assert frame == before and isinstance(frame, bytes)


def test_two_messages_in_fragments():
    """RFC 6455 §6.2: what comes after the last fragment is a new message, and its type is its own."""
    first, second = b"\x01\x01a\x80\x01b", b"\x02\x01c\x80\x01\xff"
    assert events(client(), first + second + first) == [Message("ab"), Message(b"c\xff"), Message("ab")]


TEXT, CONTINUED = b"\x81\x01a", b"\x01\x01a"


@pytest.mark.parametrize(
    ("before", "wrong"),
    [
        *((b"", bytes([first])) for first in (0x83, 0x84, 0x87, 0x8B, 0x8F, 0x03)),  # reserved opcodes
        *((b"", bytes([first])) for first in (0xC1, 0xA1, 0x91, 0xC9, 0xF0, 0x11, 0x42)),  # reserved bits
        *((b"", bytes([first])) for first in (0x08, 0x09, 0x0A)),  # fragmented controls
        *((b"", bytes([first])) for first in (0x00, 0x80)),  # a continuation of nothing
        *((CONTINUED, bytes([first])) for first in (0x81, 0x82, 0x01, 0x02, 0x40, 0xC0)),  # a message inside of another
        (CONTINUED + b"\x80\x01b", b"\x80"),
        (b"", b"\x89\x7e"), (b"", b"\x88\x7f"),  # long controls
        (b"", b"\x81\x80"), (b"", b"\x88\x82"),  # a masked frame of a server
        (b"", b"\x81\x7e\x00\x7d"), (b"", b"\x82\x7e\x00\x00"), (b"", b"\x81\x7f" + bytes(6) + b"\xff\xff"),  # not minimal
        (b"", b"\x81\x7f\x80" + bytes(7)), (b"", b"\x81\x7f" + b"\xff" * 8),  # 2^63 and more
        (b"", b"\x88\x01\x03"), (b"", b"\x88\x02\x03\xed"), (b"", b"\x88\x04\x00\x00no"),  # half a code, and wrong ones
        (TEXT, b"\x83"), (b"\x89\x00", b"\x83"),
    ],
)  # fmt: skip
def test_what_breaks_the_framing_is_1002_at_the_byte_that_shows_it(before, wrong):
    """RFC 6455 §5."""
    core = client()
    core.receive_data(before)
    list(core.events())
    assert fails(core, wrong) == 1002


@pytest.mark.parametrize(
    ("before", "first", "says"),
    [
        (b"", 0x83, "reserved opcode 3"), (b"", 0x8B, "reserved opcode 11"), (CONTINUED, 0x43, "reserved opcode 3"),
        *((b"", first, "a control frame that is fragmented") for first in (0x08, 0x09, 0x0A, 0xC8, 0xC9, 0xCA)),
        *((CONTINUED, first, "a new message before the last fragment") for first in (0x01, 0x02, 0x81, 0x82)),
        *((b"", first, "a continuation without a message") for first in (0x00, 0x80)),
        *((b"", first, "a reserved bit that was not agreed on") for first in (0xC1, 0xA2, 0x11, 0x40, 0x20, 0x10)),
        *((CONTINUED, first, "a reserved bit that was not agreed on") for first in (0xC0, 0xA0, 0x90)),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_first_byte_is_said(before, first, says):
    """RFC 6455 §5.2, §5.4, §5.5."""
    core = client()
    assert events(core, before) == []
    with pytest.raises(RemoteProtocolError, match=says):
        events(core, bytes([first]))


def test_the_fields_of_the_first_byte_fill_it():
    """RFC 6455 §5.2: FIN, three reserved bits and the opcode are eight bits, and no bit belongs to two fields."""
    assert FIN + RSV + OPCODE == FIN | RSV | OPCODE == 0xFF
    assert RSV1 & RSV and CONTROL & OPCODE


@pytest.mark.parametrize("frame", [b"\x81\x00", b"\x89\x01", b"\x88\x00"])
def test_frames_to_a_server_have_to_be_masked(frame):
    """RFC 6455 §5.1."""
    assert fails(server(), frame[:2]) == 1002


@pytest.mark.parametrize(
    "text",
    [
        b"\x80", b"\xff", b"a\xc0", b"\xc3(", b"\xe2\x28", b"\xe2\x82(", b"\xed\xa0", b"\xf0\x80", b"\xf4\x90", b"\xf5",
        "κόσμε".encode() + b"\xed\xa0", b"\xf0\x9f\x98(",
    ],
)  # fmt: skip
@pytest.mark.parametrize("how", ["one frame", "fragments", "fragments of one byte"])
def test_text_that_is_not_utf_8_is_1007_at_its_first_wrong_byte(text, how):
    """RFC 6455 §8.1: however it is cut, and though the message would go on."""
    if how == "one frame":
        data = b"\x81\x7e\x01\x00" + text
    elif how == "fragments":
        data = b"\x01\x00\x89\x00" + b"\x00\x7e\x01\x00" + text
    else:
        data = b"".join((b"\x00" if at else b"\x01") + b"\x01" + byte for at, byte in enumerate(byte_by_byte(text)))
    assert fails(client(), data) == 1007


@pytest.mark.parametrize(
    "data", [b"\x81\x01\xc3", b"\x01\x02\xe2\x82\x80\x00", b"\x88\x03\x03\xe8\xff", b"\x88\x04\x03\xe8\xe2\x82"]
)
def test_text_that_ends_in_the_middle_of_a_character_is_1007(data):
    assert fails(client(), data) == 1007


def test_a_character_may_be_cut_anywhere():
    text = "é€😀" * 3
    pieces = byte_by_byte(text.encode())
    core = client()
    frames = [encode_frame(0x00 if at else 0x01, piece) for at, piece in enumerate(pieces)]
    assert events(core, b"\x89\x00".join([*frames, b"\x80\x00"])).pop() == Message(text)


# ---- limits ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "frame", [b"\x82\x7e\x03\xe9", b"\x82\x7f" + (1 << 62).to_bytes(8), b"\x02\x7e\x03\xe8" + bytes(1_000) + b"\x80\x01"]
)
def test_a_message_over_the_limit_is_1009_at_its_header(frame):
    core = client(max_message=1_000)
    assert fails(core, frame) == 1009
    assert core.buffered <= 1_000 + 14


def test_a_message_may_have_all_of_its_limit():
    assert events(client(max_message=300), encode_frame(0x82, bytes(300))) == [Message(bytes(300))]


def test_fragments_have_an_end():
    core = client(max_fragments=1_000)
    assert events(core, b"\x01\x00" + b"\x00\x00" * 999) == []
    assert fails(core, b"\x00\x00") == 1009


@pytest.mark.parametrize(
    "stream",
    [
        lambda size: encode_frame(0x82, bytes(size)),
        lambda size: encode_frame(0x81, b"a" * size),
        lambda size: b"\x01\x00" + b"\x00\x01a" * (size // 3),
        lambda size: b"\x89\x00" * (size // 2),
    ],
)
def test_time_is_linear_in_the_bytes(stream):
    """Law 3."""
    laws.linear_time(laws.Subject(lambda: client(max_message=1 << 30, max_fragments=1 << 30)), stream, 4_000)


# ---- closing ---------------------------------------------------------------------------------------------------------


def test_each_close_code_of_65536():
    """RFC 6455 §7.4, and IANA's registry for 1012 to 1014."""
    edges = [(1000, 1004), (1007, 1015), (3000, 5000)]
    assert [code for code in range(65_536) if is_close_code(code)] == [code for edge in edges for code in range(*edge)]
    for start, end in pairwise([1000, 1003, 1007, 1014, 3000, 4999]):
        for code in (start, end):
            assert events(client(), server().send(Close(code, "x"))) == [Close(code, "x")]
    for code in (0, 999, 1004, 1006, 1015, 1016, 2999, 5000, 65_535):
        assert fails(client(), b"\x88\x02" + code.to_bytes(2)) == 1002
        with pytest.raises(LocalProtocolError):
            server().send(Close(code))


@pytest.mark.parametrize(
    ("name", "frame"),
    [
        ("NORMAL", "88 02 03e8"), ("GOING_AWAY", "88 02 03e9"), ("PROTOCOL_ERROR", "88 02 03ea"),
        ("INVALID_DATA", "88 02 03ef"), ("TOO_BIG", "88 02 03f1"), ("INTERNAL_ERROR", "88 02 03f3"),
        ("TRY_AGAIN_LATER", "88 02 03f5"),
    ],
)  # fmt: skip
def test_each_close_code_has_the_number_of_the_standard(name, frame):
    """RFC 6455 §7.4.1, and IANA's registry for 1013."""
    assert server().send(Close(getattr(minproto.websocket, name))) == bytes.fromhex(frame)


@pytest.mark.parametrize("close", [Close(1005, "x"), Close(1000, "x" * 124), Close(1000, "é" * 62), Close(1000, "\ud800")])
def test_a_close_that_can_not_be_sent(close):
    core = server()
    with pytest.raises(LocalProtocolError):
        core.send(close)
    assert core.state is State.OPEN


def test_after_a_close_nothing_is_read():
    """RFC 6455 §5.5.1."""
    core = client()
    assert events(core, b"\x88\x02\x03\xe8\x83\x81") == [Close(1000)]
    assert core.wants is Wants.CLOSED
    assert core.reply(Close(1000)) == Close(1000)
    core.receive_eof()
    assert core.next_event() is None


@pytest.mark.parametrize("after", [b"", b"\x88\x02\x03\xe8", b"\x81\x01a"])
def test_after_a_fault_nothing_is_read(after):
    """RFC 6455 §7.1.7: not even a Close."""
    core = client()
    assert fails(core, b"\x83") == 1002
    core.receive_data(after)
    for _ in range(2):
        with pytest.raises(RemoteProtocolError) as caught:
            core.next_event()
        assert caught.value is core.error


@pytest.mark.parametrize("data", [b"", b"\x81", b"\x81\x05Hel", b"\x01\x01a"])
def test_an_end_without_a_close_is_1006(data):
    """RFC 6455 §7.1.5; nobody is left to be told (§7.4.1: it must not be sent)."""
    core = client()
    assert events(core, data) == []
    core.receive_eof()
    with pytest.raises(RemoteProtocolError) as caught:
        core.next_event()
    assert caught.value.code == 1006
    assert core.farewell(caught.value) == []


def test_farewell_says_why_once():
    core = client()
    assert fails(core, b"\x83") == 1002
    [close] = core.farewell(core.error)
    assert close == Close(1002, "reserved opcode 3")
    core.send(close)
    assert core.farewell(core.error) == []


def test_a_fault_without_a_code_is_told_as_1002():
    assert server().farewell(ProtocolError("no")) == [Close(1002, "no")]


@pytest.mark.parametrize(
    ("event", "reply"),
    [(Ping(b"x"), Pong(b"x")), (Ping(), Pong()), (Close(3000, "x"), Close(3000)), (Close(), Close())],
)
def test_what_the_protocol_demands_in_answer(event, reply):
    """RFC 6455 §5.5.1, §5.5.2: nothing any more, once our Close was sent."""
    core = server()
    assert core.reply(event) == reply
    assert core.reply(Pong(b"x")) is core.reply(Message("x")) is None
    core.send(Close())
    assert core.reply(event) is None


# ---- laws 1 and 7 ----------------------------------------------------------------------------------------------------

deflates = st.one_of(
    st.none(), st.builds(Parameters, st.booleans(), st.booleans(), st.integers(9, 15), st.integers(9, 15), st.integers(1, 9))
)


@given(websocket_events, deflates, st.booleans())
def test_round_trip(sent, deflate, from_client):
    """Law 1."""
    ends = [Connection(role, Agreement(deflate=deflate)) for role in (CLIENT, SERVER)]
    sender, receiver = ends if from_client else reversed(ends)
    laws.round_trip(sender, receiver, sent, expected=arrives_as(sent))


SITUATIONS = {State.OPEN: [], State.WITHIN: [Fragment("a")], State.CLOSED: [Close()]}


def situation(state, role):
    core = Connection(role)
    for event in SITUATIONS[state]:
        core.send(event)
    assert core.state == state
    return core


@pytest.mark.parametrize("role", [CLIENT, SERVER])
def test_each_state_and_event(role):
    """Law 7, and that the table leads where it says."""
    every = [Message("x"), Shared("x"), Fragment("x"), Fragment("x", last=True), Ping(), Pong(), Close()]
    situations = {state: lambda state=state: situation(state, role) for state in SITUATIONS}
    laws.off_the_table(situations, every, lambda state, event: (state, step_of(event)) in TRANSITIONS)
    assert {step_of(event) for event in every} == set(Step)
    for (state, step), after in TRANSITIONS.items():
        for event in every:
            if step_of(event) is step:
                core = situation(state, role)
                core.send(event)
                assert core.state is after


@pytest.mark.parametrize(
    ("sent", "frames", "state"),
    [
        ([Message("a"), Shared("b")], "81 01 61  81 01 62", "OPEN"),
        ([Fragment("a", last=True)], "81 01 61", "OPEN"),  # a message of one fragment
        ([Ping(b""), Pong(b"")], "89 00  8a 00", "OPEN"),
        ([Fragment("a"), Ping(b""), Fragment("b")], "01 01 61  89 00  00 01 62", "WITHIN"),
        ([Fragment("a"), Fragment("b", last=True)], "01 01 61  80 01 62", "OPEN"),
        ([Fragment("a"), Close(1000)], "01 01 61  88 02 03e8", "CLOSED"),  # a Close may break a message off
    ],
)
def test_what_may_be_sent_next(sent, frames, state):
    """RFC 6455 §5.4, §5.5.1. The expected states stand here, so that a wrong row of the table shows."""
    core = server()
    assert b"".join(map(core.send, sent)) == bytes.fromhex(frames)
    assert core.state.name == state


@pytest.mark.parametrize(
    "event", [Message("\ud800"), Shared("\ud800"), Fragment("\ud800"), Ping(bytes(126)), Pong(bytes(126)), Close(1006)]
)
@pytest.mark.parametrize("agreement", [Agreement(), DEFLATE])
def test_what_can_not_be_sent_changes_nothing(event, agreement):
    core = server(agreement)
    before = laws.snapshot(core)
    with pytest.raises(LocalProtocolError):
        core.send(event)
    assert laws.snapshot(core) == before


@pytest.mark.parametrize("role", [CLIENT, SERVER])
def test_no_message_between_fragments_and_nothing_after_a_close(role):
    """RFC 6455 §5.4, §5.5.1, §6.1: whatever the table says."""
    for state, events_ in (
        (State.WITHIN, [Message("x"), Message(b"x"), Shared("x")]),
        (State.CLOSED, [Message("x"), Shared("x"), Fragment("x"), Fragment("x", last=True), Ping(), Pong(), Close()]),
    ):
        for event in events_:
            with pytest.raises(LocalProtocolError):
                situation(state, role).send(event)


def test_fragments_are_all_of_one_kind():
    core = server()
    core.send(Fragment("a"))
    with pytest.raises(LocalProtocolError):
        core.send(Fragment(b"a"))
    assert core.send(Fragment("b", last=True)) == b"\x80\x01b"


# ---- permessage-deflate ------------------------------------------------------------------------------------------------

HELLO = bytes.fromhex("f248cdc9c90700")


@pytest.mark.parametrize(
    ("frames", "messages"),
    [
        (b"\xc1\x07" + HELLO, ["Hello"]),  # §7.2.3.1
        (b"\x41\x03" + HELLO[:3] + b"\x80\x04" + HELLO[3:], ["Hello"]),
        (b"\xc2\x07" + HELLO, [b"Hello"]),
        (b"\x42\x03" + HELLO[:3] + b"\x80\x04" + HELLO[3:], [b"Hello"]),
        (b"\xc1\x07" + HELLO + b"\xc1\x05\xf2\x00\x11\x00\x00", ["Hello", "Hello"]),  # §7.2.3.2: refers to the first
        (b"\xc1\x0b\x00\x05\x00\xfa\xffHello\x00", ["Hello"]),  # §7.2.3.3: a block that is not compressed
        (b"\xc1\x08\xf3\x48\xcd\xc9\xc9\x07\x00\x00", ["Hello"]),  # §7.2.3.4: a final block
        (b"\xc1\x08\xf3\x48\xcd\xc9\xc9\x07\x00\x00\xc1\x07" + HELLO, ["Hello", "Hello"]),
        (b"\xc1\x0d\xf2\x48\x05\x00\x00\x00\xff\xff\xca\xc9\xc9\x07\x00", ["Hello"]),  # §7.2.3.5: two blocks
        (b"\xc1\x01\x00", [""]),  # §7.2.3.6
        (b"\x81\x05Hello" + b"\xc1\x07" + HELLO, ["Hello", "Hello"]),  # not each message has to be compressed
        (b"\x41\x00\x89\x00\x00\x07" + HELLO + b"\x80\x00", ["Hello"]),
    ],
)
def test_compressed_messages_of_the_standard(frames, messages):
    """RFC 7692 §7.2.3."""
    for chunks in ([frames], byte_by_byte(frames)):
        core = client(DEFLATE)
        received = [event.data for chunk in chunks for event in events(core, chunk) if isinstance(event, Message)]
        assert received == messages


def test_what_we_compress_is_what_the_standard_shows():
    core = server(DEFLATE)
    assert core.send(Message("Hello")) == b"\xc1\x07" + HELLO
    assert core.send(Message("Hello")) == b"\xc1\x05\xf2\x00\x11\x00\x00"
    without = server(Agreement(deflate=Parameters(server_no_context_takeover=True)))
    assert without.send(Message("Hello")) == without.send(Message("Hello"))
    assert server(DEFLATE).send(Message("")) == b"\xc1\x01\x00"


def test_a_message_is_compressed_with_zlibs_default_level():
    """A higher level takes more time for the last percent. The squares are data that each level compresses differently."""
    squares = "".join(f"{number**2:b}" for number in range(200)).encode()
    default = zlib.compressobj(wbits=-15)
    expected = default.compress(squares) + default.flush(zlib.Z_SYNC_FLUSH)
    assert Deflater.of(Parameters(), server=True).compress(squares) == expected[:-4]


@pytest.mark.parametrize("from_server", [True, False])
def test_without_parameters_the_window_and_the_memory_are_zlibs_defaults(from_server):
    """RFC 7692 §7.1.2: without a bound a message refers back up to 2^15 bytes, here 17,000.

    Random bytes shrink only where they are repeated. 17,000 of them are cut into other blocks by each other memory level.
    """
    data, default = random.Random(7692).randbytes(17_000), zlib.compressobj(wbits=-15)
    deflater, inflater = Deflater.of(Parameters(), server=from_server), Inflater.of(Parameters(), server=not from_server)
    for _ in range(2):
        sent = deflater.compress(data)
        assert sent == (default.compress(data) + default.flush(zlib.Z_SYNC_FLUSH))[:-4]
        assert b"".join([*inflater.inflate(sent, 1 << 20), *inflater.finish(1 << 20)]) == data
    assert len(sent) < 1_000


def test_rsv1_is_set_in_the_first_fragment_alone():
    """RFC 7692 §6.1."""
    core = server(DEFLATE)
    frames = [core.send(Fragment("a")), core.send(Fragment("b")), core.send(Fragment("c", last=True)), core.send(Ping())]
    assert [frame[0] for frame in frames] == [0x41, 0x00, 0x80, 0x89]


@pytest.mark.parametrize("first", [0xC8, 0xC9, 0xCA])
def test_with_deflate_control_frames_are_as_without(first):
    """RFC 7692 §6, §6.1: RSV1 is for data messages."""
    assert fails(client(DEFLATE), bytes([first])) == 1002
    assert server(DEFLATE).send(Ping(b"aaaa")) == b"\x89\x04aaaa"


@pytest.mark.parametrize("first", [0x40, 0xC0])
def test_rsv1_within_a_message_is_refused(first):
    """RFC 7692 §6.1."""
    core = client(DEFLATE)
    assert events(core, b"\x41\x03" + HELLO[:3]) == []
    assert fails(core, bytes([first])) == 1002


@pytest.mark.parametrize("data", [b"\xc1\x03\xff\xff\xff", b"\xc1\x04" + HELLO[:3] + b"\xff", b"\xc1\x05\xf2\x00\x11\x00\x00"])
def test_data_that_can_not_be_inflated_is_1007(data):
    core = client(DEFLATE)
    with pytest.raises(RemoteProtocolError) as caught:
        events(core, data)
    assert caught.value.code == 1007


@pytest.mark.parametrize("data", ["é".encode()[:1], b"a" * 70_000 + b"\xff"])
def test_compressed_text_has_to_be_utf_8(data):
    """RFC 6455 §8.1, after inflating."""
    core = client(DEFLATE)
    with pytest.raises(RemoteProtocolError) as caught:
        events(core, encode_frame(0xC1, Deflater(15, 8, context_takeover=True).compress(data)))
    assert caught.value.code == 1007


@pytest.mark.parametrize("cut", [1, 100, 1 << 20])
def test_a_bomb_is_1009_while_it_is_inflated(cut):
    bomb = Deflater(15, 8, context_takeover=True).compress(bytes(50_000_000))
    assert len(bomb) < 50_000
    core = client(DEFLATE)
    with pytest.raises(RemoteProtocolError) as caught:
        for start in range(0, len(bomb) + 4, cut):
            events(core, encode_frame(0xC2, bomb)[start : start + cut])
            assert core.buffered < (1 << 20) + 70_000
    assert caught.value.code == 1009


def test_a_compressed_message_of_the_whole_limit_arrives():
    """Also where deflate makes it longer than it is."""
    payload = zlib.compress(bytes(range(256)) * 4096) * 200
    core, peer = client(DEFLATE, max_message=len(payload)), server(Agreement(deflate=Parameters(memory_level=1)))
    assert events(core, peer.send(Message(payload))) == [Message(payload)]


def test_one_byte_too_many_is_1009_after_inflating_too():
    sender = server(DEFLATE)
    core = client(DEFLATE, max_message=100)
    assert events(core, sender.send(Message(bytes(100)))) == [Message(bytes(100))]
    with pytest.raises(RemoteProtocolError) as caught:
        events(core, sender.send(Message(bytes(101))))
    assert caught.value.code == 1009


@pytest.mark.parametrize("limit", [100, 1_600])
def test_a_compressed_message_may_be_a_sixteenth_and_80_bytes_longer_on_the_wire(limit):
    """Of the 80, 16 are for each of its frames."""
    most = limit + limit // 16 + 64 + 16
    core = client(DEFLATE, max_message=limit)
    assert events(core, encode_frame(0xC2, bytes(most))[:4]) == []
    assert fails(client(DEFLATE, max_message=limit), encode_frame(0xC2, bytes(most + 1))[:4]) == 1009


@pytest.mark.parametrize(("limit", "size"), [(100, 101), (65_636, 65_637), (65_636, 65_836)])  # in one piece, and in two
def test_behind_the_limit_nothing_is_inflated(limit, size):
    """A message that is too long is that, also where what follows is no deflated data (a block of the reserved type)."""
    data = Deflater(15, 8, context_takeover=True).compress(bytes(size), last=False) + b"\x06"
    for chunks in ([encode_frame(0xC2, data)], byte_by_byte(encode_frame(0xC2, data))):
        core = client(DEFLATE, max_message=limit)
        with pytest.raises(RemoteProtocolError) as caught:
            for chunk in chunks:
                events(core, chunk)
        assert caught.value.code == 1009


@pytest.mark.parametrize("size", [1, 10])
def test_compressed_fragments_may_be_short(size):
    """Each ends with an empty block, whatever it holds: so many bytes more on the wire."""
    sender, receiver = Connection(SERVER, DEFLATE), client(DEFLATE, max_message=100 * size)
    for n in range(100):
        receiver.receive_data(sender.send(Fragment(bytes(range(n, n + size)), last=n == 99)))
        found = receiver.next_event()
    assert isinstance(found, Message) and len(found.data) == 100 * size


def test_who_promised_to_forget_can_not_look_back():
    """RFC 7692 §7.1.1."""
    core = client(Agreement(deflate=Parameters(server_no_context_takeover=True)))
    assert events(core, b"\xc1\x07" + HELLO) == [Message("Hello")]
    with pytest.raises(RemoteProtocolError):
        events(core, b"\xc1\x05\xf2\x00\x11\x00\x00")


def test_a_compressed_frame_of_2_62_bytes_is_1009_at_its_header():
    assert fails(client(DEFLATE), b"\xc2\x7f" + (1 << 62).to_bytes(8)) == 1009


@pytest.mark.parametrize(
    ("offer", "answer", "bits"),
    [
        ("permessage-deflate", "permessage-deflate", (12, 15)),
        ("permessage-deflate; client_max_window_bits", "permessage-deflate; client_max_window_bits=12", (12, 12)),
        ("permessage-deflate; client_max_window_bits=9", "permessage-deflate; client_max_window_bits=9", (12, 9)),
        ("permessage-deflate; server_max_window_bits=15", "permessage-deflate; server_max_window_bits=12", (12, 15)),
        ('permessage-deflate; client_max_window_bits="1\\0"', "permessage-deflate; client_max_window_bits=10", (12, 10)),
        ('permessage-deflate; server_max_window_bits="9"', "permessage-deflate; server_max_window_bits=9", (9, 15)),
        ("permessage-deflate; server_max_window_bits=8, permessage-deflate", "permessage-deflate", (12, 15)),
        ("permessage-deflate; client_max_window_bits=9, permessage-deflate", "permessage-deflate; client_max_window_bits=9",
         (12, 9)),
        ("permessage-deflate, permessage-deflate; client_max_window_bits=9", "permessage-deflate", (12, 15)),
        ("x, permessage-deflate; x, permessage-deflate; server_no_context_takeover",
         "permessage-deflate; server_no_context_takeover", (12, 15)),
        ("permessage-deflate; client_no_context_takeover", "permessage-deflate; client_no_context_takeover", (12, 15)),
        *((f"permessage-deflate; {wrong}", None, None) for wrong in (
            "x", "server_max_window_bits", "server_max_window_bits=16", "server_max_window_bits=08",
            "client_max_window_bits=7",
            "server_no_context_takeover=1", "client_no_context_takeover; client_no_context_takeover",
            "server_max_window_bits=8",
        )),
        ("x-webkit-deflate-frame", None, None),
    ],
)  # fmt: skip
def test_the_server_takes_the_first_offer_that_it_can_keep(offer, answer, bits):
    """RFC 7692 §5.1, §7.1: what it does not understand is declined, and no error."""
    head, agreement = accept_request(request(sec_websocket_extensions=offer), compression=Compression())
    assert head.headers.get("sec-websocket-extensions") == answer
    deflate = agreement.deflate
    assert (deflate and (deflate.server_max_window_bits, deflate.client_max_window_bits)) == bits


def test_an_agreement_without_parameters_bounds_nothing():
    """RFC 7692 §7.1.2.1, §7.1.2.2: without a bound a window has up to 32,768 bytes. 8 is zlib's own memory level."""
    assert Parameters() == Parameters(False, False, 15, 15, 8)


def test_without_context_takeover_both_ends_forget():
    compression = Compression(context_takeover=False)
    asked = handshake("a", "/", KEY, (), compression)
    answer, theirs = accept_request(asked, compression=Compression())
    ours = check_response(asked, answer, compression)
    assert ours == theirs and ours.deflate.server_no_context_takeover and ours.deflate.client_no_context_takeover
    asked = request(sec_websocket_extensions="permessage-deflate")
    assert accept_request(asked, compression=compression)[1].deflate == Parameters(True, True, 12, 15, 5)


def test_a_client_forgets_if_the_server_asks_for_it():
    """RFC 7692 §7.1.1.2, §7.2.1: each message begins with an empty window."""
    asked = handshake("a", "/", KEY, (), Compression())
    answered = response(sec_websocket_extensions="permessage-deflate; client_no_context_takeover")
    agreement = check_response(asked, answered, Compression())
    assert agreement.deflate.client_no_context_takeover and not agreement.deflate.server_no_context_takeover
    core = client(agreement)
    core.new_key = lambda: bytes(4)
    assert core.send(Message("Hello")) == core.send(Message("Hello"))


@pytest.mark.parametrize("role", [CLIENT, SERVER])
def test_no_message_refers_further_back_than_agreed(role):
    """RFC 7692 §7.2.1: 600 bytes that come again after 3,000 others are in a window of 2**12 bytes, and in none of 2**9."""
    again, others = random.Random(1).randbytes(600), random.Random(2).randbytes(3_000)
    sizes = []
    for bits in (9, 12):
        bounds = {f"{role.name.lower()}_max_window_bits": bits}
        core = Connection(role, Agreement(deflate=Parameters(**bounds)))
        for data in (again, others):
            core.send(Message(data))
        sizes.append(len(core.send(Message(again))))
    assert sizes[0] > 600 > 100 > sizes[1]


@pytest.mark.parametrize("role", [CLIENT, SERVER])
def test_a_window_of_32_kib_is_inflated(role):
    """RFC 7692 §7.2.2: the peer may refer so far back, unless it has agreed to less. Our own window is smaller."""
    compression = Compression(window_bits=9)
    if role is CLIENT:
        asked = handshake("a", "/", KEY, (), compression)
        agreement = check_response(asked, response(sec_websocket_extensions="permessage-deflate"), compression)
    else:
        agreement = accept_request(request(sec_websocket_extensions="permessage-deflate"), compression=compression)[1]
    receiver, deflater = Connection(role, agreement), Deflater(15, 8, context_takeover=True)
    key = b"" if role is CLIENT else b"abcd"
    for data in (b"far back" * 9, random.Random(1).randbytes(32_000), b"far back" * 9):
        assert events(receiver, encode_frame(0xC2, deflater.compress(data), key)) == [Message(data)]


@given(st.text(max_size=60))
def test_a_field_of_extensions_is_parsed_or_400(value):
    try:
        assert all(name and all(key for key, _ in parameters) for name, parameters in parse_extensions(value))
    except RemoteProtocolError as error:
        assert error.code == 400


@given(st.lists(st.tuples(st.sampled_from([Message, Shared]), strategies._payload_bytes), max_size=8), deflates)
def test_shared_messages_among_others_inflate(sent, deflate):
    """A broadcast is compressed for many connections; what one of them sends next does not look back beyond it."""
    sender, other, receiver = (Connection(role, Agreement(deflate=deflate)) for role in (SERVER, SERVER, CLIENT))
    for kind, data in sent:
        event = kind(data)
        if kind is Shared:
            other.send(event)
            assert len(event.frames) == 1
        assert events(receiver, sender.send(event)) == [Message(data)]
        assert kind is Message or len(event.frames) == 1


def test_a_message_behind_a_shared_one_refers_to_no_message_before_that():
    """The receiver's window has the shared message in it, and the sender's has not: the distances would differ."""
    sender, receiver = Connection(SERVER, DEFLATE), client(DEFLATE)
    for event in (Message("the same words"), Shared("something else"), Message("the same words")):
        assert events(receiver, sender.send(event)) == [Message(event.data)]


def test_inflating_gives_pieces_of_bounded_size():
    data = Deflater(15, 8, context_takeover=True).compress(bytes(1 << 20))
    inflater = Inflater(15, context_takeover=True)
    pieces = [*inflater.inflate(data, 1 << 20), *inflater.finish(1 << 20)]
    assert sum(map(len, pieces)) == 1 << 20 and max(map(len, pieces)) <= 65_536


def test_inflating_gives_all_that_the_bytes_so_far_hold():
    """zlib may hold output back behind a full piece: with it a message over the limit would pass until the next bytes."""
    for size in range(65_537, 65_537 + 600, 7):
        data = Deflater(15, 8, context_takeover=True).compress(bytes(size))
        for cut in range(len(data) - 6, len(data) + 1):
            inflated = sum(map(len, Inflater(15, context_takeover=True).inflate(data[:cut], 1 << 20)))
            assert inflated == len(zlib.decompressobj(-15).decompress(data[:cut]))


def test_the_subjects_of_the_laws_do_inflate():
    """What the laws are run on has compressed messages in it."""
    subject = subjects.ALL["websocket client, deflate"]
    frame = encode_frame(0xC1, Deflater(12, 5, context_takeover=False).compress(b"Hello"))
    assert laws.trace(subject, [frame]).events == [Message("Hello")]


@pytest.mark.parametrize("size", [0, 1, 20, 125])
def test_a_short_frame_without_a_mask_is_refused_by_a_server(size):
    """Also where enough bytes have arrived for a mask and the payload."""
    core = server()
    core.receive_data(encode_frame(0x82, bytes(size)) + bytes(8))
    with pytest.raises(RemoteProtocolError, match="has to mask"):
        core.next_event()


@pytest.mark.parametrize("first", [0x81, 0x82])
def test_a_whole_message_inside_of_another_is_refused(first):
    core = server()
    assert events(core, encode_frame(0x01, b"Hel", b"abcd")) == []
    core.receive_data(encode_frame(first, b"lo", b"abcd"))
    with pytest.raises(RemoteProtocolError, match="a new message before the last fragment"):
        core.next_event()


@pytest.mark.parametrize(("agreement", "first"), [(PLAIN, 0x81), (DEFLATE, 0xC1)])
def test_a_shared_message_is_encoded_once(agreement, first):
    """For all connections with the same parameters. RFC 7692 §6.1: a compressed message has RSV1."""
    shared = Shared("Hello")
    assert server(agreement).send(shared)[0] == first
    [encoded] = shared.frames.values()
    server(agreement).send(shared)
    [still] = shared.frames.values()
    assert still is encoded


def test_what_a_server_has_encoded_for_others_is_masked_by_a_client():
    """An app may be both: the frames of one broadcast, to clients and to another server."""
    shared = Shared("x")
    ours, theirs = server(), server()
    assert ours.send(shared) == b"\x81\x01x"
    assert events(theirs, client().send(shared)) == [Message("x")]


@pytest.mark.parametrize("key", [b"\x00\x01\x02\x03", b"\x00\x00\x00\x00"])
def test_a_masking_key_may_begin_with_zeros(key):
    """RFC 6455 §5.3: the bit says whether there is a key."""
    for size in (3, 126):
        assert events(server(), encode_frame(0x82, b"a" * size, key)) == [Message(b"a" * size)]


@pytest.mark.parametrize("size", [0, 1, 1_023, 1_024, 1_025, 1_026, 1_027, 1_028, 70_000])
def test_a_mask_is_the_xor_of_each_byte(size):
    data, key = bytes(number % 251 for number in range(size)), b"\x01\x20\x80\xff"
    assert Connection.mask(data, key) == bytes(byte ^ key[at % 4] for at, byte in enumerate(data))


@pytest.mark.parametrize("size", [0, 20, 125, 126, 1_000])
def test_between_two_messages_there_are_no_fragments(size):
    """However the message before was read."""
    core = server()
    core.receive_data(encode_frame(0x82, bytes(size), b"abcd"))
    assert (core.next_event(), core.fragments) == (Message(bytes(size)), 0)


@pytest.mark.parametrize("size", [1, 20, 125])
def test_a_short_message_has_the_limit_to_the_byte(size):
    """Also where it arrives whole, and is read in one step."""
    for count in (size, size + 1):
        core = server(max_message=size)
        core.receive_data(encode_frame(0x82, bytes(count), b"abcd"))
        if count == size:
            assert list(core.events()) == [Message(bytes(size))]
        else:
            with pytest.raises(RemoteProtocolError, match="message too big"):
                core.next_event()


def test_a_masked_payload_may_be_cut_after_any_byte():
    """The next byte belongs to the next byte of the key (RFC 6455 §5.3)."""
    frame = encode_frame(0x82, b"0123456789", b"abcd")
    for first in range(7, len(frame)):
        for second in range(first, len(frame)):
            core = server()
            for chunk in (frame[:first], frame[first:second], frame[second:]):
                core.receive_data(chunk)
                found = list(core.events())
            assert found == [Message(b"0123456789")]
