r"""HTTP/1.1: where a response ends (RFC 9112 §6, §7, §8). Content that is cut short must not count as complete.

A client may recover from chunks that are written wrongly (RFC 9110 §2.4), but not from a wrong Content-Length (RFC 9112 §6.3).

The right content is "hello". A client that takes the word "smuggled" for content has read beyond the end of a response.
"""

from minproto.prove.case import Pause, Shut, Trickle
from minproto.prove.trap.snare import ANY, EITHER, FAILS, PRINTS, Reset, Snare
from minproto.prove.trap.snares.controls import HELLO

OK = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"
SMUGGLED = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 8\r\n\r\nsmuggled"


def _length(name: str, value: bytes, says: str, outcome: str = FAILS, *, entry: str = "", content: bytes = b"hello") -> Snare:
    """Return a snare with an invalid Content-Length. The connection ends after the content."""
    steps = (OK + b"Content-Length: " + value + b"\r\n\r\n" + content, Shut())
    also = ("9110-8.6-abnf",) if outcome == FAILS else ()
    return Snare(f"http1/length/{name}", entry or "9112-6.3-invalid-length-discarded", steps, says, outcome, also=also)


def _chunks(
    name: str, entry: str, content: bytes, says: str, outcome: str = FAILS, prints: str = "hello", why: str = ""
) -> Snare:
    """Return a snare with content in chunks. The connection ends after it."""
    return Snare(f"http1/chunks/{name}", entry, (CHUNKED + content, Shut()), says, outcome, prints, why=why)


_CUT = "Content that was cut short is a part, and a part that counts as the whole is lost data."
SNARES = (
    # ---- where the content ends
    Snare("http1/framing/too-short", "9112-6.3-too-short", (OK + b"Content-Length: 10\r\n\r\nhello", Shut()),
          "the connection ends after 5 of 10 bytes", FAILS, why=_CUT, issue="https://github.com/psf/requests/issues/4956"),
    Snare("http1/framing/no-content", "9112-6.3-too-short", (OK + b"Content-Length: 10\r\n\r\n", Shut()),
          "the connection ends before the content", FAILS, why=_CUT),
    Snare("http1/framing/too-short-reset", "9112-8-incomplete", (OK + b"Content-Length: 10\r\n\r\nhello", Reset()),
          "the connection is reset after 5 of 10 bytes", FAILS, why=_CUT),
    Snare("http1/framing/extra-data", "9112-6.3-extra-data", (HELLO + SMUGGLED,),
          "a second response follows, for which nobody has asked", EITHER),
    Snare("http1/framing/extra-bytes", "9112-6.3-extra-data", (HELLO + b"smuggled", Shut()),
          "8 bytes follow the content", EITHER),
    Snare("http1/framing/until-close", "9112-6.3-response-without-length", (OK + b"\r\nhello", Shut()),
          "a response without a length ends with the connection"),
    Snare("http1/framing/until-close-in-pieces", "9112-6.3-response-without-length",
          (OK + b"\r\nhe", Pause(0.1), b"llo", Shut()),
          "a response without a length ends with the connection, and comes in two pieces"),
    Snare("http1/framing/until-close-reset", "9112-8-incomplete", (OK + b"\r\nhel", Reset()),
          "a response without a length is cut off by a reset", FAILS, why=_CUT),
    Snare("http1/framing/te-and-length", "9112-6.3-both-are-an-error",
          (OK + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", Shut()),
          "Content-Length and Transfer-Encoding contradict each other", EITHER),
    Snare("http1/framing/te-unknown", "9112-6.3-response-until-close", (OK + b"Transfer-Encoding: x\r\n\r\nhello", Shut()),
          "an unknown transfer coding", EITHER),
    Snare("http1/framing/te-in-http-1-0", "9112-6.1-te-in-http-1-0",
          (b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", Shut()),
          "an HTTP/1.0 response in chunks", EITHER),
    Snare("http1/framing/te-case", "9112-7-names",
          (OK + b"Transfer-Encoding: CHUNKED\r\n\r\n5\r\nhello\r\n0\r\n\r\n",), "the name of the coding is in upper case"),
    Snare("http1/framing/te-empty-element", "9110-5.6.1.2-ignore-empty",
          (OK + b"Transfer-Encoding: , chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", Shut()),
          "the list of codings has an empty element"),
    Snare("http1/framing/chunked-twice", "9112-6.1-chunked-once",
          (OK + b"Transfer-Encoding: chunked, chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", Shut()),
          "the content is chunked twice, it says", ANY),
    Snare("http1/framing/te-parameter", "9112-7.1-parameters",
          (OK + b"Transfer-Encoding: chunked;q=1\r\n\r\n5\r\nhello\r\n0\r\n\r\n", Shut()),
          "chunked has a parameter", FAILS),
    # ---- Content-Length
    Snare("http1/length/twice-the-same", "9110-8.6-abnf", (OK + b"Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello",),
          "two equal Content-Length fields", EITHER),
    _length("list-of-equal-values", b"5, 5", "a list of equal values", EITHER, entry="9110-8.6-abnf"),
    Snare("http1/length/twice-different", "9112-6.3-invalid-length-discarded",
          (OK + b"Content-Length: 5\r\nContent-Length: 8\r\n\r\nsmuggled", Shut()),
          "two different Content-Length fields", FAILS),
    _length("list-of-different-values", b"8, 5", "a list of different values", content=b"smuggled"),
    _length("negative", b"-5", "a negative length"),
    _length("plus", b"+5", "a plus sign before the length"),
    _length("hexadecimal", b"0x5", "a hexadecimal length"),
    _length("word-after-it", b"5 smuggled", "a word after the length"),
    _length("letter-after-it", b"5a", "a letter after the length"),
    _length("fraction", b"5.0", "a fraction"),
    _length("underscore", b"0_5", "an underscore between digits, which Python's int() accepts"),
    _length("empty", b"", "an empty length"),
    _length("over-64-bits", b"18446744073709551621", "a length of 2^64 + 5", entry="9110-8.6-large-numerals"),
    _length("over-32-bits", b"4294967301", "a length of 2^32 + 5", entry="9110-8.6-large-numerals"),
    Snare("http1/length/leading-zeros", "", (OK + b"Content-Length: 0000005\r\n\r\nhello",), "a length with leading zeros",
          why="The grammar is 1*DIGIT (RFC 9110 §8.6), so leading zeros are right."),
    # ---- chunks
    _chunks("hello", "9112-6.1-parse-chunked", b"2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n", "two chunks", PRINTS),
    Snare("http1/chunks/byte-by-byte", "9112-6.1-parse-chunked", (CHUNKED, Trickle(b"2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n")),
          "two chunks, each byte in a segment of its own"),
    _chunks("leading-zeros", "9112-6.1-parse-chunked", b"0005\r\nhello\r\n000\r\n\r\n", "sizes with leading zeros", PRINTS),
    _chunks("hexadecimal", "9112-6.1-parse-chunked", b"A\r\nhello, you\r\n0\r\n\r\n", "a size of 10, in hexadecimal", PRINTS),
    _chunks("extension", "9112-7.1.1-extensions", b'5;a;b=c;d="e;f"\r\nhello\r\n0;g\r\n\r\n', "chunk extensions", PRINTS),
    _chunks("trailers", "9112-7.1.2-merged", b"5\r\nhello\r\n0\r\nX-Sum: 7\r\nContent-Length: 3\r\n\r\n",
            "trailer fields, one of which is a Content-Length", EITHER),
    _chunks("cut-in-a-chunk", "9112-8-incomplete", b"8\r\nhello", "the connection ends within a chunk", why=_CUT),
    _chunks("cut-between-chunks", "9112-8-incomplete", b"5\r\nhello\r\n",
            "the connection ends before the last chunk", why=_CUT),
    _chunks("cut-in-a-size", "9112-8-incomplete", b"5\r\nhello\r\n1", "the connection ends within a size", why=_CUT),
    _chunks("no-chunk", "9112-8-incomplete", b"", "the connection ends before the first chunk", why=_CUT),
    _chunks("cut-after-the-last-chunk", "9112-8-incomplete", b"5\r\nhello\r\n0\r\n",
            "the connection ends after the last chunk, before the empty line", EITHER),
    Snare("http1/chunks/reset", "9112-8-incomplete", (CHUNKED + b"5\r\nhello\r\n", Reset()),
          "the connection is reset before the last chunk", FAILS, why=_CUT),
    _chunks("longer-than-its-size", "9112-8-incomplete", b"3\r\nhello\r\n0\r\n\r\n",
            "a chunk is longer than its size", EITHER),
    _chunks("shorter-than-its-size", "9112-8-incomplete", b"7\r\nhello\r\n0\r\n\r\n",
            "a chunk is shorter than its size", EITHER),
    _chunks("no-size", "9112-8-incomplete", b"\r\nhello\r\n0\r\n\r\n", "a chunk without a size", EITHER),
    _chunks("word-for-a-size", "9112-8-incomplete", b"xyz\r\nhello\r\n0\r\n\r\n", "a size that is no number", EITHER),
    _chunks("negative", "9112-8-incomplete", b"-5\r\nhello\r\n0\r\n\r\n", "a negative size", EITHER),
    _chunks("0x", "9112-8-incomplete", b"0x5\r\nhello\r\n0\r\n\r\n", "a size that begins with 0x", EITHER),
    _chunks("over-64-bits", "9112-7.1-large-sizes", b"10000000000000005\r\nhello\r\n0\r\n\r\n", "a size of 2^64 + 5"),
    _chunks("over-32-bits", "9112-7.1-large-sizes", b"100000005\r\nhello\r\n0\r\n\r\n", "a size of 2^32 + 5"),
    _chunks("bare-line-feeds", "9112-6.1-parse-chunked", b"5\nhello\n0\n\n", "lines that end with LF alone", EITHER),
    _chunks("endless-extension", "9110-2.3-defensive", b"5;" + b"a" * 1_000_000, "a chunk extension of 1 MB, and no chunk"),
)  # fmt: skip
