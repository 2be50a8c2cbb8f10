r"""Step 4: bodies and framing. The server refuses each request whose end two programs could find in different places.

A client that does not know the length of its content sends *chunks*. Each chunk begins with its size, in hexadecimal digits. A
chunk of size 0 is the last one:

    POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n

The way in which a request says where it ends is its *framing*. A request with two framings, or with an ambiguous one, gets a
400.

    python examples/steps/http1/step4_framing.py 8000
    curl --data hello --header "Transfer-Encoding: chunked" http://127.0.0.1:8000/echo
"""

import asyncio
import contextlib
import re
import sys
from asyncio import StreamReader, StreamWriter
from typing import NamedTuple

REASONS = {200: "OK", 400: "Bad Request"}
REQUEST_LINE = re.compile(r"([!-~]+) ([!-~]+) (HTTP/1\.[01])")
FIELD_LINE = re.compile(r"([!#$%&'*+.^_`|~0-9A-Za-z-]+):([\t\x20-\x7e\x80-\xff]*)")  # no space before the colon
CHUNK_LINE = re.compile(r"([0-9A-Fa-f]{1,16})(?:;[\t\x20-\x7e\x80-\xff]*)?")  # extensions after ";" are ignored


class BadRequest(Exception):
    """The client broke a rule. The answer has the status 400."""


class Request(NamedTuple):
    """The parts of a request. The names of the fields are in lower case."""

    method: str
    target: str
    version: str
    fields: dict[str, str]
    content: bytes = b""


def parse_request(data: bytes) -> tuple[Request, int] | None:
    """Return the request at the beginning of the bytes, and the number of its bytes; None if the request is not complete."""
    head, end, rest = data.partition(b"\r\n\r\n")
    if not end:
        return None
    request = parse_head(head.decode("latin-1"))
    length = content_length(request)
    found = parse_chunks(rest) if length is None else (rest[:length], length)
    if found is None or len(rest) < found[1]:
        return None
    return request._replace(content=found[0]), len(head + end) + found[1]


def parse_chunks(data: bytes) -> tuple[bytes, int] | None:
    """Return the content of the chunks, and the number of all their bytes; None if they are not complete."""
    content, at = b"", 0
    while (end := data.find(b"\r\n", at)) >= 0:
        size = chunk_size(data[at:end].decode("latin-1"))
        if size == 0:  # the last chunk. Fields may follow it, and then comes an empty line.
            end = data.find(b"\r\n\r\n", end)
            return None if end < 0 else (content, end + 4)
        at = end + 2 + size + 2
        content += data[end + 2 : at - 2]
        if not b"\r\n".startswith(data[at - 2 : at]):
            raise BadRequest("the size of a chunk is wrong")
    return None


def parse_head(head: str) -> Request:
    """Return the request with this head. Its content is still empty."""
    request_line, *lines = head.split("\r\n")
    method, target, version = matched(REQUEST_LINE, request_line).groups()
    fields: dict[str, str] = {}
    for line in lines:
        name, value = matched(FIELD_LINE, line).groups()
        name, value = name.lower(), value.strip(" \t")
        fields[name] = f"{fields[name]}, {value}" if name in fields else value  # two lengths become "5, 6": not a number
    return Request(method, target, version, fields)


def content_length(request: Request) -> int | None:
    """Return the number of bytes of content; None if the content comes in chunks."""
    length, coding = request.fields.get("content-length", "0"), request.fields.get("transfer-encoding")
    if coding is None and re.fullmatch("[0-9]{1,18}", length):  # int() would accept "+5" and "5_0", too
        return int(length)
    if coding is None or coding.lower() != "chunked" or "content-length" in request.fields or request.version != "HTTP/1.1":
        raise BadRequest("doubtful framing")
    return None


def chunk_size(line: str) -> int:
    """Return the number of bytes that the line before a chunk announces."""
    return int(matched(CHUNK_LINE, line)[1], 16)


def matched(pattern: re.Pattern[str], line: str) -> re.Match[str]:
    """Return the match of a whole line. Raises BadRequest if the line has another form."""
    found = pattern.fullmatch(line)
    if found is None:
        raise BadRequest("malformed line")
    return found


def answer(request: Request) -> bytes:
    """Return the content of the response, which repeats the request."""
    return f"{request.method} {request.target}\n".encode() + request.content


def response(code: int, content: bytes) -> bytes:
    """Return the bytes of a response."""
    head = f"HTTP/1.1 {code} {REASONS[code]}\r\nContent-Length: {len(content)}\r\n\r\n"
    return head.encode() + content


async def read_request(reader: StreamReader) -> Request | None:
    """Read until a whole request has arrived. Return None if the client ends the connection earlier."""
    data = b""
    while (found := parse_request(data)) is None:
        piece = await reader.read(65_536)
        if not piece:
            return None
        data += piece
    return found[0]


async def serve_client(reader: StreamReader, writer: StreamWriter) -> None:
    """Read a request, answer it, and close the connection."""
    try:
        request = await read_request(reader)
        if request is not None:
            writer.write(response(200, answer(request)))
    except BadRequest as error:
        writer.write(response(400, f"{error}\n".encode()))
    writer.close()


async def main(port: int) -> None:
    """Listen on 127.0.0.1, print the URL, and serve until Ctrl-C. Port 0 lets the system choose a port."""

    async def connected(reader: StreamReader, writer: StreamWriter) -> None:
        with contextlib.suppress(asyncio.CancelledError):  # at Ctrl-C, Python 3.11 would print a traceback
            await serve_client(reader, writer)

    server = await asyncio.start_server(connected, "127.0.0.1", port)
    print(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/", flush=True)
    await asyncio.Event().wait()  # never set


if __name__ == "__main__":
    try:
        asyncio.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else 0))
    except (ValueError, OverflowError, OSError) as error:
        sys.exit(f"no port to listen on: {error}")
    except KeyboardInterrupt:
        pass
