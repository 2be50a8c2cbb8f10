"""Conditional requests and ranges: what a client that has a file, or a part of it, gets (RFC 9110 §13, §14).

This file is the half of ``static_files.py`` that touches no file. An app whose content comes from a database can use it, too.

    the client sends                        it has ...                        it gets
    -------------------------------------   -------------------------------   ------------------------------------------------
    If-None-Match: "a"                      the file whose ETag is "a"        304 without content, or the new file
    If-Modified-Since: DATE                 a file without an ETag            the same, by the date
    Range: bytes=500-                       the first 500 bytes               206 with the other bytes; 416 if there are none
    the same, and If-Range: "a"             the first 500 bytes of "a"        206, or the whole new file, never half of each
    If-Match: "a"                           an opinion on what is here        412 if that is wrong

Dates count in seconds, so a file can change twice under one date. This has two consequences: a tag overrides its twin with a
date (§13.2.2), and a date in If-Range gets the whole file (§8.8.2.2 calls it a *weak* validator).

A reply to several ranges at once is optional (§14.2). Such a Range field is ignored here, as a malformed one is.
"""

import re
from datetime import UTC
from email.utils import formatdate, parsedate_to_datetime
from math import inf

from minproto import Request

STRONG, WEAK = re.compile(r'(?<!W/)"[^"]*"'), re.compile(r'"[^"]*"')
"""The tags of a list: all that are not marked as weak, and all without their mark. Only If-None-Match compares weakly."""
ONE_RANGE = re.compile(r"(?i)bytes=[ \t,]*(\d{0,18})-(\d{0,18})[ \t,]*", re.ASCII)
"""``0-99``, ``100-``, or ``-100``: the last 100 bytes. No file has a size of more than 18 digits."""


def conditional(request: Request, etag: str, modified: float, size: int) -> tuple[int, dict[str, str], range]:
    """Return the status and the fields of the response, and the bytes to send: no bytes without a 200 or 206 to a GET.

    ``etag``: with its quotes. ``modified``: seconds since 1970. ``size``: of the whole content, in bytes.
    """
    status, part = judge(request, etag, modified, size)
    headers = {"etag": etag, "last-modified": formatdate(modified, usegmt=True), "accept-ranges": "bytes"}
    if status in (206, 416):
        headers["content-range"] = f"bytes {f'{part[0]}-{part[-1]}' if part else '*'}/{size}"
    if status in (200, 206):
        headers["content-length"] = str(len(part))
    return status, headers, part if request.head.method == "GET" else range(0)


def judge(request: Request, etag: str, modified: float, size: int) -> tuple[int, range]:
    """Return the status, and the bytes that it is about. The order of the conditions is that of RFC 9110 §13.2.2."""
    field, whole = request.headers.get, range(size)
    if tags := field("if-match"):
        failed = tags != "*" and etag not in STRONG.findall(tags)
    else:
        failed = modified > seconds(field("if-unmodified-since"), inf)
    if failed:
        return 412, range(0)
    if tags := field("if-none-match"):
        unchanged = tags == "*" or etag in WEAK.findall(tags)
    else:
        unchanged = modified <= seconds(field("if-modified-since"), -inf)
    if unchanged:
        return 304, range(0)
    match = ONE_RANGE.fullmatch(field("range") or "")
    if match is None or request.head.method != "GET" or field("if-range", etag) != etag or not size:
        return 200, whole
    return select(match[1], match[2], whole)


def select(first: str, last: str, whole: range) -> tuple[int, range]:
    """Return 206 and the part between two positions, of which one may be "" (§14.1.2)."""
    if not (first or last) or (first and last and int(first) > int(last)):  # not a range
        return 200, whole
    if first:
        part = whole[int(first) : int(last) + 1 if last else None]
    else:
        part = whole[max(len(whole) - int(last), 0) :]
    return (206, part) if part else (416, part)


def seconds(date: str | None, otherwise: float) -> float:
    """Return an HTTP date in seconds since 1970; ``otherwise`` if there is none, or if it is no date: then it is ignored."""
    try:
        return parsedate_to_datetime(date or "").replace(tzinfo=UTC).timestamp()  # the zone is always GMT (§5.6.7)
    except (ValueError, OverflowError):
        return otherwise
