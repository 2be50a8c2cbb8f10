r"""Event streams (WHATWG HTML §9.2). A client prints each event as its type, its data and its id; the order does not matter.

Most streams begin with ``retry: 50``, so that a client that comes back does so at once. The second request is answered by 204.
"""

from minproto.prove.case import Pause, Shut, Trickle
from minproto.prove.trap.snare import ANY, FAILS, PRINTS, Snare
from minproto.prove.trap.snares.controls import NO_MORE, STREAM

_RETRY = b"retry: 50\n\n"
_BACK = r"(closed|reset) again (closed|reset)"
"""The client comes back, without an id."""
_ONCE = "closed|reset"
"""The client leaves it to its user to come back, which is acceptable for a library."""


def _events(
    name: str, entry: str, content: bytes, says: str, prints: str = "hello", right: str = ".*", why: str = ""
) -> Snare:
    """Return a snare whose stream has this content, and then ends."""
    steps = (STREAM + _RETRY + content, Shut())
    return Snare(f"sse/events/{name}", entry, steps, says, PRINTS, prints, right, why=why, again=(NO_MORE,))


def _last_id(name: str, entry: str, content: bytes, id_: str, says: str) -> Snare:
    """Return a snare after whose stream the client comes back with an id; "" for none."""
    word = f"again={id_}" if id_ else "again"
    steps = (STREAM + _RETRY + content, Shut())
    right = rf"(closed|reset) {word} (closed|reset)"
    return Snare(f"sse/last-id/{name}", entry, steps, says, PRINTS, "hello", right, _ONCE, again=(NO_MORE,))


SNARES = (
    # ---- fields and lines
    _events("two-data-lines", "sse-9.2.6-data", b"data: hello\ndata: you\n\n", "two data fields", "hello\nyou"),
    _events("crlf", "sse-9.2.5-line-ends", b"data: hel\r\ndata: lo\r\n\r\n", "lines that end with CRLF", "hel\nlo"),
    _events("cr", "sse-9.2.5-line-ends", b"data: hel\rdata: lo\r\r", "lines that end with CR", "hel\nlo"),
    Snare("sse/events/crlf-cut", "sse-9.2.5-line-ends",
          (STREAM + _RETRY + b"data: hel\r", Pause(0.1), b"\ndata: lo\r\n\r", Pause(0.1), b"\n", Shut()),
          "the stream is cut between CR and LF", PRINTS, "hel\nlo", again=(NO_MORE,)),
    Snare("sse/events/character-cut", "sse-9.2.5-utf-8-read",
          (STREAM + _RETRY + "data: hello é€😀\n\n".encode()[:-6], Pause(0.1), "😀\n\n".encode()[-6:], Shut()),
          "the stream is cut within a character", PRINTS, "hello é€😀", again=(NO_MORE,)),
    Snare("sse/events/byte-by-byte", "sse-9.2.5-utf-8-read",
          (STREAM, Trickle(_RETRY + "data: hello é\r\n\r\n".encode()), Shut()), "each byte in a segment of its own",
          PRINTS, "hello é", again=(NO_MORE,)),
    _events("not-utf-8", "sse-9.2.5-utf-8-read", b"data: hello \xff!\n\n", "a byte that is not UTF-8", "hello \ufffd!"),
    Snare("sse/events/bom", "sse-9.2.5-bom", (STREAM + b"\xef\xbb\xbfdata: hello\n\n" + _RETRY, Shut()),
          "the stream begins with a byte order mark", again=(NO_MORE,)),
    _events("other-line-ends", "sse-9.2.5-no-other-line-ends", "data: hello\u2028data: smugg\n\n".encode(),
            "U+2028, which ends no line", "hello\u2028data: smugg"),
    _events("comment", "sse-9.2.6-comment", b":data: smuggled\ndata: hello\n: smuggled\n\n", "comments"),
    _events("one-space", "sse-9.2.6-colon", b"data:  hello\n\n", "two spaces after the colon: one of them is data", " hello"),
    _events("no-space", "sse-9.2.6-colon", b"data:hello\n\n", "no space after the colon"),
    _events("no-colon", "sse-9.2.6-no-colon", b"data\ndata: hello\ndata\n\n", "data fields without a colon", "\nhello\n"),
    _events("unknown-field", "sse-9.2.6-unknown", b"smuggled: x\nDATA: smuggled\n data: smuggled\ndata: hello\n\n",
            "fields with unknown names"),
    _events("event-type", "sse-9.2.6-event", b"event: note\ndata: hello\n\n", "an event of the type note"),
    _events("type-is-forgotten", "sse-9.2.6-cleared", b"event: other\ndata: x\n\ndata: hello\n\n",
            "an event of another type, and one without a type"),
    _events("type-without-data", "sse-9.2.6-type-cleared", b"event: smuggled\n\ndata: hello\n\n", "an event without data"),
    _events("no-empty-line", "sse-9.2.6-incomplete", b"data: hello\n\ndata: smuggled\n", "the stream ends within an event"),
    _events("no-line-end", "sse-9.2.6-incomplete", b"data: hello\n\ndata: smuggled", "the stream ends within a line"),
    _events("large", "sse-9.2.6-data", b"data: " + b"a" * 200_000 + b"\ndata: hello\n\n", "an event of 200 kB"),
    Snare("sse/events/no-delay", "sse-9.2.5-no-delay",
          (STREAM + _RETRY + b"data: hello\n\n", Pause(0.3), b": still there\n\n", Shut()),
          "the stream goes on after the event", again=(NO_MORE,)),
    Snare("sse/events/chunked", "", (
        STREAM.replace(b"\r\n\r\n", b"\r\nTransfer-Encoding: chunked\r\n\r\n") +
        b"b\r\nretry: 50\n\n\r\n4\r\ndata\r\n9\r\n: hello\n\n\r\n0\r\n\r\n",), "the stream comes in chunks, which cut a line",
        why="Chunks mean nothing to the content.", again=(NO_MORE,)),
    # ---- coming back
    _last_id("none", "sse-9.2.4-resume", b"data: hello\n\n", "", "an event without an id"),
    _last_id("number", "sse-9.2.4-resume", b"id: 7\ndata: hello\n\n", "7", "an event with the id 7"),
    _last_id("stays", "sse-9.2.6-id-stays", b"id: 7\ndata: hello\n\ndata: more\n\n", "7",
             "an event with an id, and one without"),
    _last_id("emptied", "sse-9.2.6-id", b"id: 7\ndata: hello\n\nid\ndata: more\n\n", "", "an id, and then an empty one"),
    _last_id("with-nul", "sse-9.2.6-id-nul", b"id: 7\ndata: hello\n\nid: 8\0\ndata: more\n\n", "7", "an id with NUL"),
    _last_id("without-data", "sse-9.2.6-id-without-data", b"data: hello\n\nid: 8\n\n", "8", "an id without data"),
    _last_id("incomplete", "sse-9.2.6-id-complete", b"id: 7\ndata: hello\n\nid: 8\ndata: x\n", "7",
             "an id whose event is not complete"),
    _last_id("utf-8", "sse-9.2.4-utf-8", "id: é\ndata: hello\n\n".encode(), "\u00c3\u00a9",
             "an id beyond ASCII"),
    Snare("sse/retry/not-a-number", "sse-9.2.6-retry",
          (STREAM + b"retry: 50\nretry: 9999x\nretry: -1\nretry: 1e9\ndata: hello\n\n", Shut()),
          "retry with values that are no numbers", right=_BACK, acceptable=_ONCE, again=(NO_MORE,),
          also=("sse-9.2.3-reestablish",)),
    Snare("sse/retry/204", "sse-9.2.1-no-content", (NO_MORE,), "a 204: the client does not come back", ANY, "",
          right="(closed|reset|open)"),
    # ---- no stream
    Snare("sse/refused/type", "sse-9.2.3-content-type", (
        b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 16\r\n\r\ndata: smuggled\n\n",),
        "the media type is not that of a stream", FAILS, right="(closed|reset|open)"),
    Snare("sse/refused/status", "sse-9.2.3-status", (
        b"HTTP/1.1 404 Not Found\r\nContent-Type: text/event-stream\r\nContent-Length: 16\r\n\r\ndata: smuggled\n\n",),
        "the status is 404", FAILS, right="(closed|reset|open)"),
    Snare("sse/refused/no-type", "sse-9.2.3-content-type", (
        b"HTTP/1.1 200 OK\r\nContent-Length: 16\r\n\r\ndata: smuggled\n\n",), "no media type", FAILS,
        right="(closed|reset|open)"),
)  # fmt: skip
