"""The transcripts that are right or acceptable for HTTP/2, for the cases of all its groups.

    connection_error("PROTOCOL_ERROR")    "goaway=PROTOCOL_ERROR closed" is right
    stream_error(1, "STREAM_CLOSED")      "1:STREAM_CLOSED open" is right
    malformed()                           "1:PROTOCOL_ERROR open" is right, and so is "1:400 1:end open"
    answered(1, 3)                        "1:200 1:end 3:200 3:end open" is right, in any order

Each function returns ``right`` and ``acceptable``. RFC 9113 leaves a lot open, and the second pattern allows all of it. An
endpoint may end a connection at any time, may treat a stream error as a connection error, and should send a GOAWAY first
(§5.4.1). It may use a generic code, such as PROTOCOL_ERROR, in place of a more specific one (§5.4).
"""

ONCE = r"(?!.*\b(malformed|push)\b)"
"""What no server may do, whatever it is asked: bytes that are not HTTP/2, and a push to a client that has disabled push."""
ENDED = rf"{ONCE}(.* )?(closed|reset)"
"""The server has ended the connection, with a GOAWAY or without one."""
SERVED = r"(?!400)[234]\d\d"
"""The status of a request that the server has understood; a target may have nothing at the path."""
GENERIC = "PROTOCOL_ERROR|INTERNAL_ERROR"


def connection_error(code: str) -> tuple[str, str]:
    """A connection error: GOAWAY with the code, then the end (§5.4.1). ``code`` may be several, with | between them.

    A server that has sent the GOAWAY and still waits for us to close the connection is acceptable."""
    right = rf"{ONCE}(.* )?goaway=({code})( .*)? closed"
    return right, rf"{ENDED}|{ONCE}(.* )?goaway=({code}|{GENERIC})( .*)? open"


def stream_error(stream: int, code: str) -> tuple[str, str]:
    """A stream error: RST_STREAM with the code, and the connection stays open (§5.4.2)."""
    right = rf"{ONCE}(.* )?{stream}:({code})( .*)? open"
    return right, rf"{ENDED}|{ONCE}(.* )?({stream}:|goaway=)({code}|{GENERIC})( .*)? open"


def either_error(stream: int, code: str) -> tuple[str, str]:
    """An error of the stream, or of the connection: the standard allows both without a preference."""
    right = rf"{ONCE}(.* )?({stream}:({code})( .*)? open|goaway=({code})( .*)? closed)"
    return right, stream_error(stream, code)[1]


def malformed(stream: int = 1) -> tuple[str, str]:
    """A malformed request (§8.1.1): a stream error PROTOCOL_ERROR. A 4xx before it is allowed, and for a field with prohibited
    characters recommended (§8.2.1). Serving the request is wrong."""
    refused = rf"{ONCE}(?!.*\b{stream}:[23]\d\d )"
    right = rf"{refused}(.* )?({stream}:PROTOCOL_ERROR|{stream}:400( .*)? {stream}:end)( .*)? open"
    other = rf"{refused}(.* )?({stream}:INTERNAL_ERROR|goaway=PROTOCOL_ERROR|{stream}:[45]\d\d( .*)? {stream}:end)( .*)? open"
    return right, rf"{refused}(.* )?(closed|reset)|{other}"


def answered(*streams: int) -> tuple[str]:
    """Each request is served, and the connection stays open."""
    heads = "".join([rf"(?=(.* )?{stream}:{SERVED} (.* )?{stream}:end )" for stream in streams])
    return (rf"{ONCE}(?!.*goaway)(?!.*\d:(?!NO_ERROR)[A-Z]){heads}.* open",)


OK = answered(1)
PROTOCOL = connection_error("PROTOCOL_ERROR")
SIZE = connection_error("FRAME_SIZE_ERROR")
COMPRESSION = connection_error("COMPRESSION_ERROR")
