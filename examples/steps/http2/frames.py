"""The frames of HTTP/2 and their numbers (RFC 9113 §4.1, §6, §7), for steps 7 to 9."""

DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = 0, 1, 3, 4, 6, 7, 8, 9  # types of frames
END_STREAM, ACK, END_HEADERS, PADDED, PRIORITY = 0x01, 0x01, 0x04, 0x08, 0x20  # flags
MAX_CONCURRENT_STREAMS, INITIAL_WINDOW_SIZE = 3, 4  # settings
PROTOCOL_ERROR, FLOW_CONTROL_ERROR, STREAM_CLOSED, FRAME_SIZE_ERROR = 1, 3, 5, 6  # codes of faults
REFUSED_STREAM, COMPRESSION_ERROR, ENHANCE_YOUR_CALM = 7, 9, 11  # more of them

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"


def frame(type_: int, flags: int, id_: int, payload: bytes) -> bytes:
    """Return a frame as it is sent: a header of nine bytes, and the payload."""
    return len(payload).to_bytes(3) + bytes([type_, flags]) + id_.to_bytes(4) + payload


def setting(name: int, value: int) -> bytes:
    """Return a setting as it is sent."""
    return name.to_bytes(2) + value.to_bytes(4)
