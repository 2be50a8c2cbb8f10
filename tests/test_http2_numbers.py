"""The numbers of HTTP/2, copied from the RFCs.

The other tests write ``HEADERS`` and ``PROTOCOL_ERROR``, as the core does. So a test in which our client talks to our server
also passes if both use a wrong number.
"""

import pytest

from minproto import http2_frames as f
from minproto.core import RemoteProtocolError
from minproto.http2_fields import FIELD_OVERHEAD, MAX_TABLE
from minproto.http2_flow import ReceiveWindow, SendWindow, parse_priority
from minproto.http2_settings import STREAMS_BEFORE_SETTINGS

TYPES = {  # RFC 9113 §6.1 to §6.10
    "DATA": 0x0, "HEADERS": 0x1, "PRIORITY": 0x2, "RST_STREAM": 0x3, "SETTINGS": 0x4, "PUSH_PROMISE": 0x5, "PING": 0x6,
    "GOAWAY": 0x7, "WINDOW_UPDATE": 0x8, "CONTINUATION": 0x9,
}  # fmt: skip
FLAGS = {  # RFC 9113 §6.1, §6.2, §6.5; PRIORITIZED is our name for the flag PRIORITY
    "END_STREAM": 0x1, "ACK": 0x1, "END_HEADERS": 0x4, "PADDED": 0x8, "PRIORITIZED": 0x20,
}  # fmt: skip
CODES = {  # RFC 9113 §7
    "NO_ERROR": 0x0, "PROTOCOL_ERROR": 0x1, "INTERNAL_ERROR": 0x2, "FLOW_CONTROL_ERROR": 0x3, "SETTINGS_TIMEOUT": 0x4,
    "STREAM_CLOSED": 0x5, "FRAME_SIZE_ERROR": 0x6, "REFUSED_STREAM": 0x7, "CANCEL": 0x8, "COMPRESSION_ERROR": 0x9,
    "CONNECT_ERROR": 0xA, "ENHANCE_YOUR_CALM": 0xB, "INADEQUATE_SECURITY": 0xC,
}  # fmt: skip
SETTINGS = {  # RFC 9113 §6.5.2, RFC 8441 §3, RFC 9218 §2.1
    "HEADER_TABLE_SIZE": 0x1, "ENABLE_PUSH": 0x2, "MAX_CONCURRENT_STREAMS": 0x3, "INITIAL_WINDOW_SIZE": 0x4,
    "MAX_FRAME_SIZE": 0x5, "MAX_HEADER_LIST_SIZE": 0x6, "ENABLE_CONNECT_PROTOCOL": 0x8, "NO_RFC7540_PRIORITIES": 0x9,
}  # fmt: skip


@pytest.mark.parametrize("table", [TYPES, FLAGS, CODES, SETTINGS], ids=["types", "flags", "codes", "settings"])
def test_the_numbers_are_those_of_the_rfc(table):
    assert {name: getattr(f, name) for name in table} == table


def test_a_code_is_named_as_in_the_rfc():
    named = {f.code_name(code): code for code in range(0xE)}
    assert named == {**CODES, "HTTP_1_1_REQUIRED": 0xD}
    assert f.code_name(0xE) == "code 14"


def test_the_preface_has_the_bytes_of_the_rfc():
    """RFC 9113 §3.4 gives them in hexadecimal."""
    assert f.PREFACE.hex() == "505249202a20485454502f322e300d0a0d0a534d0d0a0d0a"


OF_A_STREAM = ("DATA", "HEADERS", "PRIORITY", "RST_STREAM", "CONTINUATION")  # §6.1, §6.2, §6.3, §6.4, §6.10
OF_THE_CONNECTION = ("SETTINGS", "PING", "GOAWAY")  # §6.5, §6.7, §6.8
LENGTHS = {"RST_STREAM": 4, "PING": 8, "WINDOW_UPDATE": 4}  # §6.4, §6.7, §6.9


def verdict(name, stream, length):
    """The error code for the header of such a frame without flags; None: the header is right."""
    try:
        f.check_header(f.Header(length, TYPES[name], 0, stream))
    except RemoteProtocolError as error:
        return error.code
    return None


@pytest.mark.parametrize("name", [name for name in TYPES if name != "PUSH_PROMISE"])
def test_where_a_frame_may_come(name):
    """WINDOW_UPDATE may come on stream 0 and on each other stream (§6.9)."""
    length = LENGTHS.get(name, 12)
    assert verdict(name, 0, length) == (CODES["PROTOCOL_ERROR"] if name in OF_A_STREAM else None)
    assert verdict(name, 1, length) == (CODES["PROTOCOL_ERROR"] if name in OF_THE_CONNECTION else None)


@pytest.mark.parametrize("stream", [0, 1, 2])
def test_nobody_may_push(stream):
    assert verdict("PUSH_PROMISE", stream, 4) == CODES["PROTOCOL_ERROR"]


@pytest.mark.parametrize("name", LENGTHS)
def test_a_frame_of_one_length_has_just_this_length(name):
    stream = 0 if name in OF_THE_CONNECTION else 1
    right = LENGTHS[name]
    wrong = CODES["FRAME_SIZE_ERROR"]
    assert [verdict(name, stream, length) for length in (0, right - 1, right, right + 1)] == [wrong, wrong, None, wrong]


def test_a_payload_has_at_most_two_to_the_fourteenth_bytes():
    assert [verdict("DATA", 1, length) for length in (16_384, 16_385)] == [None, CODES["FRAME_SIZE_ERROR"]]


def test_ids_and_increments_have_31_bits():
    assert f.parse_header(b"\0\0\0\0\0" + b"\xff" * 4).stream == f.parse_window_update(b"\xff" * 4) == 2_147_483_647


def test_the_values_that_hold_until_a_peer_changes_them():
    """The windows (RFC 9113 §6.9.2), the priority (RFC 9218 §4), and three numbers of RFC 9113 §6.5.2."""
    assert (SendWindow().size, ReceiveWindow(65_535).owed) == (65_535, 0)
    assert parse_priority("") == (3, False)
    assert (FIELD_OVERHEAD, MAX_TABLE, STREAMS_BEFORE_SETTINGS) == (32, 4_096, 100)
