r"""HTTP/1.1: the head of a response (RFC 9112 §2, §4, §5), its status (RFC 9110 §15), and the connection."""

from minproto.prove.case import Pause, Shut, Trickle
from minproto.prove.trap.snare import ANY, EITHER, FAILS, FORBIDDEN, PRINTS, Reset, Snare
from minproto.prove.trap.snares.controls import HELLO
from minproto.prove.trap.snares.http1_framing import OK, SMUGGLED

FIELDS = b"Content-Type: text/plain\r\nContent-Length: 5\r\n"
_CUT = "A head that was cut short may lack the field that says where the content ends."


def _line(name: str, entry: str, line: bytes, says: str, outcome: str = PRINTS, why: str = "") -> Snare:
    """Return a snare with a status line of its own."""
    return Snare(f"http1/status-line/{name}", entry, (line + FIELDS + b"\r\nhello", Shut()), says, outcome, why=why)


def _field(
    name: str, entry: str, field: bytes, says: str, outcome: str = PRINTS, why: str = "", never: str = FORBIDDEN
) -> Snare:
    """Return a snare with one more field, before the length."""
    head = b"HTTP/1.1 200 OK\r\n" + field + FIELDS + b"\r\n"
    return Snare(f"http1/fields/{name}", entry, (head + b"hello", Shut()), says, outcome, never=never, why=why)


def _no_length(name: str, entry: str, field: bytes, says: str) -> Snare:
    """Return a snare with a field that is no length, though it may look like one. The content ends with the connection."""
    head = b"HTTP/1.1 200 OK\r\n" + field + b"Content-Type: text/plain\r\n\r\n"
    return Snare(f"http1/fields/{name}", entry, (head + b"hello", Pause(0.3), b" you", Shut()), says, EITHER, "hello you")


def _interim(name: str, interim: bytes, says: str) -> Snare:
    """Return a snare with 1xx responses before the response."""
    return Snare(f"http1/interim/{name}", "9110-15.2-parse-them", (interim, HELLO), says)


def _bare(name: str, status: bytes, entry: str, says: str, fields: bytes = b"", outcome: str = ANY) -> Snare:
    """Return a snare whose response has no content, whatever follows it."""
    steps = (b"HTTP/1.1 " + status + b"\r\n" + fields + b"\r\n", Pause(0.05), b"smuggled" if fields else SMUGGLED, Shut())
    return Snare(f"http1/no-content/{name}", entry, steps, says, outcome, "", also=("9112-6.3-no-content",))


SNARES = (
    # ---- the status line
    _line("empty-reason", "9112-4-reason-ignored", b"HTTP/1.1 200 \r\n", "an empty reason phrase"),
    _line("no-reason", "", b"HTTP/1.1 200\r\n", "no reason phrase, and no space before it", EITHER,
          "The grammar demands the space (RFC 9112 §4), but many servers leave it out."),
    _line("strange-reason", "9112-4-reason-ignored", b"HTTP/1.1 200 404 Not Found, \xe9\xff\r\n", "a strange reason phrase"),
    _line("higher-minor-version", "9110-6.2-higher-minor", b"HTTP/1.5 200 OK\r\n", "HTTP/1.5"),
    _line("version-1-0", "", b"HTTP/1.0 200 OK\r\n", "HTTP/1.0", why="Old servers are still there."),
    _line("version-3-0", "", b"HTTP/3.0 200 OK\r\n", "HTTP/3.0, in the syntax of HTTP/1.1", EITHER,
          "A major version of its own may have another syntax."),
    _line("unknown-success", "9110-15-class", b"HTTP/1.1 299 Odd\r\n", "the unknown status 299"),
    _line("status-999", "9110-15-invalid-is-a-server-error", b"HTTP/1.1 999 Odd\r\n", "the invalid status 999", ANY),
    _line("two-digits", "", b"HTTP/1.1 20 OK\r\n", "a status of two digits", ANY, "The grammar demands three (RFC 9112 §4)."),
    Snare("http1/status-line/not-http", "", (b"SSH-2.0-OpenSSH_9.2\r\n", Shut()), "the server speaks SSH", FAILS,
          why="A port that speaks something else is a mistake of somebody."),
    Snare("http1/status-line/http-0-9", "", (b"hello", Shut()), "content without any head, as in HTTP/0.9", FAILS,
          why="Everything would be content, also what other protocols say (cross-protocol attacks).",
          issue="https://curl.se/docs/manpage.html#--http09"),
    # ---- interim responses
    _interim("100", b"HTTP/1.1 100 Continue\r\n\r\n", "a 100, which was not asked for"),
    _interim("102-and-103", b"HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\n\r\n",
             "a 102 and a 103"),
    _interim("unknown", b"HTTP/1.1 199 Odd\r\n\r\n", "the unknown interim status 199"),
    _interim("ten", b"HTTP/1.1 102 Processing\r\n\r\n" * 10, "ten interim responses"),
    _interim("with-length", b"HTTP/1.1 103 Early Hints\r\nContent-Length: 60\r\n\r\n", "a 103 with a Content-Length"),
    Snare("http1/interim/nothing-after-it", "9112-8-incomplete", (b"HTTP/1.1 103 Early Hints\r\n\r\n", Shut()),
          "the connection ends after a 103", FAILS, why=_CUT),
    Snare("http1/interim/101-unasked", "", (
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n", Pause(0.05), HELLO, Shut()),
        "a 101 that nobody has asked for", ANY, "", why="A client may ignore a 1xx that it does not expect (RFC 9110 §15.2)."),
    # ---- responses without content
    _bare("204", b"204 No Content", "9110-15.3.5-no-content", "data follows a 204"),
    _bare("204-with-length", b"204 No Content", "9112-6.3-no-content", "a 204 has a length, and data follows",
          b"Content-Length: 8\r\n"),
    _bare("304", b"304 Not Modified", "9110-15.4.5-no-content", "data follows a 304", b"Content-Length: 8\r\n"),
    Snare("http1/no-content/head", "9112-6.3-no-content",
          (OK + b"Content-Length: 8\r\n\r\n", Pause(0.05), b"smuggled", Shut()), "content follows a response to HEAD",
          ANY, "", method="HEAD"),
    Snare("http1/no-content/head-until-close", "9112-6.3-no-content", (OK + b"\r\n",),
          "a response to HEAD has no length, and the connection stays open", PRINTS, "", method="HEAD"),
    Snare("http1/no-content/empty", "", (OK + b"Content-Length: 0\r\n\r\n",), "a length of 0", PRINTS, "",
          why="It is the end of the response."),
    # ---- fields
    _field("fold", "9112-5.2-fold-in-a-response", b"X: a\r\n b\r\n\tc\r\n", "a folded value", never="a\r\n b"),
    _field("fold-hides-a-length", "9112-5.2-fold-in-a-response", b"X: a\r\n Content-Length: 3\r\n",
           "a folded value that looks like a length"),
    _no_length("space-first", "9112-2.2-space-first-received", b" Content-Length: 5\r\n",
               "the first field begins with a space"),
    _no_length("bare-cr", "9112-2.2-bare-cr-received", b"X: a\rContent-Length: 5\r\n",
               "a value with a bare CR, and what looks like a length"),
    _field("nul", "9110-5.5-cr-lf-nul", b"X: a\0b\r\n", "a value with NUL", EITHER, never="a\0b"),
    _field("delete", "9110-5.5-other-controls", b"X: a\x7fb\r\n", "a value with the control character 0x7f", EITHER),
    _field("latin-1", "9112-2.2-octets", b"X: \xe9\xff\r\n", "a value with bytes that are not ASCII"),
    _field("no-colon", "", b"X\r\n", "a line without a colon", EITHER, "It is no field (RFC 9112 §5)."),
    _field("no-name", "", b": a\r\n", "a field without a name", EITHER, "It is no field (RFC 9112 §5)."),
    _field("space-before-colon", "", b"X : a\r\n", "a space before the colon", EITHER,
           "A server refuses such a request (RFC 9112 §5.1), and a proxy removes the space from a response."),
    _field("transfer-encoding-with-a-space", "", b"Transfer-Encoding : chunked\r\n",
           "Transfer-Encoding, a space, and the colon", EITHER,
           "If it is read as the field, the content is chunked. Two readers that disagree split the response."),
    _field("empty-value", "", b"X:\r\nY: \r\n", "empty values", why="They are right (RFC 9110 §5.5)."),
    _field("upper-case-names", "9110-5.1-names-have-no-case", b"CONNECTION: CLOSE\r\n", "a name in upper case"),
    _field("tabs-around-a-value", "9112-5.1-ows", b"Connection:\t close \t\r\n", "tabs and spaces around a value"),
    _field("unknown-coding", "", b"Content-Encoding: x\r\n", "an unknown Content-Encoding", ANY,
           "What cannot be decoded is not text."),
    _field("long-value", "9110-2.3-own-lengths", b"X: " + b"a" * 7_000 + b"\r\n", "a value of 7,000 bytes"),
    _field("many", "9110-5.1-ignore-unrecognized", b"".join([b"X-%d: a\r\n" % number for number in range(60)]), "60 fields"),
    _field("huge", "9110-2.3-defensive", b"X: " + b"a" * 500_000 + b"\r\n", "a value of 500 kB", EITHER),
    Snare("http1/fields/endless", "", (b"HTTP/1.1 200 OK\r\n" + b"X: a\r\n" * 700_000,),
          "700,000 fields, and the head has no end", FAILS, also=("9110-2.3-defensive",),
          why="A client that waits for the end of any head fills its memory."),
    Snare("http1/fields/no-space-after-the-colon", "9112-5.1-ows",
          (b"HTTP/1.1 200 OK\r\nContent-Type:text/plain\r\nContent-Length:5\r\n\r\nhello",), "no space after the colon"),
    Snare("http1/fields/line-feeds-alone", "", (HELLO.replace(b"\r\n", b"\n"), Shut()), "lines that end with LF alone", EITHER,
          why="A recipient may accept that (RFC 9112 §2.2)."),
    # ---- the connection
    Snare("http1/connection/byte-by-byte", "9112-2.2-octets", (Trickle(HELLO),), "each byte in a segment of its own"),
    Snare("http1/connection/late", "", (Pause(0.5), HELLO), "the response comes after half a second",
          why="Servers need time to think."),
    Snare("http1/connection/stops-and-goes", "", (HELLO[:30], Pause(0.3), HELLO[30:-3], Pause(0.3), HELLO[-3:]),
          "the response comes in three pieces", why="Networks are slow."),
    Snare("http1/connection/closed-at-once", "9112-8-incomplete", (Shut(),), "the connection ends without an answer", FAILS),
    Snare("http1/connection/reset-at-once", "9112-8-incomplete", (Reset(),),
          "the connection is reset without an answer", FAILS),
    Snare("http1/connection/half-a-head", "9112-8-incomplete", (HELLO[:30], Shut()), "the connection ends in a head", FAILS,
          why=_CUT),
    Snare("http1/connection/head-without-its-end", "9112-8-incomplete", (OK + b"X: a\r\n", Shut()),
          "the connection ends before the empty line", FAILS, why=_CUT),
    Snare("http1/connection/close-after-it", "9112-9.6-client-received-close-closes",
          (HELLO.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"),),
          "the response says Connection: close, and the server waits", right="closed|reset"),
    Snare("http1/connection/timeout-after-it", "9112-9.2-unasked",
          (HELLO, Pause(0.02), SMUGGLED.replace(b"200 OK", b"408 Request Timeout"), Shut()),
          "a 408 follows, for which nobody has asked"),
)  # fmt: skip
