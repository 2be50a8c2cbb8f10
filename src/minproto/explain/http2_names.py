"""The names and meanings of HTTP/2's frame types, flags and settings (RFC 9113 §6 and §11)."""

from minproto.http2_frames import (
    ACK,
    CONTINUATION,
    DATA,
    ENABLE_CONNECT_PROTOCOL,
    ENABLE_PUSH,
    END_HEADERS,
    END_STREAM,
    GOAWAY,
    HEADER_TABLE_SIZE,
    HEADERS,
    INITIAL_WINDOW_SIZE,
    MAX_CONCURRENT_STREAMS,
    MAX_FRAME_SIZE,
    MAX_HEADER_LIST_SIZE,
    NO_RFC7540_PRIORITIES,
    PADDED,
    PING,
    PRIORITIZED,
    PRIORITY,
    PUSH_PROMISE,
    RST_STREAM,
    SETTINGS,
    WINDOW_UPDATE,
)

PRIORITY_UPDATE = 0x10

TYPES = {
    DATA: ("DATA", "content", "RFC 9113 §6.1"),
    HEADERS: ("HEADERS", "a head, or trailers", "RFC 9113 §6.2"),
    PRIORITY: ("PRIORITY", "a priority of the old kind, which is ignored", "RFC 9113 §6.3"),
    RST_STREAM: ("RST_STREAM", "ends a stream at once", "RFC 9113 §6.4"),
    SETTINGS: ("SETTINGS", "the sender's settings, which the other side has to respect", "RFC 9113 §6.5"),
    PUSH_PROMISE: ("PUSH_PROMISE", "announces a response that the client did not ask for", "RFC 9113 §6.6"),
    PING: ("PING", "a test of the connection", "RFC 9113 §6.7"),
    GOAWAY: ("GOAWAY", "the sender accepts no new streams", "RFC 9113 §6.8"),
    WINDOW_UPDATE: ("WINDOW_UPDATE", "the other side may send more DATA", "RFC 9113 §6.9"),
    CONTINUATION: ("CONTINUATION", "the next part of a field block", "RFC 9113 §6.10"),
    PRIORITY_UPDATE: ("PRIORITY_UPDATE", "a new priority for a stream", "RFC 9218 §7.1"),
}
UNKNOWN_TYPE = ("unknown", "an unknown type, which is ignored", "RFC 9113 §5.5")

_ACK = ("ACK", "the answer to such a frame of the other side")
_END_STREAM = ("END_STREAM", "the last frame of this side on the stream")
_END_HEADERS = ("END_HEADERS", "the field block ends here")
_PADDED = ("PADDED", "there is padding, which hides the length")
_PRIORITY = ("PRIORITY", "there are five bytes of the old priority")
FLAGS: dict[int, dict[int, tuple[str, str]]] = {
    DATA: {PADDED: _PADDED, END_STREAM: _END_STREAM},
    HEADERS: {PRIORITIZED: _PRIORITY, PADDED: _PADDED, END_HEADERS: _END_HEADERS, END_STREAM: _END_STREAM},
    SETTINGS: {ACK: _ACK},
    PUSH_PROMISE: {PADDED: _PADDED, END_HEADERS: _END_HEADERS},
    PING: {ACK: _ACK},
    CONTINUATION: {END_HEADERS: _END_HEADERS},
}

SETTINGS_NAMES = {
    HEADER_TABLE_SIZE: ("HEADER_TABLE_SIZE", "bytes of the other side's table for compression", "RFC 9113 §6.5.2"),
    ENABLE_PUSH: ("ENABLE_PUSH", "whether the server may push", "RFC 9113 §6.5.2"),
    MAX_CONCURRENT_STREAMS: ("MAX_CONCURRENT_STREAMS", "streams that the other side may have open", "RFC 9113 §6.5.2"),
    INITIAL_WINDOW_SIZE: ("INITIAL_WINDOW_SIZE", "bytes of DATA that may come on a new stream", "RFC 9113 §6.5.2"),
    MAX_FRAME_SIZE: ("MAX_FRAME_SIZE", "bytes of the largest payload that the sender accepts", "RFC 9113 §6.5.2"),
    MAX_HEADER_LIST_SIZE: ("MAX_HEADER_LIST_SIZE", "bytes of the largest head that the sender accepts", "RFC 9113 §6.5.2"),
    ENABLE_CONNECT_PROTOCOL: ("ENABLE_CONNECT_PROTOCOL", "whether CONNECT can open a WebSocket", "RFC 8441 §3"),
    NO_RFC7540_PRIORITIES: ("NO_RFC7540_PRIORITIES", "whether PRIORITY is ignored", "RFC 9218 §2.1"),
}
UNKNOWN_SETTING = ("unknown setting", "ignored", "RFC 9113 §6.5.2")
