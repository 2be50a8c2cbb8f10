r"""HTTP/2: field blocks, and the compression table to which they refer (RFC 7541, RFC 9113 §4.3).

Each byte string here follows, or precedes, the literal fields of a request. ``\x40\x01a\x01b`` is the field ``a: b`` that
becomes an entry of the table, and ``\xbe`` the newest entry.
"""

from minproto.http2_frames import END_HEADERS, END_STREAM, HEADER_TABLE_SIZE, HEADERS
from minproto.prove.case import Case, Step, Wait
from minproto.prove.cases.http2_patterns import COMPRESSION, ENDED, OK, ONCE, answered
from minproto.prove.frames import GET, Head, frame, settings, without

INDEXED = Head(1, GET, indexed=True)
"""A request whose four fields become the entries 65, 64, 63 and 62."""
AGAIN = frame(HEADERS, END_STREAM | END_HEADERS, 3, b"\xc1\xc0\xbf\xbe")
"""The same request by these entries."""
LAST_AGAIN = frame(HEADERS, END_STREAM | END_HEADERS, 5, b"\xc1\xc0\xbf\xbe")
FORMS = "A server that does not understand each form of a field loses the requests of the clients that use it."
LARGER_TABLE = rf"{ONCE}(.* )?setting=1:(?!4096 )(\d{{5,}}|[5-9]\d{{3}}) .*open"
"""The server allows a larger table, and treats the table as larger already."""


def _fine(words: str, entry: str, *, before: bytes = b"", after: bytes = b"", also: tuple[str, ...] = ()) -> Case:
    """A request whose block has further bytes, all of them right."""
    return Case(f"http2/hpack/{words}", entry, (Head(1, GET, before=before, after=after),), *OK, also=also, why=FORMS)


def _wrong(words: str, entry: str, *, before: bytes = b"", after: bytes = b"", also: tuple[str, ...] = ()) -> Case:
    """A request whose block cannot be decoded."""
    return Case(
        f"http2/hpack/{words}", entry, (Head(1, GET, before=before, after=after),), *COMPRESSION,
        also=(*also, "9113-4.3-a-block-that-cannot-be-decoded"),
    )  # fmt: skip


def _evicted(words: str, entry: str, *steps: Step) -> Case:
    """A request by entries of the table that are no longer there."""
    return Case(
        f"http2/hpack/{words}", entry, (INDEXED, Wait("1:end"), *steps, Wait("3:end"), LAST_AGAIN),
        COMPRESSION[0], rf"{COMPRESSION[1]}|{LARGER_TABLE}", shows=("setting",),
        also=("7541-2.3.3-an-index-without-an-entry",),
    )  # fmt: skip


RIGHT = (
    Case(
        "http2/hpack/static-table", "7541-3.2-how-a-block-is-processed", (Head(1, without(":method", GET), before=b"\x82"),),
        *OK,
    ),
    _fine("name-of-the-static-table", "7541-3.2-how-a-block-is-processed", after=b"\x0f\x2b\x03abc"),
    _fine("never-indexed", "7541-3.2-how-a-block-is-processed", after=b"\x10\x01a\x01b"),
    _fine("never-indexed-name-of-the-static-table", "7541-3.2-how-a-block-is-processed", after=b"\x1f\x08\x03abc"),
    _fine("entry-used-in-its-block", "7541-3.2-how-a-block-is-processed", after=b"\x40\x01a\x01b\xbe\x0f\x2f\x01c",
          also=("7541-2.1-a-decoder-keeps-the-order",)),
    Case(
        "http2/hpack/entries-of-an-earlier-request", "7541-3.2-how-a-block-is-processed", (INDEXED, AGAIN), *answered(1, 3),
        also=("7541-2.1-a-decoder-keeps-the-order",),
    ),
    Case(
        "http2/hpack/entries-move-on", "7541-3.2-how-a-block-is-processed",
        (INDEXED, Head(3, GET, after=b"\x40\x01a\x01b"), frame(HEADERS, 5, 5, b"\xc2\xc1\xc0\xbf")), *answered(1, 3, 5),
        why="A new entry has the index 62, and each older entry an index that is higher by one.",
    ),
    _fine("equal-entries", "7541-2.3.2-equal-entries", after=b"\x40\x01a\x01b\x40\x01a\x01b\xbe\xbf"),
    _fine("huffman-value", "7541-5.2-padding-is-a-part-of-eos",
          after=b"\0\x01x\x8c\xf1\xe3\xc2\xe5\xf2\x3a\x6b\xa0\xab\x90\xf4\xff"),
    _fine("huffman-name", "7541-5.2-padding-is-a-part-of-eos", after=b"\0\x81\x1f\x01b"),
    _fine("huffman-value-without-padding", "7541-5.2-padding-of-a-byte",
          after=b"\0\x01x\x85" + bytes.fromhex("18c6318c63")[:5]),
    _fine("empty-huffman-value", "7541-5.2-padding-of-a-byte", after=b"\0\x01x\x80"),
    _fine("table-of-0-bytes", "7541-4.2-an-update-begins-the-block", before=b"\x20"),
    _fine("two-size-updates", "7541-4.2-the-smallest-size-between-two-blocks", before=b"\x20\x3e"),
    Case(
        "http2/hpack/entry-larger-than-the-table", "7541-4.4-an-entry-larger-than-the-table",
        (Head(1, GET, before=b"\x20", after=b"\x40\x01a\x01b"), Head(3, GET)), *answered(1, 3),
    ),
    Case(
        "http2/hpack/table-of-the-client-of-0-bytes", "9113-4.3.1-a-smaller-table-is-announced",
        (Head(1, GET), Wait("1:end"), settings((HEADER_TABLE_SIZE, 0)), Wait("ack"), Head(3, GET), Wait("3:end"),
        Head(5, GET)),
        answered(1, 3, 5)[0], shows=("ack",), also=("7541-4.2-no-larger-than-allowed", "7541-4.2-an-update-begins-the-block",
                 "9113-6.5-all-settings"),
        why="A server that has agreed to a table without entries, and refers to entries, sends fields that nobody can read.",
    ),
    Case(
        "http2/hpack/table-of-the-client-of-0-bytes-and-back", "7541-4.2-the-smallest-size-between-two-blocks",
        (Head(1, GET), Wait("1:end"), settings((HEADER_TABLE_SIZE, 0)) + settings((HEADER_TABLE_SIZE, 4_096)),
        Wait("ack.*ack"),
         Head(3, GET), Wait("3:end"), Head(5, GET)),
        answered(1, 3, 5)[0], shows=("ack",),
    ),
)  # fmt: skip

WRONG = (
    _wrong("index-0", "7541-6.1-index-0", after=b"\x80"),
    _wrong("index-without-an-entry", "7541-2.3.3-an-index-without-an-entry", after=b"\xbe"),
    _wrong("index-far-beyond", "7541-2.3.3-an-index-without-an-entry", after=b"\xff\x80\x01"),
    _wrong("name-without-an-entry", "7541-2.3.3-an-index-without-an-entry", after=b"\x7f\x20\x01x"),
    _wrong("index-cut-short", "9113-4.3-a-block-that-cannot-be-decoded", after=b"\xff"),
    _wrong("literal-cut-short", "9113-4.3-a-block-that-cannot-be-decoded", after=b"\x40"),
    _wrong("value-missing", "9113-4.3-a-block-that-cannot-be-decoded", after=b"\0\x01x"),
    _wrong("string-longer-than-the-block", "9113-4.3-a-block-that-cannot-be-decoded", after=b"\0\x01x\x09short"),
    _wrong("number-of-ten-bytes", "7541-5.1-numbers-without-end", after=b"\xff" + b"\xff" * 9 + b"\0",
           also=("7541-7.4-a-limit-for-numbers",)),
    _wrong("length-of-2-32", "7541-7.4-a-limit-for-numbers", after=b"\0\x01x\x7f\x81\xff\xff\xff\x0f",
           also=("7541-7.4-a-limit-for-strings",)),
    _wrong("huffman-padding-of-a-byte", "7541-5.2-padding-of-a-byte", after=b"\0\x01x\x82\x1f\xff"),
    _wrong("huffman-padding-of-zeros", "7541-5.2-padding-is-a-part-of-eos", after=b"\0\x01x\x81\x18"),
    _wrong("huffman-end-of-string", "7541-5.2-eos-in-a-string", after=b"\0\x01x\x84\xff\xff\xff\xff"),
    *[
        Case(
            f"http2/hpack/size-update-{words}", "7541-4.2-an-update-begins-the-block", (head,), COMPRESSION[0],
            f"{COMPRESSION[1]}|{OK[0]}", why="An encoder must not do this. A decoder need not notice it.",
        )
        for words, head in (
            ("at-the-end", Head(1, GET, after=b"\x20")),
            ("after-a-field", Head(1, without(":method", GET), before=b"\x82\x20")),
        )
    ],
    _wrong("table-of-256-megabytes", "7541-6.3-a-size-over-the-limit", before=b"\x3f\xe1\xff\xff\x7f",
           also=("7541-4.2-no-larger-than-allowed",)),
    Case(
        "http2/hpack/number-in-too-many-bytes", "7541-5.1-numbers-without-end",
        (Head(1, GET, before=b"\x3f\x80\x80\x80\x80\x80\x80\0"),),
        COMPRESSION[0], f"{COMPRESSION[1]}|{OK[0]}",
        why="The number is 31, in eight bytes. Each implementation has a limit of its own for the bytes of a number.",
    ),
    _evicted("entries-are-gone-from-a-table-of-0-bytes", "7541-4.3-a-smaller-table-evicts", Head(3, GET, before=b"\x20")),
    _evicted("entries-make-room-for-a-new-one", "7541-4.4-a-new-entry-evicts",
             Head(3, GET, after=b"\x40\x01a\x7f\xc1\x1e" + b"x" * 4_032)),
    _evicted("entries-make-room-for-one-that-is-too-large", "7541-4.4-an-entry-larger-than-the-table",
             Head(3, GET, after=b"\x40\x01a\x7f\xa1\x1f" + b"x" * 4_128)),
    Case(
        "http2/hpack/refused-block-is-decoded", "9113-10.5.1-processed-though-too-large",
        (Head(1, GET, after=b"\0\x01x\x7f\xa1\x5d" + b"x" * 12_064 + b"\x40\x01a\x01b"), Head(3, GET, after=b"\xbe")),
        rf"{ONCE}(?!.*goaway)(?=(.* )?1:\S+ )(?=(.* )?3:[234]\d\d (.* )?3:end ).*open", ENDED,
        why="A block that is too large for the server changes the table all the same, so the server has to decode it.",
    ),
)  # fmt: skip

CASES = (*RIGHT, *WRONG)
