"""WebSocket over HTTP/2 (RFC 8441): the handshake by an extended CONNECT, the end of the stream, and frames in DATA.

The second half of the cases are those of the other files, with a stream of HTTP/2 in place of a TCP connection.
"""

from dataclasses import replace

from minproto.http2_frames import (
    CANCEL,
    DATA,
    ENABLE_CONNECT_PROTOCOL,
    END_HEADERS,
    END_STREAM,
    INITIAL_WINDOW_SIZE,
    PADDED,
    PING,
    SETTINGS,
    encode_frame,
    encode_rst_stream,
    encode_settings,
    encode_window_update,
)
from minproto.prove.case import Case, Step, Wait
from minproto.prove.cases import websocket_control, websocket_deflate, websocket_frames, websocket_messages
from minproto.prove.frames import CONNECT, GET, Fields, Head
from minproto.prove.messages import closing, message
from minproto.prove.transcripts.websocket import KEY

_NEEDS = frozenset({"connect"})
_PONG = (encode_frame(PING, 0, 0, b"12345678"),)
_MALFORMED = r"1:PROTOCOL_ERROR open"
"""RFC 9113 §8.1.1: a malformed request is a stream error; a server may answer it with a 400 first."""
_MALFORMED_OTHERWISE = (
    r"1:4\d\d( 1:[a-z-]+=\S+)*( 1:(end|[A-Z]\w+))* open|1:[A-Z]\w+ open|(1:\d+ )?(goaway=\w+ )?(closed|reset)"
)
_REFUSED = r"1:[45]\d\d( 1:end)?( 1:[A-Z]\w+)? open"
_HELLO = message("hello")


def _ask(name: str, entry: str, fields: Fields, *steps: Step, right: str, flags: int = END_HEADERS, **more: object) -> Case:
    """Return a case that begins with a CONNECT."""
    return Case(
        f"websocket/http2/{name}", entry, (Head(1, fields, flags), *steps), right=right, speaks="http2", needs=_NEEDS,
        **more,  # type: ignore[arg-type]
    )


def _data(payload: bytes, flags: int = 0, stream: int = 1) -> bytes:
    return encode_frame(DATA, flags, stream, payload)


def _without(*names: str) -> Fields:
    return tuple(field for field in CONNECT if field[0] not in names)


def _with(name: str, value: str) -> Fields:
    return tuple((each, value if each == name else old) for each, old in CONNECT)


HANDSHAKE = (
    Case(
        "websocket/http2/offered", "8441-3-zero-or-one", _PONG, right="connect=1 pong open", speaks="http2", needs=_NEEDS,
        shows=("connect",), also=("8441-3-only-if-enabled",),
    ),
    Case(
        "websocket/http2/where-http1-has-one", "8441-4-scheme-and-path", (Head(1, CONNECT, END_HEADERS), *_PONG),
        right=r"connect=1 (?=.*1:200)(?=.*pong).* open", acceptable=r"(?!.*malformed).* (open|closed|reset)",
        speaks="http2", shows=("connect",),
        needs=frozenset({"http2", "websocket"}), also=("8441-4-no-tunnel-to-the-authority", "8441-5-no-key"),
        why="The path has a WebSocket in HTTP/1.1. A server need not offer it in HTTP/2.",
    ),
    Case(
        "websocket/http2/not-taken-back", "8441-3-not-taken-back", (encode_settings([]), Head(1, GET), *_PONG),
        right=r"connect=1 (?!.*connect=0).*pong.* open", speaks="http2", needs=_NEEDS,
        shows=("connect",), why="A client may already have sent a CONNECT when the second SETTINGS arrives.",
    ),
    Case(
        "websocket/http2/setting-from-a-client", "8441-3-zero-or-one",
        (encode_settings([(ENABLE_CONNECT_PROTOCOL, 1)]), *_PONG), right="pong open", speaks="http2", needs=_NEEDS,
        why="The setting of a client has no effect on a server (§3).",
    ),
    Case(
        "websocket/http2/setting-of-2", "8441-3-zero-or-one",
        (encode_frame(SETTINGS, 0, 0, bytes.fromhex("000800000002")), *_PONG), right="pong open|goaway=PROTOCOL_ERROR closed",
        acceptable=r"(goaway=\w+ )?(closed|reset)|(pong )?goaway=\w+ (pong )?open", speaks="http2", needs=_NEEDS,
        why="The value must be 0 or 1. The setting of a client has no effect on a server (§3), so a server may ignore "
            "the fault.",
    ),
    _ask("accepted", "8441-5-no-key", CONNECT, right=r"1:200 1:sec-websocket-accept=- open", shows=("sec-websocket-accept",),
         also=("8441-5-protocol-is-included", "8441-5-protocol-is-websocket"),
         why="Over HTTP/2, :protocol takes the place of the key and of Sec-WebSocket-Accept."),
    _ask("key-all-the-same", "8441-5-no-key", (*CONNECT, ("sec-websocket-key", KEY)), shows=("sec-websocket-accept",),
         right=r"1:200 1:sec-websocket-accept=- open",
         acceptable=r"1:200 1:sec-websocket-accept=\S+ open|1:4\d\d .*open|1:PROTOCOL_ERROR open",
         why="Over HTTP/2 the key has no meaning. A Sec-WebSocket-Accept in the answer does no harm."),
    _ask("echo", "8441-5-no-key", CONNECT, Wait("1:200"), _data(_HELLO), right="1:200 1:data=7 open", shows=("data",)),
    _ask("no-subprotocol-unasked", "6455-4.2.2-no-subprotocol", CONNECT, right="1:200 1:sec-websocket-protocol=- open",
         shows=("sec-websocket-protocol",)),
    _ask("no-extension-unasked", "6455-4.2.2-no-other-extension", CONNECT, right="1:200 1:sec-websocket-extensions=- open",
         shows=("sec-websocket-extensions",)),
    _ask("another-protocol", "8441-5-protocol-is-websocket", _with(":protocol", "x-prove"), right=_REFUSED,
         acceptable=_MALFORMED_OTHERWISE,
         why="A 200 promises the protocol that :protocol names. The client would send that protocol, and get WebSocket."),
    _ask("no-protocol", "8441-5-protocol-is-included", _without(":protocol", ":scheme", ":path"), right=_REFUSED,
         acceptable=_MALFORMED_OTHERWISE, also=("8441-4-no-tunnel-to-the-authority",),
         why="A CONNECT without :protocol asks a proxy for a tunnel to a host."),
    _ask("no-protocol-but-a-path", "8441-5-protocol-is-included", _without(":protocol"), right=_MALFORMED,
         acceptable=_MALFORMED_OTHERWISE, why="A CONNECT without :protocol has no :scheme and no :path (RFC 9113 §8.5)."),
    _ask("empty-protocol", "8441-4-protocol-is-for-connect", _with(":protocol", ""), right=_MALFORMED,
         acceptable=_MALFORMED_OTHERWISE),
    _ask("protocol-of-a-get", "8441-4-protocol-is-for-connect", _with(":method", "GET"), right=_MALFORMED,
         acceptable=_MALFORMED_OTHERWISE),
    _ask("no-path", "8441-4-scheme-and-path", _without(":path"), right=_MALFORMED, acceptable=_MALFORMED_OTHERWISE),
    _ask("no-scheme", "8441-4-scheme-and-path", _without(":scheme"), right=_MALFORMED, acceptable=_MALFORMED_OTHERWISE),
    _ask("connection-field", "8441-5-no-connection-and-upgrade", (*CONNECT, ("connection", "upgrade")), right=_MALFORMED,
         acceptable=_MALFORMED_OTHERWISE,
         why="A gateway that translates the request to HTTP/1.1 would pass the field on, and the next server would obey it.",
         issue="https://portswigger.net/research/http2"),
    _ask("upgrade-field", "8441-5-no-connection-and-upgrade", (*CONNECT, ("upgrade", "websocket")), right=_MALFORMED,
         acceptable=_MALFORMED_OTHERWISE),
    _ask("version-99", "6455-4.2.2-version-refused", _with("sec-websocket-version", "99"), right=_REFUSED,
         acceptable=r"1:[A-Z]\w+ open"),
    _ask("authority-of-another-host", "8441-4-no-tunnel-to-the-authority", _with(":authority", "192.0.2.1:25"),
         Wait("1:"), _data(_HELLO), right=r"1:421( 1:end)?( 1:[A-Z]\w+)? open|1:200 1:data=7 open", shows=("data",),
         acceptable=rf"1:[45]\d\d.* open|{_MALFORMED_OTHERWISE}",
         why="A server that made a tunnel to :authority would be an open proxy. It may serve the path as its own."),
)  # fmt: skip

STREAM = (
    _ask("frame-in-many-data", "8441-5-no-key", CONNECT, Wait("1:200"), *(_data(bytes([byte])) for byte in _HELLO),
         right="1:200 1:data=7 open", shows=("data",), why="A frame of WebSocket may be cut into frames of HTTP/2 anywhere."),
    _ask("two-frames-in-one-data", "8441-5-no-key", CONNECT, Wait("1:200"), _data(_HELLO * 2), right="1:200 1:data=14 open",
         shows=("data",)),
    _ask("padded-data", "8441-5-no-key", CONNECT, Wait("1:200"), _data(b"\x05" + _HELLO + bytes(5), PADDED),
         right="1:200 1:data=7 open", shows=("data",)),
    _ask("empty-data", "8441-5-no-key", CONNECT, Wait("1:200"), _data(b""), _data(_HELLO), right="1:200 1:data=7 open",
         shows=("data",)),
    _ask("end-without-close", "8441-5-orderly-end", CONNECT, Wait("1:200"), _data(b"", END_STREAM), Wait("1:[eA-Z]"), *_PONG,
         right=r"1:200 1:end( 1:NO_ERROR)? pong( 1:NO_ERROR)? open", acceptable=r"1:200 1:[A-Z]\w+ pong open",
         why="END_STREAM represents the end of TCP: the WebSocket is over, and the other streams go on."),
    _ask("close", "8441-5-orderly-end", CONNECT, Wait("1:200"), _data(closing()), Wait("1:[eA-Z]"), *_PONG,
         right=r"1:200 1:end( 1:NO_ERROR)? pong( 1:NO_ERROR)? open", acceptable=r"1:200 1:CANCEL pong open",
         also=("6455-5.5.1-tcp-closed", "6455-5.5.1-server-closes-at-once"),
         why="After both Closes the server ends the stream; the connection goes on."),
    _ask("close-with-the-end", "8441-5-orderly-end", CONNECT, Wait("1:200"), _data(closing(), END_STREAM), Wait("1:[eA-Z]"),
         *_PONG, right=r"1:200 1:end( 1:NO_ERROR)? pong( 1:NO_ERROR)? open", acceptable=r"1:200 1:[A-Z]\w+ pong open"),
    _ask("fault-ends-the-stream-alone", "8441-5-orderly-end", CONNECT, Wait("1:200"), _data(bytes.fromhex("83 80 00000000")),
         Wait("1:[eA-Z]"), *_PONG, right=r"1:200 1:(end|CANCEL)( 1:NO_ERROR)? pong( 1:NO_ERROR)? open",
         acceptable=r"1:200 (1:[A-Z]\w+ )+pong open", why="A fault of one WebSocket does not end the others."),
    _ask("reset", "8441-5-reset", CONNECT, Wait("1:200"), encode_rst_stream(1, CANCEL), *_PONG, right="1:200 pong open",
         why="RST_STREAM represents a reset of TCP: the WebSocket is over, and the other streams go on."),
    _ask("reset-at-once", "8441-5-reset", CONNECT, encode_rst_stream(1, CANCEL), *_PONG, right="(1:200 )?pong open"),
    _ask("beside-a-request", "8441-5-no-key", CONNECT, Wait("1:200"), Head(3, GET), Wait("3:end"), _data(_HELLO),
         right=r"1:200 3:[234]\d\d (3:data=\d+ )*3:end 1:data=7 open", shows=("data",)),
    _ask("two-at-once", "8441-5-no-key", CONNECT, Head(3, CONNECT, END_HEADERS), Wait("(1:200 3|3:200 1):200"),
         _data(_HELLO, 0, 3), Wait("3:data"), _data(_HELLO), right="(1:200 3|3:200 1):200 3:data=7 1:data=7 open",
         shows=("data",)),
    _ask("shut-window", "8441-5-no-key", CONNECT, Wait("1:200"), encode_settings([(INITIAL_WINDOW_SIZE, 0)]), Wait("ack"),
         _data(_HELLO), *_PONG, Wait("pong"), encode_window_update(1, 100), right="1:200 ack pong 1:data=7 open",
         shows=("data", "ack"), why="Flow control of HTTP/2 holds for a WebSocket as for any content."),
)  # fmt: skip

_TWINS = (
    "frames/text-of-0", "frames/text-of-125", "frames/text-of-126", "frames/text-of-65536", "frames/binary-of-65535",
    "frames/binary-of-a-mebibyte",
    "frames/many-in-one-segment", "frames/byte-by-byte", "frames/mask-of-zeros", "frames/not-masked", "frames/rsv-4",
    "frames/opcode-3", "frames/opcode-b-without-fin", "frames/length-of-64-bits", "messages/two-fragments",
    "messages/ping-between-fragments", "messages/continuation-first", "messages/text-within-text", "messages/high-surrogate",
    "messages/cut-in-a-character", "messages/wrong-byte-in-the-second-fragment", "control/ping", "control/ten-pings",
    "control/pong-with-data", "control/ping-of-126-bytes", "control/close-without-fin", "close/code-1000", "close/no-code",
    "close/code-4999", "close/code-1005", "close/half-a-code", "close/reason-not-utf-8", "close/message-after",
    "close/end-without-close", "close/end-within-a-frame", "deflate/hello", "deflate/twice", "deflate/far-reference",
    "deflate/rsv-1-of-a-ping", "deflate/server-forgets-each-message",
)  # fmt: skip
"""The cases whose frames also cross a stream of HTTP/2: at least one of each kind."""


def _twins() -> tuple[Case, ...]:
    modules = (websocket_frames, websocket_messages, websocket_control, websocket_deflate)
    cases = {case.name.removeprefix("websocket/"): case for module in modules for case in module.CASES}
    return tuple(
        replace(cases[name], name=f"websocket/http2/{name.replace('/', '-')}", speaks="tunnel",
                needs=cases[name].needs - {"clear"} | _NEEDS)
        for name in _TWINS
    )


CASES = (*HANDSHAKE, *STREAM, *_twins())
