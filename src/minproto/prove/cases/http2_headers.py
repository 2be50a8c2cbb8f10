"""HTTP/2: heads and trailers, the control data in pseudo-header fields and the fields after it (RFC 9113 §8.1 to §8.3, §8.5).

A gateway writes such a head as HTTP/1.1 for the server behind it. A line break, a second Host or a Transfer-Encoding in it
becomes a second request there: *request smuggling*. So the standard has malformed requests refused.
"""

from minproto.http2_frames import DATA, END_HEADERS, END_STREAM
from minproto.prove.case import Case, Step
from minproto.prove.cases.http2_patterns import ENDED, OK, ONCE, malformed
from minproto.prove.frames import ECHO, GET, POST, Fields, Head, fields, frame, without

DESYNC = "https://portswigger.net/research/http2"
NEEDS_ECHO = frozenset({"echo"})
NEEDS_POST = frozenset({"post"})
HELLO = frame(DATA, END_STREAM, 1, b"hello")


def _bad(words: str, entry: str, sent: Fields, *, also: tuple[str, ...] = (), issue: str = "") -> Case:
    """A request that is malformed."""
    return Case(f"http2/headers/{words}", entry, (Head(1, sent),), *malformed(), also=also, issue=issue)


def _field(words: str, entry: str, name: str, value: str = "x", *, issue: str = "") -> Case:
    """A request with one more field, which makes it malformed."""
    return _bad(words, entry, fields("GET", (name, value)), also=("9113-8.2.1-malformed", "9113-8.2.1-the-least-validation"),
                issue=issue)  # fmt: skip


def _fine(words: str, entry: str, *more: tuple[str, str], why: str, also: tuple[str, ...] = ()) -> Case:
    """A request with some more fields, which is right."""
    return Case(f"http2/headers/{words}", entry, (Head(1, fields("GET", *more)),), *OK, why=why, also=also)


def _replaced(name: str, value: str, sent: Fields = GET) -> Fields:
    return tuple([(each, value if each == name else old) for each, old in sent])


FIELDS = (
    _fine("names-of-all-characters", "9113-8.2.1-names", ("x-!#$%&'*+-.^_`|~09", "y"),
          why="These are all the characters of a name beside letters (RFC 9110 §5.6.2)."),
    _fine("value-of-all-bytes", "9113-8.2.1-no-line-breaks-in-values", ("x", "a\tb \x80\xff!~c"),
          why="A value may contain tabs, spaces, and bytes above 0x7f (RFC 9110 §5.5)."),
    _fine("empty-value", "9113-8.2.1-no-space-around-values", ("x", ""), why="A value may be empty."),
    _fine("field-twice", "9113-8.2.1-names", ("x", "a"), ("x", "b"), why="A field may occur several times (RFC 9110 §5.3)."),
    _fine("te-trailers", "9113-8.2.2-te", ("te", "trailers"), why="This value of TE, and no other one, is allowed."),
    _fine("cookies", "9113-8.2.3-cookies-are-joined", ("cookie", "a=b"), ("cookie", "c=d"), ("cookie", "e=f"),
          why="A client may split its cookies into several fields, for the sake of compression."),
    _field("upper-case-name", "9113-8.2.1-names", "X-Test", issue=DESYNC),
    _field("space-in-name", "9113-8.2.1-names", "x y"),
    _field("control-character-in-name", "9113-8.2.1-names", "x\x01y"),
    _field("line-break-in-name", "9113-8.2.1-names", "x: y\r\nz", issue=DESYNC),
    _field("delete-in-name", "9113-8.2.1-names", "x\x7f"),
    _field("byte-above-ascii-in-name", "9113-8.2.1-names", "x\xe9"),
    Case(
        "http2/headers/empty-name", "9113-8.2.1-names-and-values-by-their-grammar", (Head(1, fields("GET", ("", "x"))),),
        malformed()[0], f"{malformed()[1]}|{OK[0]}",
        why="A name has at least one character (RFC 9110 §5.1), but the least validation of §8.2.1 does not say so.",
    ),
    Case(
        "http2/headers/delimiter-in-name", "9113-8.2.1-names-and-values-by-their-grammar",
        (Head(1, fields("GET", ("x(y", "z"))),),
        malformed()[0], f"{malformed()[1]}|{OK[0]}",
        why="A parenthesis is no character of a name (RFC 9110 §5.6.2), but the least validation of §8.2.1 does not say so.",
    ),
    _field("colon-in-name", "9113-8.2.1-no-colon-in-names", "x:y", issue=DESYNC),
    _field("nul-in-value", "9113-8.2.1-no-line-breaks-in-values", "x", "a\0b"),
    _field("line-feed-in-value", "9113-8.2.1-no-line-breaks-in-values", "x", "a\nb", issue=DESYNC),
    _field("carriage-return-in-value", "9113-8.2.1-no-line-breaks-in-values", "x", "a\rb", issue=DESYNC),
    _field("request-in-value", "9113-8.2.1-no-line-breaks-in-values", "x", "a\r\n\r\nGET /admin HTTP/1.1\r\nHost: a",
           issue=DESYNC),
    _field("space-before-value", "9113-8.2.1-no-space-around-values", "x", " a"),
    _field("space-after-value", "9113-8.2.1-no-space-around-values", "x", "a "),
    _field("tab-before-value", "9113-8.2.1-no-space-around-values", "x", "\ta"),
    _field("tab-after-value", "9113-8.2.1-no-space-around-values", "x", "a\t"),
)  # fmt: skip

SPECIFIC = (
    *[
        _bad(name, "9113-8.2.2-malformed", fields("GET", (name, value)), also=("9113-8.2.2-none-sent",), issue=issue)
        for name, value, issue in (
            ("connection", "close", ""), ("proxy-connection", "close", ""), ("keep-alive", "timeout=5", ""),
            ("transfer-encoding", "chunked", DESYNC), ("upgrade", "websocket", ""),
        )
    ],
    _bad("te-gzip", "9113-8.2.2-te", fields("GET", ("te", "gzip")), also=("9113-8.2.2-malformed",)),
    _bad("te-trailers-and-more", "9113-8.2.2-te", fields("GET", ("te", "trailers, gzip")), also=("9113-8.2.2-malformed",)),
)  # fmt: skip

PSEUDO = (
    *[_bad(f"no-{name[1:]}", "9113-8.3.1-exactly-one", without(name, GET)) for name in (":method", ":scheme", ":path")],
    *[_bad(f"{name[1:]}-twice", "9113-8.3-repeated", (*GET, (name, dict(GET)[name])), also=("9113-8.3-once",))
      for name in (":method", ":scheme", ":path", ":authority")],
    _bad("another-path-too", "9113-8.3-repeated", (*GET, (":path", "/other"))),
    _bad("pseudo-field-after-others", "9113-8.3-late-pseudo-fields", (*GET[:3], ("x", "y"), GET[3]),
         also=("9113-8.3-pseudo-fields-first",)),
    _bad("second-path-after-others", "9113-8.3-late-pseudo-fields", (*GET, ("x", "y"), (":path", "/other")), issue=DESYNC),
    _bad("unknown-pseudo-field", "9113-8.3-unknown-pseudo-fields", ((":test", "x"), *GET), also=("9113-8.3-no-others-sent",)),
    _bad("pseudo-field-of-responses", "9113-8.3-response-fields-in-requests", ((":status", "200"), *GET)),
    _bad("pseudo-field-without-a-name", "9113-8.3-unknown-pseudo-fields", ((":", "x"), *GET)),
    _bad("upper-case-pseudo-field", "9113-8.3-unknown-pseudo-fields", (*without(":path", GET), (":PATH", "/"))),
    _bad("empty-path", "9113-8.3.1-path-is-not-empty", fields("GET", path=""), also=("9113-8.3.1-slash-for-no-path",)),
    _bad("path-without-slash", "9113-8.3.1-exactly-one", fields("GET", path="index.html")),
    _bad("path-with-space", "9113-8.3.1-exactly-one", fields("GET", path="/ HTTP/1.1"), issue=DESYNC),
    _bad("path-with-line-break", "9113-8.2.1-no-line-breaks-in-values", fields("GET", path="/\r\nx: y"), issue=DESYNC),
    _bad("method-with-space", "9113-8.3.1-exactly-one", _replaced(":method", "GET / HTTP/1.1"), issue=DESYNC),
    _bad("method-with-line-break", "9113-8.2.1-no-line-breaks-in-values", _replaced(":method", "GET\r\nx: y"), issue=DESYNC),
    _bad("empty-method", "9113-8.3.1-exactly-one", _replaced(":method", "")),
    _bad("authority-with-line-break", "9113-8.2.1-no-line-breaks-in-values", _replaced(":authority", "{host}\r\nx: y"),
         issue=DESYNC),
    Case(
        "http2/headers/path-with-fragment", "9113-8.3.1-exactly-one", (Head(1, fields("GET", path="{path}#b")),),
        malformed()[0],
        f"{malformed()[1]}|{OK[0]}",
        why="A path has no fragment (RFC 3986 §3.3), so the value is not valid. Many servers cut the fragment off.",
    ),
    Case(
        "http2/headers/path-of-an-asterisk", "9113-8.3.1-asterisk", (Head(1, fields("GET", path="*")),), malformed()[0],
        f"{malformed()[1]}|{ONCE}1:4\\d\\d .*open", why="The path * is for OPTIONS alone.",
    ),
    Case(
        "http2/headers/options-of-an-asterisk", "9113-8.3.1-asterisk", (Head(1, fields("OPTIONS", path="*")),),
        rf"{ONCE}(?!.*1:400)1:[245]\d\d .*1:end( 1:NO_ERROR)? open", rf"{ENDED}|{ONCE}.*1:(400|[A-Z]+).* open",
        why="OPTIONS * asks about the server as a whole (RFC 9110 §9.3.7); a server may have no answer.",
    ),
    Case(
        "http2/headers/scheme-that-is-none", "9113-8.3.1-exactly-one", (Head(1, _replaced(":scheme", "1 2")),), malformed()[0],
        f"{malformed()[1]}|{OK[0]}", issue=DESYNC,
        why="A scheme has letters, digits, + - and . alone (RFC 3986 §3.1); to a gateway the rest is an attack.",
    ),
    Case(
        "http2/headers/userinfo-in-authority", "9113-8.3.1-no-userinfo", (Head(1, _replaced(":authority", "me@{host}")),),
        malformed()[0], f"{malformed()[1]}|{OK[0]}",
        why="A client must not send the user's name of a URI. What a server makes of it is left open.",
    ),
    Case(
        "http2/headers/host-that-differs", "9113-8.3.1-host-that-differs",
        (Head(1, fields("GET", ("host", "other.example"))),),
        malformed()[0], f"{malformed()[1]}|{OK[0]}", also=("9113-8.3.1-host-as-authority", "9113-8.3.1-authority-wins"),
        why="A gateway may go by one of the two names, and the server behind it by the other one.",
    ),
    Case(
        "http2/headers/host-equal-to-authority", "9113-8.3.1-host-that-differs", (Head(1, fields("GET", ("host", "{host}"))),),
        *OK,
        rf"{ENDED}|{ONCE}1:4\d\d .*open", also=("9113-8.3.1-host-as-authority",),
        why="A Host field that says the same as :authority is allowed, though no client needs it.",
    ),
    Case(
        "http2/headers/host-without-authority", "9113-8.3.1-clients-send-authority",
        (Head(1, (*without(":authority", GET), ("host", "{host}"))),), *OK,
        why="A request that a gateway has translated from HTTP/1.1 may have Host alone.",
    ),
    Case(
        "http2/headers/neither-host-nor-authority", "9113-8.3.1-clients-send-authority",
        (Head(1, without(":authority", GET)),),
        malformed()[0], f"{malformed()[1]}|{OK[0]}",
        why="Nobody knows which site the request is for. RFC 9113 names no error for it, so a server may have a default.",
    ),
    Case(
        "http2/headers/empty-authority", "9113-8.3.1-no-empty-authority", (Head(1, _replaced(":authority", "")),),
        malformed()[0], f"{malformed()[1]}|{OK[0]}", why="A client without an authority has to leave :authority out.",
    ),
)  # fmt: skip


def _echo(words: str, entry: str, *steps: Step, also: tuple[str, ...] = ()) -> Case:
    """A request that turns out to be malformed after its head: it may have been answered by then, but not to its end."""
    right, acceptable = malformed()
    begun = rf"{ONCE}(?!.*1:end )(.* )?1:PROTOCOL_ERROR( .*)? open"
    begun_otherwise = rf"{ONCE}(?!.*1:end )(.* )?((1:INTERNAL_ERROR|goaway=PROTOCOL_ERROR)( .*)? open|closed|reset)"
    return Case(f"http2/headers/{words}", entry, steps, f"{right}|{begun}", f"{acceptable}|{begun_otherwise}",
                needs=NEEDS_ECHO, also=(*also, "9113-8.1.1-a-stream-error"))  # fmt: skip


def _length(value: str) -> Head:
    return Head(1, (*ECHO, ("content-length", value)), END_HEADERS)


LENGTHS = (
    Case(
        "http2/headers/content-length", "9113-8.1.1-content-length",
        (Head(1, (*POST, ("content-length", "5")), END_HEADERS), HELLO), *OK, needs=NEEDS_POST,
    ),
    Case(
        "http2/headers/content-length-of-padded-data", "9113-8.1.1-content-length",
        (Head(1, (*POST, ("content-length", "5")), END_HEADERS), frame(DATA, END_STREAM | 8, 1, b"\x03hello\0\0\0")), *OK,
        needs=NEEDS_POST, why="The length counts the data of the frames, without their padding.",
    ),
    _echo("content-length-too-large", "9113-8.1.1-content-length", _length("6"), HELLO),
    _echo("content-length-too-small", "9113-8.1.1-content-length", _length("4"), HELLO),
    _echo("content-length-of-many-frames", "9113-8.1.1-content-length", _length("11"), frame(DATA, 0, 1, b"hello"), HELLO),
    _echo("content-length-and-no-data", "9113-8.1.1-content-length", Head(1, (*ECHO, ("content-length", "5")))),
    _echo("content-length-and-empty-data", "9113-8.1.1-content-length", _length("5"), frame(DATA, END_STREAM, 1)),
    _echo("content-length-before-trailers", "9113-8.1.1-content-length", _length("6"), frame(DATA, 0, 1, b"hello"),
          Head(1, (("x", "y"),))),
    _echo("content-length-that-is-no-number", "9113-8.1.1-content-length", _length("+5"), HELLO),
    _echo("two-content-lengths", "9113-8.1.1-content-length",
          Head(1, (*ECHO, ("content-length", "5"), ("content-length", "6")), END_HEADERS), HELLO),
)  # fmt: skip

TRAILERS = (
    Case(
        "http2/headers/trailers", "9113-8.1-a-second-head",
        (Head(1, POST, END_HEADERS), frame(DATA, 0, 1, b"hello"), Head(1, (("x-sum", "1"),))), *OK, needs=NEEDS_POST,
        why="A request may end with trailers.",
    ),
    Case(
        "http2/headers/trailers-without-data", "9113-8.1-a-second-head",
        (Head(1, POST, END_HEADERS), Head(1, (("x-sum", "1"),))),
        *OK, needs=NEEDS_POST, why="A request without content may end with trailers.",
    ),
    _echo("trailers-without-end", "9113-8.1-a-second-head", Head(1, ECHO, END_HEADERS), frame(DATA, 0, 1, b"hello"),
          Head(1, (("x-sum", "1"),), END_HEADERS), frame(DATA, END_STREAM, 1)),
    _echo("second-head", "9113-8.1-a-second-head", Head(1, ECHO, END_HEADERS), Head(1, ECHO, END_HEADERS), HELLO),
    _echo("pseudo-field-in-trailers", "9113-8.1-pseudo-fields-in-trailers", Head(1, ECHO, END_HEADERS),
          frame(DATA, 0, 1, b"hello"), Head(1, ((":path", "/other"),)), also=("9113-8.1-no-pseudo-fields-in-trailers",)),
    _echo("line-break-in-trailers", "9113-8.2.1-no-line-breaks-in-values", Head(1, ECHO, END_HEADERS),
          frame(DATA, 0, 1, b"hello"), Head(1, (("x", "a\r\nb"),))),
    _echo("connection-in-trailers", "9113-8.2.2-malformed", Head(1, ECHO, END_HEADERS),
          frame(DATA, 0, 1, b"hello"), Head(1, (("connection", "close"),))),
)  # fmt: skip

CONNECT: Fields = ((":method", "CONNECT"), (":authority", "{host}"))

CONNECTS = (
    Case(
        "http2/headers/connect", "9113-8.5-scheme-and-path-are-omitted", (Head(1, CONNECT, END_HEADERS),),
        rf"{ONCE}(?!.*1:400)1:[245]\d\d .*open",
        rf"{ONCE}(?!.*goaway=(?!NO_ERROR))(.* )?(closed|reset)|"
        rf"{ONCE}(.* )?1:(400|PROTOCOL_ERROR|CONNECT_ERROR|CANCEL|REFUSED_STREAM|INTERNAL_ERROR) .*open|silent",
        why="A well-formed CONNECT. Hardly any server is a proxy, but the other streams of the connection go on.",
    ),
    _bad("connect-with-path", "9113-8.5-scheme-and-path-are-omitted", (*CONNECT, (":path", "/"))),
    _bad("connect-with-scheme", "9113-8.5-scheme-and-path-are-omitted", (*CONNECT, (":scheme", "{scheme}"))),
    _bad("connect-without-authority", "9113-8.5-scheme-and-path-are-omitted", CONNECT[:1]),
    _bad("connect-without-port", "9113-8.5-scheme-and-path-are-omitted", (CONNECT[0], (":authority", "a.example"))),
)  # fmt: skip

CASES = (*FIELDS, *SPECIFIC, *PSEUDO, *LENGTHS, *TRAILERS, *CONNECTS)
