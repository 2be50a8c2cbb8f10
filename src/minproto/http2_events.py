"""HTTP/2's vocabulary: the limits of a connection, and the events through which its two ends talk.

A message is a sequence of events from ``http.py``, each with the number of its stream. The other events exist only in HTTP/2.
Most are one frame, and the event that one end sends is the event that the other receives:

    RequestHead, ResponseHead     HEADERS, and CONTINUATION where the head is long
    Data                          DATA
    EndOfMessage                  END_STREAM on the last frame of a message; HEADERS where it has trailers
    Reset                         RST_STREAM
    Settings, SettingsAck         SETTINGS, without and with the flag ACK
    Ping                          PING
    GoAway                        GOAWAY
    WindowUpdate                  WINDOW_UPDATE
    StreamFault, Discarded        no frame: only received; they say what became of the peer's frames
    Consumed                      no frame at once: only sent; the app has taken content. A WINDOW_UPDATE follows when it is
                                  worth a frame
"""

from dataclasses import dataclass

from minproto.core import Event, check_counts
from minproto.http import RequestHead
from minproto.http2_frames import CANCEL, NO_ERROR


@dataclass(frozen=True)
class Limits:
    """The bounds on everything that a peer could make unbounded. Numbers of bytes, unless their texts say otherwise."""

    max_streams: int = 100
    """How many streams may be open at once; §6.5.2 recommends no fewer than 100. Each is a task running the app. A further
    stream is refused with REFUSED_STREAM, which says that the request can be made again."""
    stream_window: int = 131_072
    """Bytes that may be waiting for the app on one stream. Multiplied by ``max_streams``, it bounds a connection's memory."""
    connection_window: int = 1 << 20
    """Bytes that may be on their way on all streams together. This credit is given back as soon as the bytes arrive, and not
    when the app takes them, so a slow handler stops only the upload on its own stream."""
    max_start_line: int = 8_192
    """The size of method and target, with the spaces and version of an HTTP/1.1 start line. Beyond it: 414, as in HTTP/1.1.
    RFC 9110 §4.1 recommends at least 8,000 bytes for the target."""
    max_head: int = 65_536
    """A head's fields, decoded, plus 32 bytes for each (§6.5.2). Beyond it: 431, as in HTTP/1.1; a response is reset."""
    max_headers: int = 100
    """The number of fields in a head, all cookies counting as one. Beyond it: 431, as in HTTP/1.1; a response is reset."""
    max_block: int = 131_072
    """The size of a field block across all its frames, and also of its decoded fields. Beyond it the connection ends, because
    a block cannot be skipped."""
    max_settings: int = 32
    """The number of settings in a frame. About ten are known, and each new window size costs a step for each open stream."""
    max_resets: int = 200
    """The budget for streams that end early, through the peer's reset or fault. A completed stream refunds four: as
    long as one stream in five completes, a client may cancel the other four for ever."""
    max_idle_frames: int = 1_000
    """The budget for frames that bring nothing: settings, pings, credit, empty or unknown ones. Content, new streams and
    completed streams refund it: four for a completed stream, because an honest exchange has a few such frames, too."""

    def __post_init__(self) -> None:
        # §6.9.1, §6.5.1. No limit may be 0: a server that never allows a stream should not listen (§6.5.2).
        window, setting = (1, 2**31 - 1), (1, 2**32 - 1)
        check_counts(self, max_streams=setting, stream_window=window, connection_window=window, max_head=setting)


# ---- events ----------------------------------------------------------------------------------------------------------
#
# Heads, Data and EndOfMessage are in ``http.py``. The events below are HTTP/2's own; ``stream`` 0 means the connection.


@dataclass(slots=True)
class Settings(Event):
    """The limits that the sender sets for the other end: (identifier, value) pairs, in order (§6.5). The reply is a
    SettingsAck."""

    values: list[tuple[int, int]]


@dataclass(slots=True)
class SettingsAck(Event):
    """The sender respects the other end's oldest settings that were not acknowledged yet (§6.5.3)."""


@dataclass(slots=True)
class Ping(Event):
    """Eight bytes, which the other end sends back with ``ack`` (§6.7)."""

    data: bytes
    ack: bool = False


@dataclass(slots=True)
class WindowUpdate(Event):
    """Credit for ``increment`` more bytes of DATA, on a stream or (0) on the connection (§6.9)."""

    stream: int
    increment: int


@dataclass(slots=True)
class Consumed(Event):
    """To be sent: the app has taken ``count`` bytes of a stream, so their credit can go back. The peer gets a WindowUpdate."""

    stream: int
    count: int


@dataclass(slots=True)
class Discarded(Event):
    """Received: bytes for a stream that is over. They are dropped, and the reply gives back the connection's credit for
    them."""

    stream: int
    count: int


@dataclass(slots=True)
class Reset(Event):
    """A stream ends at once, in both directions (RST_STREAM, §6.4)."""

    stream: int
    code: int = CANCEL


@dataclass(slots=True)
class StreamFault(Event):
    """Received: the peer broke a rule on one stream, and the stream is closed. The reply is a Reset.

    If the fault has a ``status``, the request is merely too large: the stream is open, and the app answers with the status.
    """

    stream: int
    code: int
    reason: str
    head: RequestHead | None = None
    """The method and target that a refused request claims to have; the whole head if there is a ``status``."""
    status: int = 0


@dataclass(slots=True)
class GoAway(Event):
    """No stream above ``last`` was or will be processed. The streams up to ``last`` continue (§6.8)."""

    last: int
    code: int = NO_ERROR
    debug: bytes = b""
