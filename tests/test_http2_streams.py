"""What is known of a stream, and of both ends' settings, in the parts of the HTTP/2 core that no frame passes through."""

import pytest

from minproto.core import CLIENT, SERVER, LocalProtocolError, RemoteProtocolError
from minproto.http2_events import Limits
from minproto.http2_fields import _size_update_end, parse_request
from minproto.http2_frames import ENABLE_CONNECT_PROTOCOL, PROTOCOL_ERROR, STREAM_CLOSED, StreamError
from minproto.http2_settings import SettingsExchange
from minproto.http2_streams import ClosedStreams, Stream, StreamTable

DEFAULT = 65_535


@pytest.mark.parametrize(("method", "tunnels"), [("CONNECT", [200, 299]), ("GET", [])])
def test_a_2xx_to_connect_opens_a_tunnel(method: str, tunnels: list[int]) -> None:
    """RFC 9113 §8.5."""
    stream = Stream(1, method, DEFAULT, DEFAULT)
    assert [status for status in (199, 200, 299, 300) if stream.becomes_tunnel(status)] == tunnels


@pytest.mark.parametrize(("length", "came"), [(5, 3), (2, 3), (0, 4)])
def test_a_wrong_length_is_told_with_what_came(length: int, came: int) -> None:
    """RFC 9113 §8.1.1."""
    stream = Stream(1, "POST", DEFAULT, DEFAULT)
    stream.expect_content(length)
    with pytest.raises(StreamError, match=f"Content-Length is {length}, and {came} bytes of content came"):
        stream.receive_content(came)
        stream.check_complete()


def refused(closed: ClosedStreams, stream: int) -> int:
    """The code for a frame on a closed stream; 0 if the frame may be late."""
    try:
        closed.check(stream)
    except RemoteProtocolError as error:
        return error.code
    return 0


def test_the_last_256_closed_streams_are_remembered() -> None:
    """RFC 9113 §5.1: of an older one nobody knows how it was closed, so its frames may be late."""
    closed = ClosedStreams()
    ids = [2 * number + 1 for number in range(256)]
    for stream in ids:
        closed.add(stream, late=False)
    assert {refused(closed, stream) for stream in ids} == {STREAM_CLOSED}
    closed.add(ids[-1] + 2, late=False)
    assert [refused(closed, stream) for stream in (ids[0], ids[1], ids[-1] + 4)] == [0, STREAM_CLOSED, PROTOCOL_ERROR]


def test_the_end_of_a_stream_that_is_not_known_says_nothing() -> None:
    closed = ClosedStreams()
    closed.end(5)
    assert refused(closed, 5) == PROTOCOL_ERROR


def test_a_clients_next_stream_is_idle() -> None:
    """RFC 9113 §5.1.1."""
    table = StreamTable(CLIENT)
    table.next_id = 3
    assert [table.is_idle(stream) for stream in (1, 2, 3, 5)] == [False, True, True, True]


def test_extended_connect_is_not_enabled_and_disabled_in_one_frame() -> None:
    """RFC 8441 §3."""
    settings = SettingsExchange(SERVER)
    for values in (0, 0), (0, 1), (1, 1):
        settings.check([(ENABLE_CONNECT_PROTOCOL, value) for value in values])
    with pytest.raises(LocalProtocolError, match="extended CONNECT can't be disabled"):
        settings.check([(ENABLE_CONNECT_PROTOCOL, 1), (ENABLE_CONNECT_PROTOCOL, 0)])


@pytest.mark.parametrize(
    ("name", "most"),
    [
        ("stream_window", (1 << 31) - 1),
        ("connection_window", (1 << 31) - 1),
        ("max_streams", (1 << 32) - 1),
        ("max_head", (1 << 32) - 1),
    ],
)
def test_a_limit_that_is_sent_fits_into_its_setting(name: str, most: int) -> None:
    """RFC 9113 §6.5.1, §6.9.1."""
    assert [getattr(Limits(**{name: value}), name) for value in (1, most)] == [1, most]
    for value in (0, most + 1):
        with pytest.raises(ValueError, match=name):
            Limits(**{name: value})


@pytest.mark.parametrize(
    ("block", "end"),
    [("20", 1), ("3f00", 2), ("3f0082", 2), ("3f7f82", 2), ("3f8001", 3), ("3f80", 2), ("3f808001ff", 4)],
)
def test_a_size_update_ends_with_its_last_byte(block: str, end: int) -> None:
    """RFC 7541 §5.1, §6.3: the last byte of a number is below 128."""
    assert _size_update_end(bytes.fromhex(block)) == end


def test_of_two_spellings_of_a_host_the_first_stands_for_the_authority() -> None:
    """RFC 9113 §8.3.1."""
    pseudo = (":method", "GET"), (":scheme", "http"), (":path", "/")
    head = parse_request((*pseudo, ("host", "a"), ("host", "A:80")), 1)
    assert head.headers == [("host", "a")]
