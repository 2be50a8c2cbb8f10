r"""Step 5: keep-alive and pipelining. A connection carries one request after the other.

A new connection costs a round trip before its first byte, so the server keeps a connection open (*keep-alive*). A client may
even send its next request before the answer has arrived (*pipelining*). Then one read holds two requests:

    GET /1 HTTP/1.1\r\nHost: a\r\n\r\nGET /2 HTTP/1.1\r\nHost: a\r\n\r\n

The server takes one request out of the bytes, answers it, and goes on with the bytes that are left. Responses are not
numbered. The client counts: the first response belongs to the first request.

    python examples/steps/http1/step5_keep_alive.py 8000
    curl http://127.0.0.1:8000/1 http://127.0.0.1:8000/2
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


def keeps_alive(request: Request) -> bool:
    """Return whether the client wants to go on after this request: by default in HTTP/1.1, on request in HTTP/1.0."""
    options = request.fields.get("connection", "").lower().replace(" ", "").split(",")
    return "close" not in options and (request.version == "HTTP/1.1" or "keep-alive" in options)


def answer(request: Request) -> bytes:
    """Return the content of the response, which repeats the request."""
    return f"{request.method} {request.target}\n".encode() + request.content


def response(code: int, content: bytes, keep_alive: bool = False, method: str = "GET") -> bytes:
    """Return the bytes of a response, which says whether the connection stays open."""
    head = f"HTTP/1.1 {code} {REASONS[code]}\r\nContent-Length: {len(content)}\r\n"
    head += f"Connection: {'keep-alive' if keep_alive else 'close'}\r\n\r\n"
    return head.encode() + (b"" if method == "HEAD" else content)  # after HEAD, content would pass for the next response


async def read_request(reader: StreamReader, data: bytes) -> tuple[Request, bytes] | None:
    """Return a request, and the bytes after it. ``data`` are bytes that have been read with the request before.

    Return None if the client ends the connection before a request is complete.
    """
    while (found := parse_request(data)) is None:
        piece = await reader.read(65_536)
        if not piece:
            return None
        data += piece
    request, size = found
    return request, data[size:]


async def serve_client(reader: StreamReader, writer: StreamWriter) -> None:
    """Answer requests, one after the other, until one side wants to close the connection."""
    data = b""
    keep_alive = True
    try:
        while keep_alive and (found := await read_request(reader, data)) is not None:
            request, data = found
            keep_alive = keeps_alive(request)
            writer.write(response(200, answer(request), keep_alive, request.method))
    except BadRequest as error:  # it is unknown where the next request begins
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
